"""A thousand reservations at once, from eight processes, within limits that most do not fit in.

All are for one team, which has a limit, and so wait for the same lock; a hundred people have limits of
what runs at once and a budget. Before it, 10,000 allocations are in the books. Afterwards the books
say whether a limit was exceeded, or an answer was lost.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine, text

from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.database import connect, migrate
from element_jupyter.core.quotas.allocations import Claim, server_allocation
from element_jupyter.core.quotas.rules import Claimant, Quotas, bounds
from element_jupyter.core.sizes import Size
from tests.postgres_fixture import Server, embedded_binaries

PROCESSES = 8
CALLS = 1000
PEOPLE = 100
EACH = 6
TEAM = 400
P99_BAR_MS = 100.0
ROUNDS = 5
BEFORE = """
INSERT INTO allocations (id, kind, person, server, team, size, cpu, memory_bytes, gpu,
    begun_at, ended_at, ended_how)
SELECT 's-' || lpad(n::text, 26, '0'), 'editor', 'p' || n % 100, '', 'ml', 'small', 1, 1073741824, 0,
    now() - n * interval '5 minutes' - interval '1 hour', now() - n * interval '5 minutes', 'ended'
FROM generate_series(1, 10000) AS n
"""
QUOTAS = Quotas.model_validate(
    {
        "quotas": [
            {
                "who": "everyone",
                "at_once": {"servers": EACH},
                "budgets": [{"per": "30 days", "cpu_hours": 1_000_000}],
            },
            {"who": "team:ml", "at_once": {"cpu": TEAM}},
        ]
    }
)
SIZE = Size(name="small", cpu=1, memory_bytes=1 << 30)


def _claim(number: int, round_number: int) -> Claim:
    person = f"p{number % PEOPLE}"
    allocation = server_allocation(
        person, f"s{round_number}-{number}", "ml", SIZE, datetime.now(UTC)
    )
    return Claim(allocation, bounds(QUOTAS, Claimant(person, "ml"), datetime.now(UTC)))


def _work(url: str, number: int, begin: Any, answers: Any) -> None:
    async def work() -> None:
        engine = connect(url)
        store = SqlAllocations(engine)
        await store.page(limit=1)  # the pool has a connection
        loop = asyncio.get_running_loop()
        for round_number in range(ROUNDS):
            mine = [_claim(n, round_number) for n in range(number, CALLS, PROCESSES)]

            async def one(claim: Claim) -> tuple[str, bool, float]:
                began = time.perf_counter()
                refusal = await store.reserve(claim)
                return claim.allocation.id, refusal is None, time.perf_counter() - began

            await loop.run_in_executor(None, begin.wait)
            answers.put(await asyncio.gather(*(one(each) for each in mine)))
            await loop.run_in_executor(None, begin.wait)
        await engine.dispose()

    asyncio.run(work())


def measure() -> list[dict[str, Any]]:
    """Reserve from all processes at the same moment, in rounds; the books are emptied between."""
    server = Server(embedded_binaries())
    try:
        url = server.url(server.new_database())
        migrate(url)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(BEFORE))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE allocations"))
        p99s = _rounds(url, engine)
        engine.dispose()
    finally:
        server.stop()
    p99_ms = statistics.median(p99s)
    return [
        {
            "name": "reserve_p99",
            "ours": p99_ms,
            "peer": None,
            "unit": "ms",
            "ratio": None,
            "bar": f"≤ {P99_BAR_MS:g}",
            "holds": p99_ms <= P99_BAR_MS,
        }
    ]


def _rounds(url: str, engine: Any) -> list[float]:
    context = multiprocessing.get_context("spawn")
    begin, answers = context.Barrier(PROCESSES + 1), context.Queue()
    processes = [
        context.Process(target=_work, args=(url, number, begin, answers), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    p99s = []
    for _ in range(ROUNDS):
        begin.wait(120)
        told = [each for _ in processes for each in answers.get(timeout=120)]
        granted = {id_ for id_, given, _ in told if given}
        with engine.begin() as connection:
            rows = connection.execute(text("SELECT id FROM allocations WHERE ended_at IS NULL"))
            books = {row.id for row in rows}
            connection.execute(text("DELETE FROM allocations WHERE ended_at IS NULL"))
        if len(told) != CALLS or granted != books or len(granted) != TEAM:
            raise AssertionError(f"{len(told)} answers, {len(granted)} granted, {len(books)} kept")
        p99s.append(sorted(seconds for *_, seconds in told)[int(CALLS * 0.99)] * 1000)
        begin.wait(120)
    for process in processes:
        process.join(60)
    return p99s
