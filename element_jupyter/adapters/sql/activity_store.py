"""What servers do, in PostgreSQL: reported, looked at by one control plane at a time."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import activity, allocations
from element_jupyter.core.care.idleness import BY_AGE, Seen
from element_jupyter.core.care.standing import BY_BUDGET, Ending, Standing
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind

_LOCK: Final = 0x63617265  # any number of our own: who tidies up holds it
_SEEN: Final = (
    "active_at",
    "reported_at",
    "working",
    "busy",
    "connections",
    "gpu_active_at",
    "kept_until",
)


class SqlActivity:
    """What is known of the servers that run; safe for several control planes on one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def alone(self, what: str = "servers") -> AsyncIterator[bool]:
        """Be the one that tidies something up, until the end of the block; False: another is."""
        lock = func.pg_try_advisory_xact_lock(_LOCK, zlib.crc32(what.encode()) - (1 << 31))
        async with transaction(self._engine) as connection:
            yield bool(await connection.scalar(select(lock)))

    async def report(
        self, person: str, server: str, after: Callable[[Allocation, Seen | None], Seen]
    ) -> bool:
        """Write down what a server has reported; False when none of that name runs."""
        columns = allocations.c
        wanted = (
            select(allocations)
            .where(
                columns.person == person,
                columns.server == server,
                columns.ended_at.is_(None),
                columns.kind != AllocationKind.RUN,
            )
            .order_by(columns.begun_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            found = (await connection.execute(wanted)).first()
            if found is None:
                return False
            allocation = Allocation.model_validate(found._asdict())
            of_it = activity.c.allocation_id == allocation.id
            row = (
                await connection.execute(select(activity).where(of_it).with_for_update())
            ).first()
            seen = after(allocation, _seen(row) if row is not None else None)
            values: dict[str, Any] = {name: getattr(seen, name) for name in _SEEN}
            used = row is None or row.active_at != seen.active_at
            if used and not (row and row.ending.startswith((BY_BUDGET, BY_AGE))):
                values["ending"] = ""  # it is not idle any more
            new = {"allocation_id": allocation.id, "ending": "", **values}
            write = insert(activity).values(**new)
            await connection.execute(
                write.on_conflict_do_update(index_elements=["allocation_id"], set_=values)
            )
        return True

    async def standing(self, *, runs: bool = False) -> list[Standing]:
        """List the servers that run, with what is known of each; with `runs`, those too."""
        joined = allocations.outerjoin(activity, activity.c.allocation_id == allocations.c.id)
        wanted = (
            select(allocations, *(each.label(f"seen_{each.name}") for each in activity.c))
            .select_from(joined)
            .where(allocations.c.ended_at.is_(None))
            .order_by(allocations.c.begun_at)
        )
        if not runs:
            wanted = wanted.where(allocations.c.kind != AllocationKind.RUN)
        async with reading(self._engine) as connection:
            return [_standing(row) for row in await connection.execute(wanted)]

    async def warn(self, standing: Standing, at: datetime, deadline: datetime) -> None:
        """Write down that a server's person is told."""
        seen = standing.seen
        values = {"warned_at": at, "deadline": deadline}
        known = {name: getattr(seen, name) for name in _SEEN} | {"ending": ""}
        write = insert(activity).values(allocation_id=standing.allocation.id, **known, **values)
        async with transaction(self._engine) as connection:
            await connection.execute(
                write.on_conflict_do_update(index_elements=["allocation_id"], set_=values)
            )

    async def calm(self, allocation_id: str) -> None:
        """Write down that there is nothing to tell any more."""
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(activity)
                .where(activity.c.allocation_id == allocation_id)
                .values(warned_at=None, deadline=None, ending="")
            )

    async def end(self, standing: Standing, why: str) -> bool:
        """Write down why a server is stopped; False when it has been used or kept meanwhile."""
        columns, seen = activity.c, standing.seen
        async with transaction(self._engine) as connection:
            done = await connection.execute(
                update(activity)
                .where(
                    columns.allocation_id == standing.allocation.id,
                    columns.warned_at == standing.warned_at,
                    columns.active_at <= seen.active_at,
                    columns.kept_until.is_not_distinct_from(seen.kept_until),
                )
                .values(ending=why)
            )
        return bool(done.rowcount)

    async def doom(self, standing: Standing, why: str) -> None:
        """Write down why something is stopped, whatever is done in it."""
        known = {name: getattr(standing.seen, name) for name in _SEEN}
        write = insert(activity).values(allocation_id=standing.allocation.id, ending=why, **known)
        async with transaction(self._engine) as connection:
            await connection.execute(
                write.on_conflict_do_update(index_elements=["allocation_id"], set_={"ending": why})
            )

    async def spare(self, allocation_id: str) -> None:
        """Take it back, unless it has ended."""
        runs = select(allocations.c.id).where(
            allocations.c.id == allocation_id, allocations.c.ended_at.is_(None)
        )
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(activity)
                .where(activity.c.allocation_id.in_(runs), activity.c.ending.startswith(BY_BUDGET))
                .values(ending="")
            )

    async def stopped(self) -> list[Ending]:
        """List the servers that were stopped and have ended, which nobody has been told yet."""
        wanted = select(allocations, activity.c.ending, activity.c.active_at).where(
            allocations.c.id == activity.c.allocation_id,
            activity.c.ending != "",
            allocations.c.ended_at.is_not(None),
        )
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted)
            return [
                Ending(Allocation.model_validate(_without(row)), row.ending, row.active_at)
                for row in rows
            ]

    async def forget(self, allocation_id: str) -> None:
        """Remove what is known of a server that has ended."""
        async with transaction(self._engine) as connection:
            await connection.execute(
                delete(activity).where(activity.c.allocation_id == allocation_id)
            )

    async def forget_ended(self) -> list[str]:
        """Remove what is known of servers that have ended otherwise; return their allocations."""
        async with transaction(self._engine) as connection:
            gone = delete(activity).where(
                activity.c.allocation_id == allocations.c.id,
                allocations.c.ended_at.is_not(None),
                activity.c.ending == "",
            )
            return list(await connection.scalars(gone.returning(activity.c.allocation_id)))


def _seen(row: Any) -> Seen:
    return Seen(**{name: getattr(row, name) for name in _SEEN})


def _without(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._asdict().items() if name in Allocation.model_fields}


def _standing(row: Row[Any]) -> Standing:
    allocation = Allocation.model_validate(_without(row))
    if row.seen_active_at is None:
        return Standing(allocation, Seen(active_at=allocation.begun_at))
    seen = Seen(**{name: getattr(row, f"seen_{name}") for name in _SEEN})
    return Standing(allocation, seen, row.seen_warned_at, row.seen_deadline)
