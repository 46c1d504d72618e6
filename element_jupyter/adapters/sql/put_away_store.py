"""Which runs' outputs are old, and which were put away, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import put_away
from element_jupyter.core.care.outputs import Old, OldRun, PutAway

# a task of a job, or what somebody runs by hand, keeps its last successes
_OLD: Final = text(
    "SELECT run_id, team, coalesce(job, notebook) AS name, finished_at FROM ("
    " SELECT run_id, team, job, notebook, finished_at, state = 'succeeded' AS good,"
    " row_number() OVER (PARTITION BY job, CASE WHEN job IS NULL THEN owner || ' ' || notebook END,"
    " task, state = 'succeeded' ORDER BY finished_at DESC) AS place"
    " FROM runs WHERE finished_at IS NOT NULL) AS ended"
    " WHERE CASE WHEN good THEN place > :kept"
    " AND finished_at < CAST(:good_before AS timestamptz)"
    " ELSE finished_at < CAST(:others_before AS timestamptz) END"
    " AND NOT EXISTS (SELECT FROM put_away p WHERE p.run_id = ended.run_id"
    " AND (p.restored_at IS NULL OR p.restored_at >= CASE WHEN good"
    " THEN CAST(:good_before AS timestamptz) ELSE CAST(:others_before AS timestamptz) END))"
    " ORDER BY finished_at, run_id LIMIT :limit"
)


class SqlPutAway:
    """A `core.care.outputs.PutAwayStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def due(self, old_: Old, limit: int) -> list[OldRun]:
        """List runs whose outputs are to be put away, the oldest first."""
        values = {
            "kept": old_.keep_successes,
            "good_before": old_.succeeded_before,
            "others_before": old_.others_before,
            "limit": limit,
        }
        async with reading(self._engine) as connection:
            rows = await connection.execute(_OLD, values)
            return [OldRun.model_validate(row._asdict()) for row in rows]

    async def put_away(self, what: PutAway) -> None:
        """Write down that a run's outputs are in the trash."""
        values: dict[str, Any] = what.model_dump()
        write = insert(put_away).values(values)
        async with transaction(self._engine) as connection:
            await connection.execute(
                write.on_conflict_do_update(index_elements=["run_id"], set_=values)
            )

    async def find(self, run_id: str) -> PutAway | None:
        async with reading(self._engine) as connection:
            wanted = select(put_away).where(put_away.c.run_id == run_id)
            row = (await connection.execute(wanted)).first()
        return PutAway.model_validate(row._asdict()) if row is not None else None

    async def restored(self, run_id: str, at: datetime) -> None:
        """Write down that a run's outputs are back."""
        await self._set(run_id, restored_at=at)

    async def removed(self, run_id: str, at: datetime) -> None:
        """Write down that a run's outputs are gone."""
        await self._set(run_id, removed_at=at)

    async def _set(self, run_id: str, **values: datetime) -> None:
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(put_away).where(put_away.c.run_id == run_id).values(**values)
            )

    async def expired(self, now: datetime, limit: int) -> list[PutAway]:
        """List what cannot be restored any more, and is still there."""
        columns = put_away.c
        wanted = (
            select(put_away)
            .where(columns.until < now, columns.removed_at.is_(None), columns.restored_at.is_(None))
            .order_by(columns.until)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            return [
                PutAway.model_validate(row._asdict()) for row in await connection.execute(wanted)
            ]
