"""What everybody uses, read from the allocations in few queries."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading
from element_jupyter.adapters.sql.schema import allocations
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.checking import Amounts
from element_jupyter.core.quotas.use import Held, Sums, Use

_SPENT: Final = text(
    "SELECT person, team, sum(hours * cpu), sum(hours * memory_bytes) / 1073741824,"
    " sum(hours * gpu), coalesce(sum(hours * price_per_hour::float8), 0)"
    " FROM (SELECT a.*, greatest(0, extract(epoch FROM least(coalesce(a.ended_at, :now), :now)"
    " - greatest(a.begun_at, :since)))::float8 / 3600 AS hours"
    " FROM allocations a WHERE a.ended_at IS NULL OR a.ended_at > :since) AS held"
    " GROUP BY person, team"
)


class SqlQuotaUse:
    """Adds up what all people and teams use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, beginnings: Collection[datetime], now: datetime) -> Use:
        """Return what is used now, and was since each of these moments.

        Raises:
            Unavailable: the database does not answer.
        """
        columns = allocations.c
        wanted = select(
            columns.person,
            columns.team,
            columns.kind,
            columns.cpu,
            columns.memory_bytes,
            columns.gpu,
        ).where(columns.ended_at.is_(None))
        spent: dict[datetime, list[tuple[str, str, Sums]]] = {}
        async with reading(self._engine) as connection:
            held = [
                Held(person, team, _amounts(kind, cpu, memory_bytes, gpu))
                for person, team, kind, cpu, memory_bytes, gpu in await connection.execute(wanted)
            ]
            for since in sorted(beginnings):
                rows = await connection.execute(_SPENT, {"since": since, "now": now})
                spent[since] = [
                    (person, team, (float(cpu), float(memory), float(gpu), float(money)))
                    for person, team, cpu, memory, gpu, money in rows
                ]
        return await asyncio.to_thread(Use, now, held, spent)


def _amounts(kind: str, cpu: float, memory_bytes: int, gpu: int) -> Amounts:
    run = kind == AllocationKind.RUN
    return Amounts(cpu, memory_bytes, gpu, int(not run), int(run))
