"""What is started again and again, read from many allocations, and what could be saved of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.started_store import SqlStarted
from element_jupyter.core.resources.savings import savings
from element_jupyter.core.sizes import Sizes

GIB = 2**30
SIZES = Sizes.model_validate(
    {
        "default": "small",
        "sizes": [
            {"name": "small", "cpu": 1, "memory_bytes": "2 GiB", "price_per_hour": 0.04},
            {"name": "large", "cpu": 8, "memory_bytes": "32 GiB", "price_per_hour": 0.48},
            {"name": "gpu", "cpu": 8, "memory_bytes": "32 GiB", "gpu": 1, "price_per_hour": 3},
        ],
    }
)
ONE = """
INSERT INTO allocations (id, kind, person, server, team, job, notebook, size, cpu, memory_bytes,
    gpu, begun_at, ended_at, ended_how, cpu_seconds, peak_memory_bytes, gpu_seconds)
SELECT :id || lpad(n::text, 20, '0'), :kind, :person, '', :team, :job, :notebook, :size, 8,
    34359738368, :gpu, now() - (n + 2) * interval '1 hour', now() - (n + 1) * interval '1 hour',
    :how, 360, :peak, :gpu_seconds
FROM generate_series(1, :count) AS n
"""
PLAIN = {
    "id": "s-abcdef",
    "kind": "editor",
    "person": "ada",
    "team": "ml",
    "job": None,
    "notebook": None,
    "size": "large",
    "gpu": 0,
    "how": "stopped",
    "peak": GIB,
    "gpu_seconds": None,
    "count": 4,
}


@pytest.fixture
async def store(database_url):
    engine = connect(database_url)
    yield SqlStarted(engine)
    await engine.dispose()


@pytest.fixture
def write(database_url):
    engine = create_engine(database_url)

    def add(**values) -> None:
        with engine.begin() as connection:
            connection.execute(text(ONE), values)

    yield add
    engine.dispose()


async def asked(store, **whose):
    found = await store.started(datetime.now(UTC), 20, **{"person": None, "team": None, **whose})
    return savings(SIZES, lambda size, _: size.price_per_hour, found, (), 10)


async def test_an_editor_that_never_needed_its_size_is_advised_the_cheaper_one(store, write):
    write(**PLAIN)
    write(**PLAIN | {"id": "s-bobbob", "person": "bob", "peak": 30 * GIB})
    write(**PLAIN | {"id": "s-carcar", "person": "carl", "count": 2})

    (item,) = (await asked(store, team="ml")).items

    assert item.subject.words == "ada's editor for the team 'ml'"
    assert (item.now.size, item.better.size) == ("large", "small")
    assert item.saves_per_month == pytest.approx(4 * (0.48 - 0.04), abs=0.01)
    assert item.evidence.runs == 4
    assert item.sentence.startswith(
        "ada's editor for the team 'ml' needed 1.0 GiB of memory or less in all of its last 4"
        " sessions and has 32.0 GiB (large); small has 2.0 GiB."
    )
    assert (await asked(store, person="bob")).items == ()


async def test_a_gpu_that_nothing_used_is_advised_away_and_one_that_nobody_watched_is_not(
    store, write
):
    gpu = PLAIN | {"size": "gpu", "gpu": 1, "peak": 20 * GIB}
    write(**gpu | {"gpu_seconds": 40.0})
    write(**gpu | {"id": "s-bobbob", "person": "bob", "gpu_seconds": 1800.0})
    write(**gpu | {"id": "s-carcar", "person": "carl"})

    (item,) = (await asked(store)).items

    assert (item.subject.person, item.now.size, item.better.size) == ("ada", "gpu", "large")
    assert "Its GPU worked less than 5% of the time" in item.sentence


async def test_what_failed_shows_nothing_and_is_not_counted(store, write):
    run = {"kind": "run", "job": "ml/nightly", "notebook": "n.ipynb"}
    write(**PLAIN | run | {"how": "failed"})
    assert (await asked(store)).items == ()

    write(**PLAIN | run | {"id": "r-abcdef", "how": "succeeded"})
    (item,) = (await asked(store)).items
    assert (item.subject.job, item.subject.person) == ("ml/nightly", None)
