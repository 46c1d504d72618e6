"""Jobs in a real Airflow: they become DAGs, their runs are tasks, and people act on them there."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_fixture import ROOT, wait_until
from tests.provider.projects import store

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

RECORD = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom element_jupyter import record\n"
WAITS = "import time\nprint('waiting', flush=True)\ntime.sleep(120)"


class Jobs:
    """The platform as somebody uses it who saves jobs and looks at them in Airflow."""

    def __init__(self, platform, service: httpx.Client, airflow: httpx.Client):
        self.platform = platform
        self.service = service
        self.airflow = airflow

    def snapshot(self, **notebooks: str) -> str:
        return store(self.service, **{name: it.split("\n\n") for name, it in notebooks.items()})

    def save(self, name=None, *, seen=True, **job) -> str:
        """Save a job, wait until Airflow has it as it is now, and return its DAG's id."""
        name = name or f"job-{secrets.token_hex(4)}"
        job = {"tasks": [{"notebook": "main.ipynb"}], **job}
        document = {"apiVersion": "element/v1", "kind": "Job", "team": "me", "name": name}
        answer = self.service.put(f"/jobs/me/{name}", json={**document, "owner": "me", **job})
        assert answer.is_success, answer.text
        version = answer.json()["stored"]["version"]
        if seen:
            wait_until(lambda: f"version {version}," in self.docs(f"me--{name}"), 90)
        return f"me--{name}"

    def docs(self, dag_id: str) -> str:
        answer = self.airflow.get(f"/api/v2/dags/{dag_id}/details")
        return answer.json()["doc_md"] if answer.is_success else ""

    def trigger(self, dag_id: str, **parameters) -> DagRun:
        body = {
            "logical_date": datetime.now(UTC).isoformat(),
            "conf": {"parameters": parameters} if parameters else {},
        }
        answer = self.airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        assert answer.is_success, answer.text
        return DagRun(self, dag_id, answer.json()["dag_run_id"])

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        found = self.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns").json()["dag_runs"]
        return [DagRun(self, dag_id, each["dag_run_id"]) for each in found]

    def runs(self, dag_id: str) -> list[dict]:
        """The runs of a job, oldest first."""
        job = dag_id.replace("--", "/")
        return self.service.get("/runs", params={"job": job}).json()["items"][::-1]


class DagRun:
    """One DAG run in Airflow."""

    def __init__(self, jobs: Jobs, dag_id: str, run_id: str):
        self.jobs, self.dag_id, self.run_id = jobs, dag_id, run_id
        self.path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"

    def task(self, name="main") -> dict:
        return self.jobs.airflow.get(f"{self.path}/taskInstances/{name}").json()

    def state(self) -> str:
        return self.jobs.airflow.get(self.path).json()["state"]

    def end(self, seconds=90) -> str:
        wait_until(lambda: self.state() in {"success", "failed"}, seconds, lambda: str(self.task()))
        return self.state()

    def log(self, task="main", attempt=1) -> str:
        answer = self.jobs.airflow.get(
            f"{self.path}/taskInstances/{task}/logs/{attempt}",
            headers={"Accept": "application/json"},
        )
        return "\n".join(
            f"{line.get('event')} {line.get('error_detail') or ''}"
            for line in answer.json().get("content", [])
        )

    def xcom(self, key: str, task="main"):
        answer = self.jobs.airflow.get(f"{self.path}/taskInstances/{task}/xcomEntries/{key}")
        value = answer.json()["value"]
        try:
            return json.loads(value)
        except (TypeError, ValueError):
            return value


@pytest.fixture
def jobs(platform):
    with platform.service() as service, platform.airflow() as airflow:
        yield Jobs(platform, service, airflow)


def test_a_task_shows_its_cells_and_leaves_what_the_notebook_recorded(jobs):
    snapshot = jobs.snapshot(main=f"n = 1\n\nprint('n is', n)\n\n{RECORD}record(double=2 * n)")
    run = jobs.trigger(jobs.save(snapshot_id=snapshot), n=21)
    assert run.end() == "success"

    log = run.log()
    for line in ("n is 21", "Recorded double = 42", "The run succeeded"):
        assert line in log
    (record,) = jobs.runs(run.dag_id)
    assert record["parameters"] == {"n": 21}
    assert run.xcom("return_value") == {
        "run_id": record["run_id"],
        "state": "succeeded",
        "output_path": record["output_path"],
        "recorded": {"double": 42},
    }
    assert run.xcom("recorded") == {"double": 42}
    assert Path(run.xcom("output_path")).is_file()


