"""Budgets over REST: people are told before one is used up, and a policy stops what runs on it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import nbformat
import pytest

from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.database import connect
from element_jupyter.core.quotas.allocations import Claim, Ended, server_allocation
from element_jupyter.core.sizes import Size

SIZE = Size(name="gpu", cpu=1, memory_bytes=1 << 30, gpu=1)


async def give(url: str, person: str, team: str, hours: float) -> None:
    """Write down that somebody had a GPU for a while, which has ended."""
    engine = connect(url)
    store, now = SqlAllocations(engine), datetime.now(UTC)
    gone = server_allocation(person, "", team, SIZE, now - timedelta(hours=hours, minutes=1))
    await store.reserve(Claim(gone), begun=True)
    await store.release(gone.id, Ended(ended_at=now - timedelta(minutes=1)))
    await engine.dispose()


def say(data, who: str, **budget: Any) -> None:
    data.mkdir(exist_ok=True)
    said = {"quotas": [{"who": who, "budgets": [budget]}]}
    (data / "new").write_text(json.dumps(said))
    (data / "new").replace(data / "quotas.yaml")


@pytest.fixture
def quick(settings):
    """Look each second."""
    settings.data.mkdir()
    (settings.data / "care.yaml").write_text("report_every: 1 s")
    return settings.data


async def told(plane, kind: str) -> list[dict[str, Any]]:
    items = (await plane.client.get("/notices")).json()["items"]
    return [each for each in items if each["kind"] == kind]


async def until(found) -> Any:
    async with asyncio.timeout(90):
        while not (said := await found()):
            await asyncio.sleep(0.1)
    return said


async def test_one_is_told_at_80_and_at_100_percent_and_not_when_it_is_not_so_any_more(
    quick, plane, database_url
):
    say(plane.data, "everyone", per="7 days", gpu_hours=10)
    await give(database_url, "ada", "ml", 9)

    [near] = await until(lambda: told(plane, "budget_near"))
    say(plane.data, "everyone", per="7 days", gpu_hours=9)
    [spent] = await until(lambda: told(plane, "budget_spent"))

    assert near["sentence"] == "ada has used 9 of 10 GPU-hours per 7 days (everyone's limit)."
    assert "nothing that draws on it is started" in near["hint"]
    assert near["keep_until_allowed"] is None
    assert spent["sentence"] == "ada has used 9 of 9 GPU-hours per 7 days (everyone's limit)."
    say(plane.data, "everyone", per="7 days", gpu_hours=100)

    async def quiet() -> bool:
        return not (await plane.client.get("/notices")).json()["items"]

    await until(quiet)


async def test_a_run_is_stopped_after_the_grace_with_what_it_has_done_and_on_record(quick, plane):
    say(quick, "everyone", per="1 day", cpu_hours=0.0002, then="stop", grace="3 s")
    cells = [
        nbformat.v4.new_code_cell(each) for each in ("print('done')", "import time; time.sleep(99)")
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    notebook = nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=spec))
    snapshot_id = await plane.snapshot({"work.ipynb": notebook.encode()})
    body = {"notebook": "work.ipynb", "snapshot_id": snapshot_id}
    run_id = (await plane.client.post("/runs", json=body)).json()["run_id"]

    [soon] = await until(lambda: told(plane, "budget_stop"))
    assert soon["sentence"].startswith("Your run of 'work.ipynb' is stopped soon: a budget is used")
    [gone] = await until(lambda: told(plane, "stopped"))

    run = (await plane.client.get(f"/runs/{run_id}")).json()
    assert run["state"] == "stopped"
    assert run["finished_at"] > soon["deadline"]
    assert run["reason"].startswith("a budget is used up: ada has used ")
    kept = (await plane.client.get(f"/runs/{run_id}/notebook")).text
    assert "done" in kept
    [given] = (await plane.client.get("/allocations")).json()["items"]
    assert given["ended_how"].startswith("a budget is used up: ada has used ")
    assert gone["sentence"] == f"Your run of 'work.ipynb' was stopped: {given['ended_how']}."
    on_record = await plane.client.get("/audit", params={"action": "run.stopped"})
    assert [
        (each["actor"], each["subject"], each["after"]["why"]) for each in on_record.json()["items"]
    ] == [("the platform", run_id, given["ended_how"])]
    assert await told(plane, "budget_stop") == []
    assert len(await told(plane, "budget_spent")) == 1
