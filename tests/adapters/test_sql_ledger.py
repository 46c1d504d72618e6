"""The ledger in real PostgreSQL: its days are its hours, its hours what was given."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.ledger_store import SqlLedger
from element_jupyter.core.confinement import Spent
from element_jupyter.core.errors import NotFound
from element_jupyter.core.ledger.corrections import Correction
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.ledger.reports import By, Question
from element_jupyter.core.quotas.allocations import Claim, Ended, server_allocation
from element_jupyter.core.sizes import Size

BEGUN = datetime(2026, 5, 4, 8, 30, tzinfo=UTC)
SMALL = Size(name="small", cpu=1, memory_bytes=1 << 30)
LARGE = Size(name="large", cpu=4, memory_bytes=8 << 30, gpu=2, price_per_hour="1.5")
MEASURES = [
    f"{measure}_{thing}"
    for measure in ("allocated", "used", "largest", "idle")
    for thing in ("time_us", "cpu_us", "memory_kib_s", "gpu_us")
]
SUMS = ["begun", "metered_us", *MEASURES]
TEAM_KEYS = ["day", "team", "kind", "size", "price_per_hour"]
ROLL_UPS = {
    "ledger_days": [*TEAM_KEYS, "person", "job", "notebook"],
    "ledger_team_days": TEAM_KEYS,
}


class Books:
    """The ledger, the allocations, and what their tables say."""

    def __init__(self, url: str) -> None:
        self.engine = connect(url)
        self.ledger = SqlLedger(self.engine)
        self.allocations = SqlAllocations(self.engine)
        self._plain = create_engine(url)

    async def given(self, number: int, begun_at: datetime, size: Size = SMALL) -> str:
        claim = Claim(server_allocation(f"p{number % 3}", f"s{number}", "ml", size, begun_at))
        assert await self.allocations.reserve(claim) is None
        return claim.allocation.id

    async def ended(self, id_: str, at: datetime) -> None:
        await self.allocations.release(id_, Ended(ended_at=at, spent=Spent()))

    def ask(self, said: str, **values) -> list[tuple]:
        with self._plain.begin() as connection:
            return [tuple(row) for row in connection.execute(text(said), values)]

    def write(self, said: str) -> None:
        with self._plain.begin() as connection:
            connection.execute(text(said))

    def days(self) -> list[list[tuple]]:
        """What the roll-ups say, without what is nothing."""
        nothing = " = 0 AND ".join(SUMS)
        return [
            self.ask(
                f"SELECT {', '.join((*keys, *SUMS))} FROM {table} WHERE NOT ({nothing} = 0)"
                f" ORDER BY {', '.join(keys)}"
            )
            for table, keys in ROLL_UPS.items()
        ]

    def facts(self) -> list[list[tuple]]:
        """What the hours say, added up as the roll-ups are."""
        sums = ", ".join(f"sum({name})::bigint" for name in SUMS)
        nothing = " = 0 AND ".join(f"sum({name})" for name in SUMS)
        return [
            self.ask(
                f"SELECT {', '.join(keys)}, {sums} FROM ledger_amounts GROUP BY {', '.join(keys)}"
                f" HAVING NOT ({nothing} = 0) ORDER BY {', '.join(keys)}"
            )
            for keys in ROLL_UPS.values()
        ]

    async def close(self) -> None:
        await self.engine.dispose()
        self._plain.dispose()


@pytest.fixture
async def books(database_url):
    books = Books(database_url)
    yield books
    await books.close()


def reading(id_: str, at: datetime, cpu_seconds: float, memory_bytes: int = 1 << 29) -> Reading:
    return Reading(allocation_id=id_, at=at, cpu_seconds=cpu_seconds, memory_bytes=memory_bytes)


@pytest.mark.parametrize("seed", range(6))
async def test_days_are_the_sum_of_their_hours_whatever_happens_in_which_order(books, seed):
    chance = random.Random(seed)
    now, living, known, used = BEGUN, [], {}, {}
    for step in range(60):
        now += timedelta(minutes=chance.uniform(0, 50))
        act = chance.choice(["give", "give", "end", "read", "read", "settle", "correct", "zone"])
        if act == "give":
            id_ = await books.given(step, now, chance.choice([SMALL, LARGE]))
            living.append(id_)
            known[id_], used[id_] = now, 0.0
        elif act == "end" and living:
            id_ = living.pop(chance.randrange(len(living)))
            await books.ended(id_, max(known[id_], now - timedelta(minutes=chance.uniform(0, 30))))
        elif act == "read" and living:
            told = []
            for id_ in living:
                used[id_] += chance.uniform(0, 4000)
                told.append(reading(id_, now, used[id_], chance.randrange(1 << 34)))
            await books.ledger.take(told, now)
            if chance.random() < 0.5:
                await books.ledger.take(told, now)
        elif act == "settle":
            await books.ledger.settle(now)
        elif act == "correct" and living:
            correction = Correction(
                id=f"c{step}",
                allocation_id=living[0],
                hour=known[living[0]],
                cpu_seconds=chance.uniform(-100, 100),
                reason="a test",
            )
            await books.ledger.settle(now)
            try:
                await books.ledger.correct(correction, "root", now)
            except NotFound:
                assert known[living[0]] == now
        elif act == "zone":
            await books.ledger.keep_days_of(chance.choice(["UTC", "Asia/Kolkata", "America/Lima"]))
        if step % 10 == 9:
            assert books.days() == books.facts()
    for id_ in living:
        await books.ended(id_, now)
    await books.ledger.settle(now)

    assert all(len(each) > 2 for each in books.days())
    assert books.days() == books.facts()
    assert await books.ledger.settle(now + timedelta(days=1)) == 0
    [(given, held)] = books.ask(
        "SELECT (SELECT sum(given_us + corrected_given_us) FROM ledger_hours),"
        " (SELECT sum(extract(epoch FROM ended_at - begun_at) * 1000000) FROM allocations)"
    )
    assert given == held


async def test_what_is_told_at_once_by_several_counts_once(books):
    ids = [await books.given(number, BEGUN) for number in range(20)]
    at = BEGUN + timedelta(minutes=10)
    told = [reading(id_, at, 60) for id_ in ids]

    await asyncio.gather(*(books.ledger.take(told, at) for _ in range(8)))
    await asyncio.gather(*(books.ledger.settle(at) for _ in range(4)))

    assert books.ask("SELECT sum(used_cpu_us)::bigint, sum(begun)::int FROM ledger_days") == [
        (20 * 60_000_000, 20)
    ]
    assert books.ask("SELECT sum(allocated_time_us)::bigint FROM ledger_days") == [
        (20 * 600_000_000,)
    ]


async def test_an_end_that_is_told_late_is_on_record_as_a_correction(books):
    id_ = await books.given(1, BEGUN)
    await books.ledger.settle(BEGUN + timedelta(hours=2))

    await books.ended(id_, BEGUN + timedelta(minutes=10))
    await books.ledger.settle(BEGUN + timedelta(hours=2))

    assert books.ask("SELECT sum(allocated_time_us)::bigint FROM ledger_days") == [(600_000_000,)]
    found = await books.ledger.corrections(id_, 10)
    assert sum(each.given_seconds for each in found) == -110 * 60
    assert {each.person for each in found} == {""}
    assert "ended before" in found[0].reason


async def test_a_correction_counts_once_and_what_was_counted_stays(books):
    id_ = await books.given(1, BEGUN)
    at = BEGUN + timedelta(minutes=10)
    await books.ledger.take([reading(id_, at, 60)], at)
    correction = Correction(
        id="c1", allocation_id=id_, hour=at, cpu_seconds=-20, reason="counted beside it"
    )

    assert await books.ledger.correct(correction, "root", at)
    assert not await books.ledger.correct(correction, "root", at)

    assert books.ask("SELECT cpu_us, corrected_cpu_us FROM ledger_hours") == [
        (60_000_000, -20_000_000)
    ]
    assert books.ask("SELECT sum(used_cpu_us)::bigint FROM ledger_days") == [(40_000_000,)]
    assert [each.person for each in await books.ledger.corrections(None, 10)] == ["root"]
    with pytest.raises(NotFound, match="in the hour of 2026-05-05"):
        await books.ledger.correct(
            correction.model_copy(update={"id": "c2", "hour": at + timedelta(days=1)}), "root", at
        )


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE ledger_hours SET cpu_us = 1",
        "UPDATE ledger_hours SET given_us = 0",
        "DELETE FROM ledger_hours",
        "TRUNCATE ledger_hours",
        "UPDATE ledger_corrections SET reason = ''",
        "DELETE FROM ledger_corrections",
    ],
)
async def test_the_database_refuses_to_take_anything_from_the_ledger(books, tampering):
    id_ = await books.given(1, BEGUN)
    await books.ledger.settle(BEGUN + timedelta(hours=2))
    await books.ledger.take([reading(id_, BEGUN + timedelta(hours=2), 60)], datetime.now(UTC))
    await books.ended(id_, BEGUN + timedelta(minutes=10))
    await books.ledger.settle(BEGUN + timedelta(hours=2))

    with pytest.raises(DBAPIError, match="only added to"):
        books.write(tampering)


async def test_where_no_hub_meters_what_runs_report_counts_when_they_end(books):
    ledger = SqlLedger(books.engine, runs_report=True)
    id_ = await books.given(1, BEGUN)
    ended = Ended(
        ended_at=BEGUN + timedelta(hours=1), spent=Spent(cpu_seconds=900, peak_memory_bytes=1 << 28)
    )
    await books.allocations.release(id_, ended)
    await ledger.settle(BEGUN + timedelta(hours=2))

    question = Question((By.DAY,), date(2026, 5, 1), date(2026, 6, 1))
    [part] = [part async for part in ledger.parts(question, (), ())]
    assert part.sums.used.cpu_us == 900_000_000
    assert part.sums.used.memory_kib_s == (1 << 18) * 3600
    assert part.sums.idle.time_us == 0.75 * 3_600_000_000