def test_the_executed_notebook_opens_from_airflow_for_who_is_signed_in(jobs):
    snapshot = jobs.snapshot(main="print('<script>alert(1)</script>')\n\n6 * 7")
    run = jobs.trigger(jobs.save(snapshot_id=snapshot))
    assert run.end() == "success"

    answer = jobs.airflow.get(f"{run.path}/taskInstances/main/links").json()
    url = answer["extra_links"]["Executed notebook"]
    page = jobs.airflow.get(url)
    assert page.status_code == 200
    assert "42" in page.text
    assert "<script>alert" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert httpx.get(url, trust_env=False).status_code == 401

    job = jobs.airflow.get(re.search(r"\((http\S+/element/jobs/\S+)\)", jobs.docs(run.dag_id))[1])
    assert job.status_code == 200
    assert snapshot in job.text


def test_a_failing_cell_fails_the_task_with_its_error_and_is_retried_by_airflows_rules(jobs):
    task = {"notebook": "main.ipynb", "retries": 1, "retry_delay_seconds": 0}
    snapshot = jobs.snapshot(main="x = 1\n\n1 / 0")
    run = jobs.trigger(jobs.save(snapshot_id=snapshot, tasks=[task]))
    assert run.end() == "failed"

    assert "failed in cell 2 (1 / 0): ZeroDivisionError: division by zero" in run.log()
    assert "ZeroDivisionError" in run.log(attempt=2)
    records = jobs.runs(run.dag_id)
    assert [(each["attempt"], each["state"]) for each in records] == [(1, "failed"), (2, "failed")]


def test_marking_a_task_failed_stops_its_run(jobs):
    run = jobs.trigger(jobs.save(snapshot_id=jobs.snapshot(main=WAITS)))
    wait_until(lambda: "waiting" in run.log(), 90)

    answer = jobs.airflow.patch(f"{run.path}/taskInstances/main", json={"new_state": "failed"})
    assert answer.is_success
    wait_until(lambda: jobs.runs(run.dag_id)[0]["state"] == "stopped", 90)
    assert run.end() == "failed"


def test_clearing_a_task_stops_its_run_and_starts_another(jobs):
    run = jobs.trigger(jobs.save(snapshot_id=jobs.snapshot(main=WAITS)))
    wait_until(lambda: "waiting" in run.log(), 90)

    answer = jobs.airflow.post(
        f"/api/v2/dags/{run.dag_id}/clearTaskInstances",
        json={"dry_run": False, "dag_run_id": run.run_id, "only_failed": False},
    )
    assert answer.is_success
    wait_until(lambda: len(jobs.runs(run.dag_id)) == 2, 90)
    wait_until(lambda: jobs.runs(run.dag_id)[0]["state"] == "stopped", 90)
    wait_until(lambda: "waiting" in run.log(attempt=2), 90)
    assert jobs.runs(run.dag_id)[1]["state"] in {"starting", "running"}
    jobs.airflow.patch(run.path, json={"state": "failed"})
    wait_until(lambda: jobs.runs(run.dag_id)[1]["state"] == "stopped", 90)


def test_a_run_that_a_person_stops_is_not_tried_again(jobs):
    tasks = [{"notebook": "main.ipynb", "retries": 3, "retry_delay_seconds": 0}]
    dag_run = jobs.trigger(jobs.save(snapshot_id=jobs.snapshot(main=WAITS), tasks=tasks))
    wait_until(lambda: [run["state"] for run in jobs.runs(dag_run.dag_id)] == ["running"], 90)
    (run,) = jobs.runs(dag_run.dag_id)

    jobs.service.post(f"/runs/{run['run_id']}/stop").raise_for_status()

    assert dag_run.end() == "failed"
    assert [run["state"] for run in jobs.runs(dag_run.dag_id)] == ["stopped"]


