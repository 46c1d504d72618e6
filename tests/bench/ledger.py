"""Reports over a million rows of the ledger: 5,000 people, 200 teams and three months, by REST.

What is measured is what a browser waits for: an administrator's first view is this month by team and
by day, each with its forecast; the other is this month by person. 500 servers go on meanwhile.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from element_jupyter import config
from element_jupyter.adapters.sql.database import migrate
from element_jupyter.platform.service import serving
from tests.postgres_fixture import Server, embedded_binaries

ROWS = 1_000_000
HOURS_EACH = 4
DAYS = 90
OPEN = 500
FIRST_VIEW_BAR_MS = 500.0
MONTH_BAR_MS = 2000.0
ROUNDS = 7
# the last hours are those of today, so that the month that it is has its share
ALLOCATIONS = """
INSERT INTO allocations (id, kind, person, server, job, notebook, team, size, cpu, memory_bytes, gpu,
    price_per_hour, begun_at, ended_at, ended_how)
SELECT 's-' || lpad(n::text, 26, '0'), CASE n % 3 WHEN 0 THEN 'run' ELSE 'editor' END,
    'person-' || n % 5000, '', CASE n % 3 WHEN 0 THEN 'team-' || n % 200 || '/job-' || n % 7 END,
    CASE n % 3 WHEN 0 THEN 'work-' || n % 7 || '.ipynb' END, 'team-' || n % 200,
    'size-' || n % 4, 1 + n % 4, (4 + n % 4) * 1073741824::bigint, 0, 0.05 * (1 + n % 4),
    begun_at, CASE WHEN n > :open THEN begun_at + interval '4 hours' END, ''
FROM (SELECT n, date_trunc('hour', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
    - (n * :days * 24 / :allocations) * interval '1 hour' - interval '4 hours' AS begun_at
    FROM generate_series(1, :allocations) AS n) AS made
"""
HOURS = """
INSERT INTO ledger_hours (allocation_id, hour, given_us, cpu_us, memory_kib_s)
SELECT id, begun_at + h * interval '1 hour', 3600000000, (3600000000 * cpu * random())::bigint,
    (memory_bytes / 1024 * 3600 * random())::bigint
FROM allocations, generate_series(0, 3) AS h
"""
MARKS = """
UPDATE ledger_marks SET given_until = begun_at + interval '4 hours', settled = ended_at IS NOT NULL
FROM allocations WHERE id = allocation_id
"""


@asynccontextmanager
async def _plane(url: str, directory: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = config.load(
        data_dir=directory,
        database_url=url,
        owner="ada",
        airflow=False,
        environments=False,
    )
    async with serving(settings) as address:
        headers = {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}
        base = f"{address}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=120) as client:
            yield client


async def _asked(client: httpx.AsyncClient, *views: str) -> float:
    """Return how long all of them take, in ms."""
    began = time.perf_counter()
    for by in views:
        answer = (await client.get("/usage", params={"by": by})).raise_for_status().json()
        if len(answer["rows"]) < 2 or answer["forecast"] is None:
            raise AssertionError(answer["total"])
    return (time.perf_counter() - began) * 1000


async def _measured(url: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        async with _plane(url, directory) as client:
            await _asked(client, "team", "person")  # the pool has connections
            first = [await _asked(client, "team", "day") for _ in range(ROUNDS)]
            month = [await _asked(client, "person") for _ in range(ROUNDS)]
    return statistics.median(first), statistics.median(month)


def measure() -> list[dict[str, Any]]:
    """Fill the books, and ask."""
    server = Server(embedded_binaries())
    try:
        url = server.url(server.new_database())
        migrate(url)
        engine = create_engine(url)
        with engine.begin() as connection:
            count = ROWS // HOURS_EACH
            values = {"allocations": count, "days": DAYS, "open": OPEN}
            connection.execute(text(ALLOCATIONS), values)
            connection.execute(text(HOURS))
            connection.execute(text(MARKS))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
            kept = connection.scalar(text("SELECT count(*) FROM ledger_hours"))
        engine.dispose()
        if kept != ROWS:
            raise AssertionError(f"{kept} rows")
        first_ms, month_ms = asyncio.run(_measured(url))
    finally:
        server.stop()
    return [
        _row("ledger_first_view", first_ms, FIRST_VIEW_BAR_MS),
        _row("ledger_month_by_person", month_ms, MONTH_BAR_MS),
    ]


def _row(name: str, ours_ms: float, bar_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours_ms,
        "peer": None,
        "unit": "ms",
        "ratio": None,
        "bar": f"≤ {bar_ms:g}",
        "holds": ours_ms <= bar_ms,
    }
