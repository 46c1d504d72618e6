"""The ledger of due fires in PostgreSQL: one row per job and instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import fires, uptimes
from element_jupyter.core.runs import FireRecord, FireState


class SqlFireStore:
    """Rows of fires, each written once per (job, instant) and settled by guarded updates."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, records: Sequence[FireRecord]) -> None:
        """Add rows for fires that have none; those that have one keep it."""
        if not records:
            return
        async with transaction(self._engine) as connection:
            await connection.execute(
                insert(fires).on_conflict_do_nothing(),
                [record.model_dump() | {"run_ids": list(record.run_ids)} for record in records],
            )

    async def settle(self, record: FireRecord) -> bool:
        """Say what became of a fire that is still due; False when that is known already."""
        async with transaction(self._engine) as connection:
            settled = await connection.execute(
                update(fires)
                .where(fires.c.job == record.job, fires.c.at == record.at)
                .where(fires.c.state == FireState.DUE)
                .values(state=record.state, reason=record.reason)
            )
            return bool(settled.rowcount)

    async def due(self) -> list[FireRecord]:
        """List the fires of which it is not known yet what becomes of them."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(fires).where(fires.c.state == FireState.DUE).order_by(fires.c.at)
            )
            return [_record(row) for row in rows]

    async def last(self) -> dict[str, datetime]:
        """Return the newest recorded instant of every job that has one."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(fires.c.job, func.max(fires.c.at).label("at")).group_by(fires.c.job)
            )
            return {row.job: row.at for row in rows}

    async def page(self, job: str, before: datetime | None, limit: int) -> list[FireRecord]:
        """List a job's fires, newest first, older than `before`."""
        wanted = select(fires).where(fires.c.job == job)
        if before is not None:
            wanted = wanted.where(fires.c.at < before)
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.order_by(fires.c.at.desc()).limit(limit))
            return [_record(row) for row in rows]

    async def begin_uptime(self, instance: str, now: datetime) -> datetime | None:
        """Note that this process watches from now on; returns when another was last seen to."""
        async with transaction(self._engine) as connection:
            seen: datetime | None = await connection.scalar(select(func.max(uptimes.c.seen_at)))
            await connection.execute(
                insert(uptimes)
                .values(instance=instance, started_at=now, seen_at=now)
                .on_conflict_do_nothing()
            )
            if seen is not None:
                await connection.execute(delete(uptimes).where(uptimes.c.seen_at < seen))
            return seen

    async def seen(self, instance: str, now: datetime) -> None:
        """Note that this process watches still."""
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(uptimes).where(uptimes.c.instance == instance).values(seen_at=now)
            )


async def fire_state(connection: AsyncConnection, job: str, at: datetime) -> FireState | None:
    """Read a fire's state and lock its row, inside a transaction of another table family."""
    state = await connection.scalar(
        select(fires.c.state).where(fires.c.job == job, fires.c.at == at).with_for_update()
    )
    return FireState(state) if state is not None else None


async def fire_ran(connection: AsyncConnection, job: str, at: datetime, run_id: str) -> None:
    """Note a run of a fire, whatever was thought of it before."""
    added = insert(fires).values(job=job, at=at, state=FireState.RAN, reason="", run_ids=[run_id])
    await connection.execute(
        added.on_conflict_do_update(
            index_elements=[fires.c.job, fires.c.at],
            set_={
                "state": FireState.RAN,
                "reason": "",
                "run_ids": func.array_append(fires.c.run_ids, run_id),
            },
        )
    )


async def fire_refused(connection: AsyncConnection, record: FireRecord) -> None:
    """Note why a fire did not run; the first reason of the same kind stays."""
    added = insert(fires).values(record.model_dump() | {"run_ids": []})
    await connection.execute(
        added.on_conflict_do_update(
            index_elements=[fires.c.job, fires.c.at],
            set_={"state": record.state, "reason": record.reason},
            where=fires.c.state == FireState.DUE,
        )
    )


def _record(row: Row[Any]) -> FireRecord:
    return FireRecord(
        job=row.job,
        at=row.at,
        state=FireState(row.state),
        reason=row.reason,
        run_ids=tuple(row.run_ids),
    )
