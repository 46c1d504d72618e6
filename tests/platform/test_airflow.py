"""Airflow as `element up` sets it up and keeps it, with real runs."""

from __future__ import annotations

import contextlib
import os
import signal
from textwrap import dedent
from typing import Any

import httpx
import psutil
import pytest

from tests.platform_fixture import RunningPlatform, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

TRIVIAL = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def trivial():
        @task
        def answer():
            return 42
        answer()

    trivial()
"""

WAITING = """
    from datetime import timedelta
    from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
    from airflow.sdk import dag

    @dag(schedule=None)
    def waiting():
        TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=2), deferrable=True)

    waiting()
"""


HASTY = """
    from datetime import UTC, datetime
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    from airflow.sdk import BaseOperator, dag

    class Hasty(BaseOperator):
        def execute(self, context):
            self.defer(trigger=DateTimeTrigger(moment=datetime.now(UTC)), method_name="resume")

        def resume(self, context, event=None):
            return "resumed"

    @dag(schedule=None)
    def hasty():
        for number in range(12):
            Hasty(task_id=f"hasty{number}")

    hasty()
"""


def write_dag(platform: RunningPlatform, name: str, code: str) -> None:
    path = platform.data_dir / "dags" / f"{name}.py"
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(dedent(code))
        temporary.replace(path)


def start_run(airflow: httpx.Client, dag: str) -> str:
    def known() -> bool:
        return airflow.get(f"/api/v2/dags/{dag}").status_code == 200

    wait_until(known, 60)
    answer = airflow.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None})
    answer.raise_for_status()
    return str(answer.json()["dag_run_id"])


def wait_for_run(airflow: httpx.Client, dag: str, run: str, seconds: float = 90) -> str:
    def state() -> str:
        answer = airflow.get(f"/api/v2/dags/{dag}/dagRuns/{run}")
        return str(answer.json()["state"]) if answer.is_success else ""

    wait_until(lambda: state() in {"success", "failed"}, seconds)
    return state()


def run_dag(platform: RunningPlatform, name: str, code: str) -> str:
    write_dag(platform, name, code)
    with platform.airflow() as airflow:
        return wait_for_run(airflow, name, start_run(airflow, name))


def test_a_dag_that_an_operator_adds_runs(platform):
    assert run_dag(platform, "trivial", TRIVIAL) == "success"


def test_a_deferred_task_resumes(platform):
    assert run_dag(platform, "waiting", WAITING) == "success"


def test_tasks_that_resume_as_soon_as_they_deferred_succeed(platform):
    assert run_dag(platform, "hasty", HASTY) == "success"


def test_the_log_of_a_deferred_task_is_read_from_its_files_alone(platform):
    write_dag(platform, "patient", WAITING.replace("waiting", "patient").replace("=2", "=600"))
    with platform.airflow() as airflow:
        task = f"/api/v2/dags/patient/dagRuns/{start_run(airflow, 'patient')}/taskInstances/wait"
        wait_until(lambda: airflow.get(task).json().get("state") == "deferred", 60)
        log = airflow.get(f"{task}/logs/1")
        assert airflow.patch(task, json={"new_state": "failed"}).is_success
    assert "Pausing task as DEFERRED" in log.text
    assert "served logs" not in log.text


def test_all_of_airflow_calls_itself_healthy_and_no_dag_is_broken(platform):
    with platform.airflow() as airflow:
        health = airflow.get("/api/v2/monitor/health").json()
        assert [name for name, part in health.items() if part["status"] != "healthy"] == []
        assert airflow.get("/api/v2/importErrors").json()["total_entries"] == 0


def test_the_plugin_and_the_bundle_of_jobs_are_there(platform):
    with platform.airflow() as airflow:
        plugins = airflow.get("/api/v2/plugins").json()["plugins"]
        assert "element" in [plugin["name"] for plugin in plugins]
        assert airflow.get("/api/v2/plugins/importErrors").json()["total_entries"] == 0


def test_airflow_lets_nobody_in_without_the_password(platform):
    with httpx.Client(base_url=platform.airflow_url, trust_env=False) as stranger:
        assert stranger.get("/api/v2/dags").status_code == 401
        wrong = {"username": "element", "password": "wrong"}
        assert stranger.post("/auth/token", json=wrong).status_code == 401


def test_everything_listens_on_loopback_only(platform):
    listening = {
        connection.laddr.ip
        for pid in platform.processes()
        if psutil.pid_exists(pid)
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_no_secret_of_airflow_is_in_an_argument_or_a_log(platform):
    secrets = [path.read_text().strip() for path in platform.data_dir.glob("secrets/*")]
    texts = [*platform.processes().values(), platform.log()]
    texts += [path.read_text() for path in platform.data_dir.glob("logs/*.log")]
    assert not [secret for secret in secrets for text in texts if secret in text]
    assert (platform.data_dir / "airflow" / "airflow.cfg").stat().st_mode & 0o777 == 0o600


def test_the_idle_platform_takes_less_than_a_gigabyte(platform):
    def pss_bytes() -> int:
        total = 0
        for pid in platform.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += psutil.Process(pid).memory_full_info().pss
        return total

    wait_until(lambda: pss_bytes() <= 1_000_000_000, 60, lambda: str(pss_bytes()))


@pytest.mark.faults
@pytest.mark.parametrize(
    "name",
    [
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "airflow-api-server",
        "airflow",
    ],
)
def test_a_part_that_is_killed_takes_its_children_along_and_comes_back(platform, name):
    def part() -> dict[str, Any]:
        return dict(platform.state["processes"][name])

    restarts = part()["restarts"]
    process = psutil.Process(part()["pid"])
    children = process.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(children, 60)
    assert not [child for child in children if child.is_running()]
    wait_until(lambda: part()["restarts"] > restarts and platform.state["ready"], 120, platform.log)
    assert run_dag(platform, "waiting", WAITING) == "success"
