"""What the control plane says of what runs use: advice for the next one, and metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.run_store import SqlRunStore
from element_jupyter.core.progress import RunRecord
from element_jupyter.core.runs import Run, RunState, Trigger
from element_jupyter.service.run_requests import new_run_id

MB = 1_000_000
AT = datetime(2026, 11, 20, 6, tzinfo=UTC)


@pytest.fixture
async def ran(plane, settings):
    """Put a run into the record that has ended, of a day and with a peak."""
    engine = connect(settings.database_url)
    store = SqlRunStore(engine)

    async def add(day: int, peak_bytes: int, state=RunState.SUCCEEDED, **fields) -> None:
        at = AT + timedelta(days=day)
        run = Run(
            run_id=new_run_id(at),
            state=state,
            team="ada",
            snapshot_id="0" * 64,
            time_limit_seconds=60,
            trigger=Trigger.API,
            created_at=at,
            started_at=at,
            finished_at=at + timedelta(seconds=100),
            cpu_seconds=150.0,
            peak_memory_bytes=peak_bytes,
            **{"owner": "ada", "notebook": "report.ipynb", **fields},
        )
        await store.create(RunRecord(run=run), None, lambda _: None)

    yield add
    await engine.dispose()


async def test_advice_is_of_the_same_notebook_of_the_same_person(plane, ran):
    for day in range(3):
        await ran(day, 800 * MB)
        await ran(day, 9000 * MB, owner="bob")
        await ran(day, 9000 * MB, notebook="other.ipynb")
        await ran(day, 9000 * MB, job="ada/report")
    await ran(4, 9000 * MB, state=RunState.STOPPED)

    answer = await plane.client.get("/usage/advice", params={"notebook": "report.ipynb"})

    assert answer.json() == {
        "memory_bytes": 896 * 2**20,
        "cpu_cores": 1.8,
        "evidence": {
            "runs": 3,
            "peak_p95_bytes": 800 * MB,
            "oom_kills": 0,
            "since": "2026-11-20T06:01:40Z",
            "until": "2026-11-22T06:01:40Z",
        },
        "reason": "",
    }


async def test_a_job_whose_run_was_killed_for_want_of_memory_is_advised_the_next_size(plane, ran):
    job = {"job": "ada/report", "task": "load"}
    for day in range(3):
        await ran(day, 800 * MB, **job)
        await ran(day, 9000 * MB, job="ada/report", task="extract")
    killed = {"out_of_memory": True, "memory_limit_bytes": 1000 * MB}
    await ran(3, 990 * MB, state=RunState.FAILED, **job, **killed)

    advice = (await plane.client.get("/usage/advice", params=job)).json()

    assert advice["memory_bytes"] == ceil(1.7 * 2**30)
    assert advice["evidence"]["oom_kills"] == 1


async def test_too_few_runs_are_no_advice_and_a_question_is_of_a_job_or_a_notebook(plane):
    answer = await plane.client.get("/usage/advice", params={"notebook": "new.ipynb"})
    assert answer.status_code == 200
    assert answer.json()["memory_bytes"] is None
    assert "advice takes 3" in answer.json()["reason"]

    for params in ({}, {"job": "ada/a", "notebook": "b.ipynb"}, {"job": "report"}):
        refused = await plane.client.get("/usage/advice", params=params)
        assert (refused.status_code, refused.json()["field"]) == (400, "job")
    assert (
        await plane.client.get(
            "/usage/advice", params={"job": "x/y"}, headers={"Authorization": ""}
        )
    ).status_code == 401
