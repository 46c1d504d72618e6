"""What could be saved, of a million allocations: how long it takes, and how long the loop stands.

They are of 3,500 editors and jobs, all within the last two months, at one size that none needs.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import create_engine, text

from element_jupyter.adapters.sql.database import connect, migrate
from element_jupyter.adapters.sql.started_store import SqlStarted
from element_jupyter.core.sizes import Sizes
from element_jupyter.service.advice import Adviser
from tests.postgres_fixture import Server, embedded_binaries

ROWS = 1_000_000
ROUNDS = 5
BAR_SECONDS = 2.0
STALL_BAR_MS = 50.0
SIZES = Sizes.model_validate(
    {
        "default": "small",
        "sizes": [
            {"name": "small", "cpu": 1, "memory_bytes": "2 GiB", "price_per_hour": 0.04},
            {"name": "large", "cpu": 8, "memory_bytes": "32 GiB", "price_per_hour": 0.48},
        ],
    }
)
WRITE = """
INSERT INTO allocations (id, kind, person, server, team, job, notebook, size, cpu, memory_bytes,
    gpu, price_per_hour, begun_at, ended_at, ended_how, cpu_seconds, peak_memory_bytes)
SELECT 'r-' || lpad(n::text, 26, '0'), CASE WHEN n % 2 = 0 THEN 'run' ELSE 'editor' END,
    'p' || n % 5000, '', 't' || n % 200,
    CASE WHEN n % 2 = 0 THEN 't' || n % 200 || '/j' || n % 2000 END,
    CASE WHEN n % 2 = 0 THEN 'n.ipynb' END, 'large', 8, 34359738368, 0, 0.48,
    now() - n * interval '5 seconds' - interval '1 hour', now() - n * interval '5 seconds',
    'succeeded', 360, 1000000000
FROM generate_series(1, :count) AS n
"""


def measure() -> list[dict[str, Any]]:
    server = Server(embedded_binaries())
    try:
        url = server.url(server.new_database())
        migrate(url)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(WRITE), {"count": ROWS})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE allocations"))
        engine.dispose()
        took, stall_ms = asyncio.run(_ask(url))
    finally:
        server.stop()
    return [
        _row("advice_million", statistics.median(took), "s", BAR_SECONDS),
        _row("advice_stall", stall_ms, "ms", STALL_BAR_MS),
    ]


async def _ask(url: str) -> tuple[list[float], float]:
    engine = connect(url)
    jobs = SimpleNamespace(stored=list)
    adviser = Adviser(SqlStarted(engine), lambda: SIZES, jobs, lambda: datetime.now(UTC))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)

    watching = asyncio.create_task(watch())
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = await adviser.savings(person=None, team=None, limit=10)
        took.append(time.perf_counter() - began)
        assert len(found.items) == 10
    watching.cancel()
    await engine.dispose()
    return took, longest * 1000


def _row(name: str, value: float, unit: str, bar: float) -> dict[str, Any]:
    return {
        "name": name,
        "ours": value,
        "peer": None,
        "unit": unit,
        "ratio": None,
        "bar": f"≤ {bar:g}",
        "holds": value <= bar,
    }
