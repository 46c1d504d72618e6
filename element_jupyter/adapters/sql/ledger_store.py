"""The ledger in PostgreSQL: what was given and used in each hour, and its sums by day.

One transaction at a time writes to it. Triggers of the database add what changes in hours to their
days, in the same transaction, so that both never differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.core.errors import NotFound
from element_jupyter.core.ledger.amounts import Four, Sums
from element_jupyter.core.ledger.corrections import Corrected, Correction
from element_jupyter.core.ledger.counting import Counted, Mark, Reading, advance
from element_jupyter.core.ledger.reports import By, Part, Question

_TOGETHER: Final = 500
"""Allocations in one transaction."""
_STREAMED: Final = 1000
"""Rows that are fetched at once."""
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('element ledger', 0))")
_MARK: Final = (
    "SELECT m.*, a.begun_at, a.ended_at, a.cpu_seconds AS total_cpu_seconds,"
    " a.gpu_seconds AS total_gpu_seconds, a.peak_memory_bytes"
    " FROM ledger_marks m JOIN allocations a ON a.id = m.allocation_id"
)
_OF: Final = text(f"{_MARK} WHERE m.allocation_id = ANY(CAST(:ids AS text[]))")
_OPEN: Final = text(
    f"{_MARK} WHERE NOT m.settled AND m.allocation_id > :after"
    " ORDER BY m.allocation_id LIMIT :limit"
)
_WRITE_MARKS: Final = text(
    "UPDATE ledger_marks m SET given_until = r.given_until, read_at = r.read_at, meter = r.meter,"
    " cpu_us = r.cpu_us, memory_bytes = r.memory_bytes, gpu_us = r.gpu_us, settled = r.settled"
    " FROM json_populate_recordset(NULL::ledger_marks, CAST(:rows AS json)) AS r"
    " WHERE m.allocation_id = r.allocation_id"
)
_COUNTED: Final = ("cpu_us", "memory_kib_s", "gpu_us")
_WRITE_HOURS: Final = text(
    "INSERT INTO ledger_hours AS h (allocation_id, hour, given_us,"  # noqa: S608 - names of ours
    " cpu_us, memory_kib_s, gpu_us,"
    " corrected_given_us) SELECT allocation_id, hour, given_us, cpu_us, memory_kib_s, gpu_us,"
    " corrected_given_us"
    " FROM json_populate_recordset(NULL::ledger_hours, CAST(:rows AS json)) ORDER BY 1, 2"
    " ON CONFLICT (allocation_id, hour) DO UPDATE SET given_us = h.given_us + excluded.given_us,"
    " corrected_given_us = h.corrected_given_us + excluded.corrected_given_us, "
    + ", ".join(
        f"{name} = CASE WHEN excluded.{name} IS NULL THEN h.{name}"
        f" ELSE coalesce(h.{name}, 0) + excluded.{name} END"
        for name in _COUNTED
    )
)
_WRITE_CORRECTIONS: Final = text(
    "INSERT INTO ledger_corrections SELECT * FROM"
    " json_populate_recordset(NULL::ledger_corrections, CAST(:rows AS json))"
    " ON CONFLICT DO NOTHING"
)
_CORRECT: Final = text(
    "UPDATE ledger_hours SET "  # noqa: S608 - names of ours
    + ", ".join(
        f"{name} = CASE WHEN :{name} <> 0 THEN coalesce({name}, 0) ELSE {name} END,"
        f" corrected_{name} = corrected_{name} + :{name}"
        for name in _COUNTED
    )
    + " WHERE allocation_id = :of AND hour = :hour"
)
_JSON: Final = TypeAdapter(list[dict[str, Any]])
_ENDED_BEFORE: Final = "it had ended before that was told"

_KEYS: Final = {
    By.DAY: "to_char(day, 'YYYY-MM-DD')",
    By.MONTH: "to_char(day, 'YYYY-MM')",
    By.JOB: "nullif(job, '')",
    By.NOTEBOOK: "nullif(notebook, '')",
}
_FILTERS: Final = ("team", "person", "job", "notebook")
_MEASURES: Final = tuple(
    f"{measure}_{thing}"
    for measure in ("allocated", "used", "largest", "idle")
    for thing in ("time_us", "cpu_us", "memory_kib_s", "gpu_us")
)
_SUMMED: Final = ("begun", "metered_us", *_MEASURES)
_SUMS: Final = ", ".join(f"sum({name})::bigint" for name in _SUMMED)
_TEAM_KEYS: Final = ("day", "team", "kind", "size", "price_per_hour")
_DAYS: Final = {
    "ledger_days": (*_TEAM_KEYS, "person", "job", "notebook"),
    "ledger_team_days": _TEAM_KEYS,
}
"""The tables that hours are added up in, and by what."""
_OF_PERSONS: Final = {By.PERSON, By.JOB, By.NOTEBOOK}


class SqlLedger:
    """The ledger of all; several control planes may write to it."""

    def __init__(self, engine: AsyncEngine, *, runs_report: bool = False) -> None:
        """Use a database; where `runs_report`, what a run says at its end counts as used."""
        self._engine = engine
        self._runs_report = runs_report

    # ----------------------------------------------------------------------------- counting

    async def settle(self, now: datetime) -> int:
        """Count what was given up to now, of all that is not counted to its end; returns how many.

        Raises:
            Unavailable: the database does not answer.
        """
        after, count = "", 0
        while True:
            async with transaction(self._engine) as connection:
                await connection.execute(_LOCK)
                values = {"after": after, "limit": _TOGETHER}
                found = list(await connection.execute(_OPEN, values))
                counted = [advance(_mark(row), now, self._reported(row)) for row in found]
                await _write(connection, counted, now)
            count += len(found)
            if len(found) < _TOGETHER:
                return count
            after = found[-1].allocation_id

    def _reported(self, row: Row[Any]) -> list[Reading]:
        if not self._runs_report or row.ended_at is None:
            return []
        said = Reading(
            allocation_id=row.allocation_id,
            at=row.ended_at,
            cpu_seconds=row.total_cpu_seconds,
            peak_memory_bytes=row.peak_memory_bytes,
            gpu_seconds=row.total_gpu_seconds,
            meter="run",
        )
        return [said]

    async def take(self, readings: Sequence[Reading], now: datetime) -> None:
        """Count what readings say was used; one that was told before counts once.

        Raises:
            Unavailable: the database does not answer; they may be told again.
        """
        by_id: dict[str, list[Reading]] = defaultdict(list)
        for each in readings:
            by_id[each.allocation_id].append(each)
        ids = sorted(by_id)
        for start in range(0, len(ids), _TOGETHER):
            async with transaction(self._engine) as connection:
                await connection.execute(_LOCK)
                some = ids[start : start + _TOGETHER]
                found = await connection.execute(_OF, {"ids": some})
                counted = [advance(_mark(row), now, by_id[row.allocation_id]) for row in found]
                await _write(connection, counted, now)

    async def correct(self, correction: Correction, person: str, now: datetime) -> bool:
        """Add a correction to an hour; False: it was there already.

        Raises:
            NotFound: nothing was given in that hour.
            Unavailable: the database does not answer.
        """
        amounts = correction.amounts
        values = {"id": correction.id, "of": correction.allocation_id, "hour": correction.hour}
        async with transaction(self._engine) as connection:
            await connection.execute(_LOCK)
            known = text("SELECT 1 FROM ledger_corrections WHERE id = :id")
            if await connection.scalar(known, values) is not None:
                return False
            changed = await connection.execute(_CORRECT, values | amounts)
            if not changed.rowcount:
                raise NotFound(
                    f"Nothing was given to {correction.allocation_id} in the hour of"
                    f" {correction.hour:%Y-%m-%d %H:%M} UTC.",
                    field="hour",
                )
            row = {
                "id": correction.id,
                "allocation_id": correction.allocation_id,
                "hour": correction.hour,
                "given_us": 0,
                **amounts,
                "reason": correction.reason,
                "person": person,
                "at": now,
            }
            said = _JSON.dump_json([row]).decode()
            await connection.execute(_WRITE_CORRECTIONS, {"rows": said})
        return True

    async def corrections(self, allocation_id: str | None, limit: int) -> list[Corrected]:
        """List what was corrected, newest first; None: of all.

        Raises:
            Unavailable: the database does not answer.
        """
        said = text(
            "SELECT * FROM ledger_corrections WHERE CAST(:id AS text) IS NULL"
            " OR allocation_id = :id ORDER BY at DESC, id LIMIT :limit"
        )
        async with reading(self._engine) as connection:
            found = await connection.execute(said, {"id": allocation_id, "limit": limit})
            return [
                Corrected(
                    id=row.id,
                    allocation_id=row.allocation_id,
                    hour=row.hour,
                    given_seconds=row.given_us / 1e6,
                    cpu_seconds=row.cpu_us / 1e6,
                    memory_byte_seconds=row.memory_kib_s * 1024,
                    gpu_seconds=row.gpu_us / 1e6,
                    reason=row.reason,
                    person=row.person,
                    at=row.at,
                )
                for row in found
            ]

    async def keep_days_of(self, zone: str) -> bool:
        """Add the hours up anew when days are another time zone's; says whether they were.

        Raises:
            Unavailable: the database does not answer.
        """
        async with transaction(self._engine) as connection:
            await connection.execute(_LOCK)
            if await connection.scalar(text("SELECT zone FROM ledger_zone")) == zone:
                return False
            await connection.execute(text("UPDATE ledger_zone SET zone = :zone"), {"zone": zone})
            for table, columns in _DAYS.items():
                keys = ", ".join(columns)
                await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - ours
                added = (
                    f"INSERT INTO {table} ({keys}, {', '.join(_SUMMED)})"  # noqa: S608 - ours
                    f" SELECT {keys}, {_SUMS} FROM ledger_amounts GROUP BY {keys}"
                )
                await connection.execute(text(added))
        return True

    # ------------------------------------------------------------------------------ reading

    async def counted_until(self) -> datetime:
        """Return up to when what goes on is in the sums.

        Raises:
            Unavailable: the database does not answer.
        """
        said = text("SELECT min(given_until) FROM ledger_marks WHERE NOT settled")
        async with reading(self._engine) as connection:
            found: datetime | None = await connection.scalar(said)
        return found or datetime.now(UTC)

    async def parts(
        self, question: Question, price_days: Collection[date], billed_otherwise: Collection[str]
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
            "nullif(price_per_hour, -1)",
            "CASE WHEN team = ANY(CAST(:billed_otherwise AS text[])) THEN team END",
        ]
        numbers = ", ".join(str(number + 1) for number in range(len(columns)))
        named = question.person or question.job or question.notebook
        fine = named is not None or _OF_PERSONS.intersection(question.by)
        table = "ledger_days" if fine else "ledger_team_days"
        said = (
            f"SELECT {', '.join(columns)}, {_SUMS} FROM {table}"  # noqa: S608 - names of ours
            f" WHERE {' AND '.join(['day >= :since', 'day < :until', *wanted])}"
            f" GROUP BY {numbers} ORDER BY {numbers}"
        )
        values: dict[str, Any] = {
            "since": question.since,
            "until": question.until,
            "price_days": list(price_days),
            "billed_otherwise": list(billed_otherwise),
            **{name: getattr(question, name) for name in _FILTERS},
        }
        async with transaction(self._engine) as connection:  # what streams is one state
            found = await connection.stream(text(said), values)
            async for rows in found.partitions(_STREAMED):
                for row in rows:
                    yield _part(tuple(row), len(keys))


def _mark(row: Row[Any]) -> Mark:
    return Mark(
        allocation_id=row.allocation_id,
        begun_at=row.begun_at,
        given_until=row.given_until,
        ended_at=row.ended_at,
        read_at=row.read_at,
        meter=row.meter,
        cpu_us=row.cpu_us,
        memory_bytes=row.memory_bytes,
        gpu_us=row.gpu_us,
        settled=row.settled,
    )


async def _write(connection: AsyncConnection, counted: Sequence[Counted], now: datetime) -> None:
    marks: list[dict[str, Any]] = []
    hours: list[dict[str, Any]] = []
    corrections: list[dict[str, Any]] = []
    for each in counted:
        id_ = each.mark.allocation_id
        marks.append({name: getattr(each.mark, name) for name in Mark.__slots__})
        for hour, part in each.hours.items():
            place = {"allocation_id": id_, "hour": hour}
            used = {name: getattr(part, name) for name in _COUNTED}
            given = {"given_us": part.given_us, "corrected_given_us": -part.taken_back_us}
            hours.append(place | given | used)
            if part.taken_back_us:
                nothing = dict.fromkeys(_COUNTED, 0)
                corrections.append(
                    {
                        "id": f"{id_} {hour:%Y-%m-%dT%H} end",
                        **place,
                        **nothing,
                        "given_us": -part.taken_back_us,
                        "reason": _ENDED_BEFORE,
                        "person": "",
                        "at": now,
                    }
                )
    writes: Mapping[Any, list[dict[str, Any]]] = {
        _WRITE_MARKS: marks,
        _WRITE_HOURS: hours,
        _WRITE_CORRECTIONS: corrections,
    }
    for statement, rows in writes.items():
        if rows:
            await connection.execute(statement, {"rows": _JSON.dump_json(rows).decode()})


def _part(row: tuple[Any, ...], count: int) -> Part:
    period, size, recorded, team = row[count : count + 4]
    begun, metered_us, *measures = row[count + 4 :]
    fours = [Four(*measures[at : at + 4]) for at in range(0, 16, 4)]
    price = None if recorded is None else Decimal(recorded)
    return Part(row[:count], period, size, price, team, Sums(begun, metered_us, *fours))