def test_a_run_in_progress_keeps_its_version_and_hands_values_on(jobs):
    snapshot = jobs.snapshot(
        first=f"{RECORD}record(n=7)\n\nimport time\ntime.sleep(3)",
        second="n = 0\n\nprint('got', n)",
        other="raise RuntimeError('the new version')",
    )
    tasks: list[dict[str, Any]] = [
        {"name": "first", "notebook": "first.ipynb"},
        {
            "name": "second",
            "notebook": "second.ipynb",
            "needs": ["first"],
            "inputs": {"n": "first:n"},
        },
    ]
    dag_id = jobs.save(snapshot_id=snapshot, tasks=tasks)
    run = jobs.trigger(dag_id)
    wait_until(lambda: run.task("first")["state"] == "deferred", 90)
    changed = [tasks[0], {**tasks[1], "notebook": "other.ipynb", "inputs": {}}]
    jobs.save(dag_id.partition("--")[2], snapshot_id=snapshot, tasks=changed)

    assert run.end() == "success"
    assert "got 7" in run.log("second")
    assert {each["job_version"] for each in jobs.runs(dag_id)} == {1}
    assert jobs.trigger(dag_id).end() == "failed"
    assert jobs.runs(dag_id)[-1]["job_version"] == 2


def test_a_job_runs_at_its_instant_and_its_fire_is_kept(jobs):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=6)
    schedule = {"kind": "once", "at": at.isoformat()}
    dag_id = jobs.save(snapshot_id=jobs.snapshot(main="1"), schedule=schedule)
    wait_until(lambda: jobs.dag_runs(dag_id), 90)
    (run,) = jobs.dag_runs(dag_id)
    assert run.end() == "success"

    (record,) = jobs.runs(dag_id)
    assert record["trigger"] == "schedule"
    assert datetime.fromisoformat(record["logical_date"]) == at
    fires = jobs.service.get(f"/jobs/{record['job']}/fires").json()["items"]
    assert [(fire["state"], fire["run_ids"]) for fire in fires] == [("ran", [record["run_id"]])]


def test_a_job_may_follow_another(jobs):
    snapshot = jobs.snapshot(main="1")
    first = jobs.save(snapshot_id=snapshot)
    schedule = {"kind": "asset", "jobs": [first.replace("--", "/")]}
    second = jobs.save(snapshot_id=snapshot, schedule=schedule)
    assets = f"/api/v2/assets?uri_pattern={first.replace('--', '/')}"
    wait_until(lambda: jobs.airflow.get(assets).json()["assets"][0]["producing_tasks"], 90)

    assert jobs.trigger(first).end() == "success"
    wait_until(lambda: jobs.dag_runs(second), 90)
    assert jobs.dag_runs(second)[0].end() == "success"
    assert jobs.runs(second)[0]["trigger"] == "asset"


def test_a_malformed_job_file_says_so_in_airflow_and_harms_no_other(jobs):
    snapshot = jobs.snapshot(main="1")
    healthy, broken = jobs.save(snapshot_id=snapshot), jobs.save(snapshot_id=snapshot)
    file = jobs.platform.data_dir / "jobs" / "me" / broken.partition("--")[2] / "job.yaml"
    file.write_text(file.read_text().replace("tasks:", "taskz:"))

    def errors():
        found = jobs.airflow.get("/api/v2/importErrors").json()["import_errors"]
        return [error["stack_trace"] for error in found if broken in error["filename"]]

    wait_until(errors, 90)
    assert f"Job {broken.replace('--', '/')}" in errors()[0]
    assert "taskz" in errors()[0]
    assert jobs.trigger(healthy).end() == "success"

    jobs.save(broken.partition("--")[2], snapshot_id=snapshot, title="Mended")
    wait_until(lambda: not errors(), 90)


def test_a_deleted_job_is_gone_from_airflow(jobs):
    dag_id = jobs.save(snapshot_id=jobs.snapshot(main="1"))
    assert jobs.service.delete(f"/jobs/{dag_id.replace('--', '/')}").is_success
    wait_until(lambda: jobs.airflow.get(f"/api/v2/dags/{dag_id}").json()["is_stale"], 90)


def test_a_pool_that_airflow_does_not_have_is_refused_and_one_that_it_has_is_used(jobs):
    snapshot = jobs.snapshot(main="1")
    job = {"team": "me", "owner": "me", "name": "pooled", "snapshot_id": snapshot}

    def put(pool: str) -> httpx.Response:
        tasks = [{"notebook": "main.ipynb", "pool": pool}]
        return jobs.service.put("/jobs/me/pooled", json={**job, "tasks": tasks})

    refused = put("nowhere")
    assert refused.status_code == 400
    assert refused.json()["field"] == "tasks.0.pool"
    assert "default_pool" in refused.json()["hint"]
    assert put("default_pool").is_success
