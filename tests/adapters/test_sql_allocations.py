"""Allocations in PostgreSQL: what is given never exceeds a limit, and is given back once."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.database import connect
from element_jupyter.core.confinement import Spent
from element_jupyter.core.quotas.allocations import Claim, Ended, server_allocation
from element_jupyter.core.quotas.rules import Claimant, Quotas, bounds
from element_jupyter.core.sizes import Size

SMALL = Size(name="small", cpu=1, memory_bytes=1 << 30, gpu=1, price_per_hour=2)
QUOTAS = Quotas.model_validate(
    {
        "quotas": [
            {"who": "everyone", "at_once": {"servers": 3}},
            {"who": "team:ml", "at_once": {"cpu": 25, "gpu": 40}},
        ]
    }
)


@pytest.fixture
async def store(database_url):
    engine = connect(database_url)
    yield SqlAllocations(engine)
    await engine.dispose()


def claim(person="ada", server="", *, quotas=QUOTAS, team="ml", size=SMALL, begun_at=None):
    at = begun_at or datetime.now(UTC)
    allocation = server_allocation(person, server, team, size, at)
    return Claim(allocation, bounds(quotas, Claimant(person, team), datetime.now(UTC)))


def ended(at=None, **spent) -> Ended:
    return Ended(ended_at=at or datetime.now(UTC), how="stopped", spent=Spent(**spent))


async def test_what_does_not_fit_is_refused_and_fits_when_something_ends(store):
    given = [claim(server=f"s{n}") for n in range(3)]
    assert [await store.reserve(each) for each in given] == [None] * 3

    refusal = await store.reserve(claim(server="s3"))
    assert refusal is not None
    assert refusal.sentence.startswith("ada has 3 of 3 servers in use")

    assert await store.release(given[0].allocation.id, ended())
    assert await store.reserve(claim(server="s3")) is None


async def test_the_same_allocation_is_reserved_and_released_once(store):
    asked = claim(server="one")
    refusals = await asyncio.gather(*(store.reserve(asked) for _ in range(20)))
    assert refusals == [None] * 20
    assert len(await store.page(limit=100)) == 1

    first = datetime.now(UTC)
    released = [await store.release(asked.allocation.id, ended(first)) for _ in range(3)]
    assert released == [True, False, False]
    (kept,) = await store.page(limit=100)
    assert kept.ended_at == first
    assert await store.reserve(asked) is None
    assert (await store.page(limit=100))[0].ended_at == first


async def test_a_server_that_is_started_again_takes_the_place_of_the_one_before(store):
    for _ in range(5):
        assert await store.reserve(claim(server="same")) is None

    assert len(await store.page(limit=100, still_open=True)) == 1
    assert {each.ended_how for each in await store.page(limit=9, still_open=False)} == {"replaced"}


async def test_what_was_used_may_be_counted_after_the_end_and_only_rises(store):
    asked = claim()
    await store.reserve(asked)
    await store.release(asked.allocation.id, ended(cpu_seconds=5.0, peak_memory_bytes=100))
    await store.release(asked.allocation.id, ended(cpu_seconds=7.0, peak_memory_bytes=50))

    (kept,) = await store.page(limit=9)
    assert (kept.cpu_seconds, kept.peak_memory_bytes) == (7.0, 100)


async def test_budgets_add_up_what_was_given_in_their_window(store):
    quotas = Quotas.model_validate(
        {
            "quotas": [
                {
                    "who": "everyone",
                    "budgets": [{"per": "7 days", "gpu_hours": 10, "money": 1000, "cpu_hours": 99}],
                },
                {"who": "team:ml", "budgets": [{"per": "1 day", "gib_hours": 500}]},
            ]
        }
    )
    now = datetime.now(UTC)
    for days, hours in ((8, 30), (3, 4), (1, 5)):
        old = claim(quotas=quotas, begun_at=now - timedelta(days=days, hours=hours))
        assert await store.reserve(old, begun=True) is None
        await store.release(old.allocation.id, ended(now - timedelta(days=days)))

    standings, refusal = await store.standing(claim(quotas=quotas))
    used = {each.bound.limit.resource.value: each.used for each in standings}
    assert used["gpu_hours"] == pytest.approx(9, abs=0.01)
    assert used["cpu_hours"] == pytest.approx(9, abs=0.01)
    assert used["money"] == pytest.approx(18, abs=0.02)
    assert used["gib_hours"] == pytest.approx(0, abs=0.01)
    assert refusal is None

    running = claim(quotas=quotas, server="runs", begun_at=now - timedelta(hours=2))
    assert await store.reserve(running, begun=True) is None
    refused = await store.reserve(claim(quotas=quotas, server="more"))
    assert refused is not None
    assert "ada has used 11 of 10 GPU-hours per 7 days" in refused.sentence
    # the four hours of three days ago are over when an eighth of them has left the window
    expected = now - timedelta(days=3, hours=4) + timedelta(hours=1) + timedelta(days=7)
    assert refused.frees_at is not None
    assert abs(refused.frees_at - expected) < timedelta(seconds=30)


# --------------------------------------------------------------------- many at once, and killed


def _reserve_from(database_url: str, number: int, count: int, answers) -> None:
    async def work() -> list[tuple[str, bool]]:
        engine = connect(database_url)
        store = SqlAllocations(engine)
        claims = [claim(f"p{n % 7}", f"{number}-{n}") for n in range(count)]
        refusals = await asyncio.gather(*(store.reserve(each) for each in claims))
        await engine.dispose()
        return [
            (each.allocation.id, refusal is None)
            for each, refusal in zip(claims, refusals, strict=True)
        ]

    answers.put(asyncio.run(work()))


def _open(url: str) -> set[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id FROM allocations WHERE ended_at IS NULL"))
        found = {row.id for row in rows}
    engine.dispose()
    return found


def test_processes_that_reserve_at_once_never_exceed_and_lose_nothing(database_url):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [
        context.Process(target=_reserve_from, args=(database_url, n, 40, answers)) for n in range(4)
    ]
    for each in processes:
        each.start()
    told = [each for _ in processes for each in answers.get(timeout=120)]
    for each in processes:
        each.join(60)

    granted = {id_ for id_, given in told if given}
    # seven people with three servers each, in a team that may have 25 cores
    assert len(granted) == 21
    assert granted == _open(database_url)


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_with_crashes_keeps_the_limits_and_the_books(database_url, seed):
    """Callers reserve, release, repeat themselves, and are cut off at any moment."""
    rolls = random.Random(seed)
    engines = [connect(database_url) for _ in range(3)]
    stores = [SqlAllocations(engine) for engine in engines]
    granted: dict[str, Claim] = {}
    unknown: dict[str, Claim] = {}
    releasing: set[str] = set()
    released: dict[str, datetime] = {}

    async def one(store: SqlAllocations) -> None:
        for _ in range(12):
            asked = claim(rolls.choice("abcdefghijkl"), uuid.uuid4().hex[:8])
            id_ = asked.allocation.id
            unknown[id_] = asked
            await asyncio.sleep(rolls.random() / 100)
            if await store.reserve(asked) is None:
                granted[id_] = asked
            del unknown[id_]
            if granted and rolls.random() < 0.5:
                id_ = rolls.choice(list(granted))
                at = datetime.now(UTC)
                releasing.add(id_)  # who is cut off then does not know whether it was
                if await store.release(id_, ended(at)):
                    assert id_ not in released
                    released[id_] = at

    tasks = [asyncio.ensure_future(one(store)) for store in stores for _ in range(4)]
    for task in rolls.sample(tasks, 5):
        await asyncio.sleep(rolls.random() / 20)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        assert task.cancelled() or task.exception() is None
    fresh = SqlAllocations(engines[0])

    still_open = {each.id for each in await fresh.page(limit=1000, still_open=True)}
    assert still_open <= set(granted) | set(unknown)
    assert set(granted) - releasing <= still_open
    assert not still_open & set(released)
    by_person: dict[str, int] = {}
    for each in await fresh.page(limit=1000, still_open=True):
        by_person[each.person] = by_person.get(each.person, 0) + 1
    assert max(by_person.values(), default=0) <= 3
    assert sum(by_person.values()) <= 25
    # who was cut off asks again, and what was granted then stays as it is
    for asked in unknown.values():
        before = asked.allocation.id in still_open
        assert (await fresh.reserve(asked) is None) or not before
    for engine in engines:
        await engine.dispose()
