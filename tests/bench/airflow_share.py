"""Airflow's own share of a task: of a trivial one all of it, of a notebook what its run did not take."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.platform_fixture import free_ports, running_platform
from tests.provider.projects import store

ROUNDS = 15
WARM_UP = 3
TRIVIAL = """\
from airflow.sdk import dag, task

@dag(schedule=None)
def bench_trivial():
    @task
    def answer():
        return 42
    answer()

bench_trivial()
"""


def measure() -> list[dict[str, Any]]:
    """Trigger each DAG one run at a time over REST; medians in seconds."""
    with tempfile.TemporaryDirectory(prefix="element-bench-") as temporary:
        directory = Path(temporary)
        with running_platform(directory / "data", **free_ports()) as platform:
            (platform.data_dir / "dags" / "bench_trivial.py").write_text(TRIVIAL)
            with platform.service() as service, platform.airflow() as airflow:
                save_job(service, "bench", "time.sleep(2)")

                before: list[float] = []

                def of_run(end: datetime, begin: datetime) -> float:
                    (run, *_) = service.get("/runs", params={"job": "me/bench"}).json()["items"]
                    before.append((_at(run["created_at"]) - begin).total_seconds())
                    return before[-1] + (end - _at(run["finished_at"])).total_seconds()

                trivial = _shares(airflow, "bench_trivial", "answer", _whole)
                notebook = _shares(airflow, "me--bench", "main", of_run)
    return [
        _row("airflow_trivial_task", trivial, 0.6),
        {
            **_row("airflow_notebook_task", notebook, 1.0),
            "until_the_run_is_posted": statistics.median(before[WARM_UP:]),
        },
    ]


def save_job(service: httpx.Client, name: str, source: str) -> dict[str, Any]:
    """Save a job of one notebook with one cell, and return what was sent."""
    job: dict[str, Any] = {
        "apiVersion": "element/v1",
        "kind": "Job",
        "team": "me",
        "name": name,
        "owner": "me",
        "snapshot_id": store(service, main=[f"import time\n{source}"]),
        "tasks": [{"notebook": "main.ipynb"}],
    }
    service.put(f"/jobs/me/{name}", json=job).raise_for_status()
    return job


def wait_for_dag(airflow: httpx.Client, dag_id: str, seconds: float = 60) -> None:
    """Wait until a DAG can be triggered."""
    deadline = time.monotonic() + seconds
    while not airflow.get(f"/api/v2/dags/{dag_id}").is_success:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Airflow does not know {dag_id} after {seconds} s")
        time.sleep(0.02)


def _whole(end: datetime, begin: datetime) -> float:
    return (end - begin).total_seconds()


def _shares(
    airflow: httpx.Client, dag_id: str, task_id: str, share: Callable[[datetime, datetime], float]
) -> list[float]:
    wait_for_dag(airflow, dag_id)
    found = []
    for _ in range(WARM_UP + ROUNDS):
        begin = datetime.now(UTC)
        answer = airflow.post(
            f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": begin.isoformat()}
        )
        path = f"/api/v2/dags/{dag_id}/dagRuns/{answer.json()['dag_run_id']}"
        while (state := airflow.get(path).json()["state"]) not in {"success", "failed"}:
            # the times are Airflow's own; to ask more often would take the processor from it
            time.sleep(0.3)
        if state == "failed":
            raise RuntimeError(f"{dag_id} failed")
        task = airflow.get(f"{path}/taskInstances/{task_id}").json()
        found.append(share(_at(task["end_date"]), begin))
    return found[WARM_UP:]


def _row(name: str, shares: list[float], bar: float) -> dict[str, Any]:
    median = statistics.median(shares)
    return {
        "name": name,
        "ours": median,
        "peer": None,
        "unit": "s",
        "ratio": None,
        "bar": f"≤ {bar} s",
        "holds": median <= bar,
        "rounds": shares,
    }


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
