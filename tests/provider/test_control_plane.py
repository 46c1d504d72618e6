"""The provider's parts against a real control plane, without the rest of Airflow."""

from __future__ import annotations

import os
import runpy
import secrets
import signal
from datetime import UTC, datetime, timedelta

import pytest
from airflow.configuration import conf
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent
from structlog.testing import capture_logs

from element_jupyter.provider.bundle import ElementDagBundle
from element_jupyter.provider.client import AsyncService, Service
from element_jupyter.provider.runs import Instance, run_request
from element_jupyter.provider.settings import settings
from element_jupyter.provider.trigger import RunTrigger
from tests.platform_fixture import free_ports, running_platform, wait_until
from tests.provider.projects import store

pytestmark = [pytest.mark.timeout(180)]

MINUTELY = {"kind": "cron", "expression": "* * * * *"}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plane") / "data"
    with running_platform(directory, ELEMENT_AIRFLOW="false", **free_ports()) as running:
        yield running


@pytest.fixture
def service(control_plane, tmp_path, monkeypatch):
    """What the provider calls the control plane with, composed as in Airflow's processes."""
    conf.set("element", "service_url", control_plane.service_url)
    conf.set("element", "token_file", str(control_plane.data_dir / "token"))
    conf.set("dag_processor", "dag_bundle_storage_path", str(tmp_path / "bundles"))
    settings.cache_clear()
    with Service() as service:
        yield service
    settings.cache_clear()


@pytest.fixture
def save(service, control_plane):
    """Save a job of one notebook with these cells; return `team/name`."""

    def save(*cells, name=None, **job):
        with control_plane.service() as client:
            snapshot = store(client, main=list(cells))
        name = name or f"job-{secrets.token_hex(4)}"
        document = {
            "apiVersion": "element/v1",
            "kind": "Job",
            "team": "me",
            "name": name,
            "owner": "me",
            "snapshot_id": snapshot,
            "tasks": [{"notebook": "main.ipynb"}],
        }
        with control_plane.service() as client:
            client.put(f"/jobs/me/{name}", json={**document, **job}).raise_for_status()
        return f"me/{name}"

    return save


def dag_in(path):
    return runpy.run_path(str(path))["dag"]


def file_of(job):
    return f"jobs/{job.replace('/', '--')}.py"


def request_for(job, *, due_at=None, attempt=1):
    now = datetime.now(UTC)
    instance = Instance(
        dag_run_id=f"run-{secrets.token_hex(4)}",
        run_type="scheduled" if due_at else "manual",
        logical_date=due_at or now,
        run_after=due_at or now,
        try_number=attempt,
    )
    return run_request(
        instance, job=job, task="main", version=None, parameters={}, on_schedule=due_at is not None
    )


async def end_of(trigger):
    with capture_logs() as log:
        (event,) = [event async for event in trigger.run()]
    await AsyncService.shared().close()
    return event, "\n".join(entry["event"] for entry in log)


# ---------------------------------------------------------------------------------- the bundle


def test_a_saved_job_becomes_a_file_and_a_change_a_new_version(save, control_plane):
    job = save("1", title="First")
    bundle = ElementDagBundle(name="element")
    bundle.initialize()
    first = bundle.get_current_version().version
    assert dag_in(bundle.path / file_of(job)).dag_display_name == "First"

    bundle.written.clear()
    bundle.refresh()
    assert (bundle.written, bundle.get_current_version().version) == (set(), first)

    save("1", name=job.partition("/")[2], title="Second")
    bundle.refresh()
    assert [str(path) for path in bundle.written] == [file_of(job)]
    assert int(bundle.get_current_version().version) > int(first)
    assert dag_in(bundle.path / file_of(job)).dag_display_name == "Second"

    old = ElementDagBundle(name="element", version=first)
    old.initialize()
    assert dag_in(old.path / file_of(job)).dag_display_name == "First"
    assert [path.is_symlink() for path in old.path.iterdir()] == [True]

    with control_plane.service() as client:
        client.delete(f"/jobs/{job}").raise_for_status()
    bundle.refresh()
    assert not (bundle.path / file_of(job)).exists()
    assert dag_in(old.path / file_of(job)).dag_display_name == "First"


def test_a_job_is_an_asset_only_while_another_waits_for_it(save):
    job = save("1")
    bundle = ElementDagBundle(name="element")
    bundle.initialize()
    assert dag_in(bundle.path / file_of(job)).get_task("main").outlets == []

    waiting = {"name": f"waiting-{secrets.token_hex(4)}"}
    save("1", schedule={"kind": "asset", "jobs": [job]}, **waiting)
    bundle.refresh()
    assert len(dag_in(bundle.path / file_of(job)).get_task("main").outlets) == 1

    save("1", **waiting)
    bundle.refresh()
    assert dag_in(bundle.path / file_of(job)).get_task("main").outlets == []


def test_what_people_write_in_a_job_is_never_code(save):
    nasty = "'''\"\"\"\\\nimport os; os.abort()  # {}\u2028 %s"
    job = save(
        "n = ''", description=nasty, tasks=[{"notebook": "main.ipynb", "parameters": {"n": nasty}}]
    )
    bundle = ElementDagBundle(name="element")
    bundle.initialize()
    dag = dag_in(bundle.path / file_of(job))
    assert dag.params["parameters"] == {"n": nasty}


