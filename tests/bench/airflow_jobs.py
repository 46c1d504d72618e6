"""What a job costs Airflow when there are 1,000 of them, against when there are 10."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.airflow_share import save_job, wait_for_dag
from tests.platform_fixture import RunningPlatform, free_ports, running_platform

FEW, MANY = 10, 1000
NEW_JOBS = 9
REST_SECONDS = 60
SETTLE_SECONDS = 10
FILL_SECONDS = 900


def measure() -> list[dict[str, Any]]:
    """Fill one platform with 10 jobs, then with 1,000, and measure at each."""
    with tempfile.TemporaryDirectory(prefix="element-bench-") as temporary:
        directory = Path(temporary)
        with (
            running_platform(directory / "data", **free_ports()) as platform,
            platform.service() as service,
            platform.airflow() as airflow,
        ):
            job = save_job(service, "first", "1")
            runnable, parser = {}, {}
            for count in (FEW, MANY):
                _fill(service, airflow, job, count)
                time.sleep(SETTLE_SECONDS)
                parser[count] = _parser_cpu(platform)
                runnable[count] = [
                    _until_runnable(service, airflow, job, f"new-{count}-{i}")
                    for i in range(NEW_JOBS)
                ]
    typical = {count: statistics.median(found) for count, found in runnable.items()}
    return [
        {
            **_row("job_runnable_1000", typical, "s", limit=2.0),
            "rounds": {str(count): found for count, found in runnable.items()},
        },
        _row("parser_cpu_1000", parser, "CPU s/min"),
    ]


def _row(
    name: str, found: dict[int, float], unit: str, limit: float | None = None
) -> dict[str, Any]:
    ratio = found[MANY] / found[FEW]
    return {
        "name": name,
        "ours": found[MANY],
        "peer": found[FEW],
        "unit": unit,
        "ratio": ratio,
        "bar": "≤ 1.5 ×" + (f", ≤ {limit} s" if limit else ""),
        "holds": ratio <= 1.5 and (limit is None or found[MANY] <= limit),
    }


def _fill(service: httpx.Client, airflow: httpx.Client, job: dict[str, Any], count: int) -> None:
    """Save jobs until there are `count`, and wait until Airflow has parsed them."""

    def save(i: int) -> None:
        name = f"job-{i}"
        service.put(f"/jobs/me/{name}", json={**job, "name": name}).raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(1, count)))
    deadline = time.monotonic() + FILL_SECONDS
    while airflow.get("/api/v2/dags", params={"limit": 1}).json()["total_entries"] < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Airflow has not parsed {count} jobs in {FILL_SECONDS} s")
        time.sleep(1)


def _until_runnable(
    service: httpx.Client, airflow: httpx.Client, job: dict[str, Any], name: str
) -> float:
    begin = time.monotonic()
    service.put(f"/jobs/me/{name}", json={**job, "name": name}).raise_for_status()
    wait_for_dag(airflow, f"me--{name}")
    spent = time.monotonic() - begin
    # what was seen can be started
    airflow.post(
        f"/api/v2/dags/me--{name}/dagRuns", json={"logical_date": "2026-01-01T00:00:00Z"}
    ).raise_for_status()
    time.sleep(2)
    return spent


def _parser_cpu(platform: RunningPlatform) -> float:
    """Return the CPU seconds that the DAG processor and its children take in a minute of rest."""
    process = psutil.Process(platform.state["processes"]["airflow-dag-processor"]["pid"])

    def spent() -> float:
        return sum(process.cpu_times()[:4])

    begin = spent()
    time.sleep(REST_SECONDS)
    return (spent() - begin) / REST_SECONDS * 60
