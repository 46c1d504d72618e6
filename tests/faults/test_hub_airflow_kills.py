"""Whatever of Airflow is killed behind a Hub: its DAG run ends well, of one run of the owner's.

Takes minutes to begin with: `pytest tests/faults --slow --fault-rounds 20` is the long form.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nbformat
import pytest

from tests.hub_platform import OWNER, SERVICE, HubPlatform, hub_platform, needs_accounts
from tests.platform_client import snapshot
from tests.platform_fixture import wait_until

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs_accounts,
]

CELLS = 3
CELL_SECONDS = 0.5
COMPONENTS = ("scheduler", "triggerer", "api-server", "dag-processor", "")
"""Killed in turn; the last is the process that all of them are forked from."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    directory = tmp_path_factory.mktemp("hub")
    more = {"ELEMENT_LEASE_SECONDS": "10", "ELEMENT_AIRFLOW": "true"}
    with hub_platform(directory, **more) as running:
        make_job(running, directory / "project")
        yield running


def make_job(hub: HubPlatform, project: Path) -> None:
    project.mkdir()
    note = (
        "import pathlib, time\n"
        "def note(what):\n"
        "    with open(pathlib.Path.home() / 'diary', 'a') as file:\n"
        "        print(key, what, file=file)\n"
        "note('start')"
    )
    cells = [
        nbformat.v4.new_code_cell("key = ''", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(note),
        *(nbformat.v4.new_code_cell(f"time.sleep({CELL_SECONDS})") for _ in range(CELLS)),
        nbformat.v4.new_code_cell("note('end')"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project / "diary.ipynb")
    task = {
        "notebook": "diary.ipynb",
        "parameters": {"key": "{{ run_id }}"},
        "retries": 3,
        "retry_delay_seconds": 0,
    }
    job = {
        "team": OWNER,
        "name": "diary",
        "owner": OWNER,
        "max_active": 10,
        "tasks": [task],
        "snapshot_id": snapshot(hub.platform, project),
    }
    with hub.platform.service() as service:
        service.put(f"/jobs/{OWNER}/diary", json=job).raise_for_status()


def airflow(hub: HubPlatform, method: str, path: str, body: object = None) -> httpx.Response | None:
    """Ask Airflow with the control plane's token; None while it does not answer."""
    token = (hub.data / "secrets" / "airflow-token-of-control-plane").read_text().strip()
    with contextlib.suppress(httpx.HTTPError):
        return httpx.request(
            method,
            f"{hub.platform.state['airflow_url']}/services/airflow/api/v2{path}",
            headers={"Authorization": f"Bearer {token}"},
            json=body,
            timeout=30,
            trust_env=False,
        )
    return None


def trigger(hub: HubPlatform) -> str:
    logical_date = datetime.now(UTC).isoformat()
    dag_run_id = f"manual__{logical_date}"
    body = {"logical_date": logical_date, "dag_run_id": dag_run_id}

    def started() -> bool:
        answer = airflow(hub, "POST", f"/dags/{OWNER}--diary/dagRuns", body)
        return answer is not None and (answer.is_success or answer.status_code == 409)

    wait_until(started, 120, hub.platform.log)
    return dag_run_id


def state_of(hub: HubPlatform, dag_run_id: str) -> str | None:
    answer = airflow(hub, "GET", f"/dags/{OWNER}--diary/dagRuns/{dag_run_id}")
    return str(answer.json()["state"]) if answer is not None and answer.is_success else None


def test_the_control_plane_reaches_airflow_under_the_one_address(hub: HubPlatform) -> None:
    def started() -> dict[str, str]:
        with hub.platform.service() as service:
            answer = service.post(f"/jobs/{OWNER}/diary/trigger", json={}).raise_for_status()
        found: dict[str, str] = answer.json()
        return found

    wait_until(lambda: started()["via"] == "airflow", 120, hub.platform.log)
    processes = hub.platform.state["processes"]
    accounts = {each["account"] for name, each in processes.items() if "airflow" in name}
    assert accounts - {None} == {f"{SERVICE}-airflow"}


def test_a_kill_leaves_no_run_stuck_lost_or_doubled(hub: HubPlatform, round_number: int) -> None:
    component = COMPONENTS[round_number % len(COMPONENTS)]
    moment = random.Random(f"airflow {round_number}").uniform(0, CELLS * CELL_SECONDS + 3)
    dag_run_id = trigger(hub)
    time.sleep(moment)
    name = f"airflow-{component}".rstrip("-")
    # one that is being started again after the last round has no process yet
    wait_until(lambda: hub.platform.state["processes"][name]["pid"], 60, hub.platform.log)

    os.kill(hub.platform.state["processes"][name]["pid"], signal.SIGKILL)

    def over() -> bool:
        return state_of(hub, dag_run_id) in {"success", "failed"}

    wait_until(over, 240, lambda: hub.platform.log()[-3000:] + hub.log_of("service")[-3000:])
    assert state_of(hub, dag_run_id) == "success"
    with hub.platform.service() as service:
        items = service.get("/runs", params={"job": f"{OWNER}/diary"}).json()["items"]
    (run,) = [run for run in items if run["dag_run_id"] == dag_run_id]
    assert run["state"] == "succeeded", run
    lines = (Path(pwd.getpwnam(OWNER).pw_dir) / "diary").read_text().splitlines()
    assert [line for line in lines if run["run_id"] in line] == [
        f"{run['run_id']} start",
        f"{run['run_id']} end",
    ]
    wait_until(lambda: hub.is_given_back(run["run_id"]), 60, lambda: hub.log_of("hub"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_number" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--fault-rounds")
        metafunc.parametrize("round_number", range(rounds))
