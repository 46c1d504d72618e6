"""What Prometheus is told of the whole platform, read from the database in few rows."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading
from element_jupyter.adapters.sql.schema import runs, storage
from element_jupyter.core.platform_readings import Readings, Reserved
from element_jupyter.core.runs import RunState
from element_jupyter.core.storage import Place

_RESERVED: Final = text(
    "SELECT CASE WHEN team = person THEN '' ELSE team END, sum(cpu), sum(memory_bytes)::bigint,"
    " sum(gpu)::bigint, count(*) FILTER (WHERE kind <> 'run'),"
    " count(*) FILTER (WHERE kind = 'run'),"
    " coalesce(sum(price_per_hour), 0)::float8"
    " FROM allocations WHERE ended_at IS NULL GROUP BY 1"
)


class SqlReadings:
    """Reads what is open and what waits; nothing of it takes longer the more has ended."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, now: datetime) -> Readings:
        """Return what teams hold and how long the queue is.

        Raises:
            Unavailable: the database does not answer.
        """
        waiting = select(func.count(), func.min(runs.c.created_at)).where(
            runs.c.state == RunState.QUEUED
        )
        kept = select(storage.c.place, func.sum(storage.c.used_bytes)).group_by(storage.c.place)
        measured = select(func.max(storage.c.measured_at)).where(storage.c.place == Place.SHARED)
        async with reading(self._engine) as connection:
            count, oldest = (await connection.execute(waiting)).one()
            return Readings(
                reserved=tuple(Reserved(*row) for row in await connection.execute(_RESERVED)),
                queued=count,
                longest_wait_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
                kept={Place(place): int(used) for place, used in await connection.execute(kept)},
                measured_at=await connection.scalar(measured),
            )