def test_jobs_stay_as_they_are_while_the_control_plane_does_not_answer(save):
    job = save("1", title="Kept")
    bundle = ElementDagBundle(name="element")
    bundle.initialize()
    conf.set("element", "service_url", "http://127.0.0.1:1")
    settings.cache_clear()

    version = bundle.get_current_version()
    with capture_logs() as log:
        bundle.refresh()
        bundle.refresh()
    assert [entry["log_level"] for entry in log] == ["warning"]
    assert bundle.get_current_version() == version
    assert dag_in(bundle.path / file_of(job)).dag_display_name == "Kept"


# --------------------------------------------------------------------------------- the trigger


async def test_a_trigger_posts_follows_and_ends_the_task(service, save):
    event, log = await end_of(RunTrigger(request_for(save("print('hello')"))))
    assert isinstance(event, TaskSuccessEvent)
    run = service.get(f"/runs/{event.xcoms['run_id']}")
    returned = event.xcoms["return_value"]
    assert isinstance(returned, dict)
    assert returned["output_path"] == run["output_path"]
    assert event.xcoms["element_run"].endswith(f"/element/runs/{run['run_id']}")
    assert "hello" in log.split("\n")
    assert "The run succeeded" in log


async def test_a_failed_run_goes_back_to_a_worker_with_its_cell(save):
    event, log = await end_of(RunTrigger(request_for(save("1", "1 / 0"))))
    assert event.payload["run"]["state"] == "failed"
    assert event.payload["run"]["failing_cell"]["ename"] == "ZeroDivisionError"
    assert "ZeroDivisionError: division by zero" in log


async def test_a_task_that_is_started_twice_finds_the_same_run(service, save):
    request = request_for(save("1"))
    first, _ = await end_of(RunTrigger(request))
    second, _ = await end_of(RunTrigger(request))
    assert first.xcoms["run_id"] == second.xcoms["run_id"]


async def test_a_fire_that_the_catch_up_policy_refuses_is_skipped_with_its_sentence(service, save):
    job = save("1", schedule=MINUTELY, catch_up="none")
    due_at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    event, log = await end_of(RunTrigger(request_for(job, due_at=due_at)))
    assert isinstance(event, TaskSkippedEvent)
    assert "the catch-up policy is none" in log
    assert service.get("/runs", job=job)["items"] == []


async def test_an_input_that_is_missing_fails_the_task_and_does_not_skip_it(save):
    tasks = [
        {"name": "first", "notebook": "main.ipynb"},
        {"notebook": "main.ipynb", "needs": ["first"], "inputs": {"n": "first:n"}},
    ]
    job = save("n = 1", tasks=tasks, schedule=MINUTELY)
    due_at = datetime.now(UTC).replace(second=0, microsecond=0)
    event, _ = await end_of(RunTrigger(request_for(job, due_at=due_at)))
    assert "which has not succeeded" in event.payload["error"]


async def test_a_control_plane_that_is_killed_loses_nothing_of_a_run(control_plane, save):
    cell = "import time\nfor i in range(30):\n    print('line', i, flush=True); time.sleep(0.1)"
    request = request_for(save(cell))
    with control_plane.service() as client:
        client.post("/runs", json=request).raise_for_status()
        run = client.get("/runs", params={"job": request["job"]}).json()["items"][0]
        path = f"/runs/{run['run_id']}"
        wait_until(lambda: client.get(path).json()["state"] == "running", 30)
    os.kill(control_plane.state["processes"]["service"]["pid"], signal.SIGKILL)

    event, log = await end_of(RunTrigger(request, run_id=run["run_id"]))
    assert isinstance(event, TaskSuccessEvent)
    printed = [line for line in log.split("\n") if line.startswith("line ")]
    assert printed == [f"line {i}" for i in range(30)]


async def test_a_control_plane_that_never_answers_fails_the_task_after_its_patience(service, save):
    request = request_for(save("1"))
    conf.set("element", "service_url", "http://127.0.0.1:1")
    settings.cache_clear()
    event, _ = await end_of(RunTrigger(request, patience_seconds=0.5))
    assert "does not answer" in event.payload["error"]


async def test_killing_a_trigger_stops_its_run(service, save):
    request = request_for(save("import time; time.sleep(60)"))
    run_id = service.post("/runs", request)["run_id"]
    await RunTrigger(request, run_id=run_id).on_kill()
    wait_until(lambda: service.get(f"/runs/{run_id}")["state"] == "stopped", 30)


async def test_a_try_that_took_over_a_run_which_is_then_stopped_starts_its_own(service, save):
    request = request_for(save("import time; time.sleep(2)"))
    old = service.post("/runs", request)["run_id"]
    service.post(f"/runs/{old}/stop")
    later = {**request, "attempt": 2}
    event, log = await end_of(RunTrigger(later, run_id=old))
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms["run_id"] != old
    assert "of an earlier try was stopped" in log
