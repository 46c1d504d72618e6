"""The ledger in PostgreSQL: sums of what was given and used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading
from element_jupyter.core.ledger.amounts import Four, Sums
from element_jupyter.core.ledger.reports import By, Part, Question

_KEYS: Final = {
    By.DAY: "to_char(day, 'YYYY-MM-DD')",
    By.MONTH: "to_char(day, 'YYYY-MM')",
}
_FILTERS: Final = ("team", "person", "job", "notebook")
_MEASURES: Final = tuple(
    f"{measure}_{thing}"
    for measure in ("allocated", "used", "largest", "idle")
    for thing in ("time_us", "cpu_us", "memory_kib_s", "gpu_us")
)
_SUMS: Final = ", ".join(f"sum({name})" for name in ("begun", "metered_us", *_MEASURES))
_DAYS: Final = """
WITH pieces AS (
    SELECT a.*, day, (greatest(a.begun_at, day AT TIME ZONE :zone) = a.begun_at)::int AS begun,
        greatest(0, extract(epoch FROM least(coalesce(a.ended_at, :now), :now,
            (day + interval '1 day') AT TIME ZONE :zone)
            - greatest(a.begun_at, day AT TIME ZONE :zone))) AS seconds,
        nullif(extract(epoch FROM a.ended_at - a.begun_at), 0) AS whole_seconds
    FROM allocations a, generate_series(
        date_trunc('day', a.begun_at AT TIME ZONE :zone),
        date_trunc('day', least(coalesce(a.ended_at, :now), :now) AT TIME ZONE :zone),
        interval '1 day') AS day
), given AS (
    SELECT *, round(seconds * 1e6) AS allocated_time_us,
        round((seconds * cpu * 1e6)::numeric) AS allocated_cpu_us,
        round(seconds * memory_bytes / 1024) AS allocated_memory_kib_s,
        round(seconds * gpu * 1e6) AS allocated_gpu_us,
        round((cpu_seconds * 1e6)::numeric * seconds / whole_seconds) AS cpu_us,
        round(peak_memory_bytes * seconds / 1024) AS memory_kib_s,
        round((gpu_seconds * 1e6)::numeric * seconds / whole_seconds) AS gpu_us
    FROM pieces
), shares AS (
    SELECT *, (cpu_us IS NOT NULL)::int AS metered, allocated_time_us * coalesce(greatest(
        cpu_us / nullif(allocated_cpu_us, 0), memory_kib_s / nullif(allocated_memory_kib_s, 0),
        gpu_us / nullif(allocated_gpu_us, 0)), 0) AS time_us
    FROM given
), days AS (
    SELECT day::date AS day, person, team, kind, size, job, notebook, price_per_hour, begun,
        allocated_time_us * metered AS metered_us,
        allocated_time_us, allocated_cpu_us, allocated_memory_kib_s, allocated_gpu_us,
        round(time_us) AS used_time_us, coalesce(cpu_us, 0) AS used_cpu_us,
        coalesce(memory_kib_s, 0) AS used_memory_kib_s, coalesce(gpu_us, 0) AS used_gpu_us,
        greatest(allocated_time_us, round(time_us)) AS largest_time_us,
        greatest(allocated_cpu_us, cpu_us) AS largest_cpu_us,
        greatest(allocated_memory_kib_s, memory_kib_s) AS largest_memory_kib_s,
        greatest(allocated_gpu_us, gpu_us) AS largest_gpu_us,
        metered * greatest(allocated_time_us - round(time_us), 0) AS idle_time_us,
        coalesce(greatest(allocated_cpu_us - cpu_us, 0), 0) AS idle_cpu_us,
        coalesce(greatest(allocated_memory_kib_s - memory_kib_s, 0), 0) AS idle_memory_kib_s,
        coalesce(greatest(allocated_gpu_us - gpu_us, 0), 0) AS idle_gpu_us
    FROM shares
)
"""


class SqlLedger:
    """The ledger of all."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def counted_until(self) -> datetime:
        """Return up to when what goes on is in the sums."""
        return datetime.now(UTC)

    async def parts(
        self,
        question: Question,
        zone: str,
        price_days: Collection[date],
        billed_otherwise: Collection[str],
    ) -> AsyncIterator[Part]:
        """Yield the sums of a question in the order of its rows, apart wherever prices may be.

        Raises:
            Unavailable: the database does not answer.
        """
        keys = [_KEYS.get(each, each.value) for each in question.by]
        wanted = [f"{name} = :{name}" for name in _FILTERS if getattr(question, name) is not None]
        columns = [
            *keys,
            "width_bucket(day, CAST(:price_days AS date[]))",
            "size",
            "price_per_hour",
            "CASE WHEN team = ANY(CAST(:billed_otherwise AS text[])) THEN team END",
        ]
        numbers = ", ".join(str(number + 1) for number in range(len(columns)))
        said = (
            f"{_DAYS} SELECT {', '.join(columns)}, {_SUMS} FROM days"  # noqa: S608 - names of ours
            f" WHERE {' AND '.join(['day >= :since', 'day < :until', *wanted])}"
            f" GROUP BY {numbers} ORDER BY {numbers}"
        )
        values: dict[str, Any] = {
            "zone": zone,
            "now": datetime.now(UTC),
            "since": question.since,
            "until": question.until,
            "price_days": list(price_days),
            "billed_otherwise": list(billed_otherwise),
            **{name: getattr(question, name) for name in _FILTERS},
        }
        async with reading(self._engine) as connection:
            found = await connection.execute(text(said), values)
            for row in found:
                yield _part(tuple(row), len(keys))


def _part(row: tuple[Any, ...], count: int) -> Part:
    period, size, recorded, team = row[count : count + 4]
    begun, metered_us, *measures = (int(number) for number in row[count + 4 :])
    fours = [Four(*measures[at : at + 4]) for at in range(0, 16, 4)]
    price = None if recorded is None else Decimal(recorded)
    return Part(row[:count], period, size, price, team, Sums(begun, metered_us, *fours))
