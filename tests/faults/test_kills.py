"""Whatever is killed while a notebook runs: its job, its DAG run and its record come out right.

Each round starts a DAG run, kills one process with SIGKILL at a random moment of it, and then asks:
did every DAG run end well, was no run left without an end, was none executed twice at once?
`pytest tests/faults --fault-rounds 20` is the long form.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nbformat
import pytest

from tests.platform_client import ENDED, owner, snapshot
from tests.platform_fixture import free_ports, start_platform, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.faults, pytest.mark.timeout(600)]

CELLS = 4
CELL_SECONDS = 0.7
VICTIMS = ("runner", "kernel", "control plane", "scheduler", "triggerer", "up")


class Bench:
    """A platform that is killed and started again, and a job whose notebook keeps a diary."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.diary = directory / "diary.jsonl"
        self.ports = free_ports()
        self.team = ""

    def start(self) -> None:
        self.platform = start_platform(
            self.directory / "data dir", ELEMENT_LEASE_SECONDS="6", **self.ports
        )
        self.platform.wait_until_ready()

    def make_job(self) -> None:
        """One task of four cells; it is tried again at once, three times."""
        line = (
            "import json, os, time\n"
            "def note(what):\n"
            f"    with open({str(self.diary)!r}, 'a') as file:\n"
            "        file.write(json.dumps({'what': what, 'run': key, 'pid': os.getpid()}) + '\\n')\n"
        )
        cells = [
            nbformat.v4.new_code_cell("key = ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(line + "note('start')"),
            *(nbformat.v4.new_code_cell(f"time.sleep({CELL_SECONDS})\n{n}") for n in range(CELLS)),
            nbformat.v4.new_code_cell("note('end')"),
        ]
        project = self.directory / "project"
        project.mkdir()
        nbformat.write(nbformat.v4.new_notebook(cells=cells), project / "diary.ipynb")
        snapshot_id = snapshot(self.platform, project)
        with self.platform.service() as service:
            self.team = owner(self.platform)
            service.put(
                f"/jobs/{self.team}/diary",
                json={
                    "team": self.team,
                    "name": "diary",
                    "owner": self.team,
                    "snapshot_id": snapshot_id,
                    "max_active": 10,
                    "tasks": [
                        {
                            "notebook": "diary.ipynb",
                            "parameters": {"key": "{{ run_id }}"},
                            "retries": 3,
                            "retry_delay_seconds": 0,
                        }
                    ],
                },
            ).raise_for_status()

    def trigger(self) -> str:
        """Start a DAG run, however long Airflow needs after the last kill."""
        logical_date = datetime.now(UTC).isoformat()
        path = f"/api/v2/dags/{self.team}--diary/dagRuns"
        dag_run_id = f"manual__{logical_date}"
        body = {"logical_date": logical_date, "dag_run_id": dag_run_id}

        def started() -> bool:
            answer = self._airflow("POST", path, body)
            return answer is not None and (answer.is_success or answer.status_code == 409)

        wait_until(started, 60)
        return dag_run_id

    def _airflow(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        try:
            with self.platform.airflow() as airflow:
                return airflow.request(method, path, json=body)
        except httpx.HTTPError:
            return None  # it is being restarted

    def kill(self, victim: str, dag_run_id: str) -> bool:
        """SIGKILL the victim; False when the run was over before it could be found."""
        if victim == "up":
            self.platform.up.kill()
            self.platform.up.wait()
            self.start()
            return True
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pid = self._pid(victim)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
            if self.dag_run_state(dag_run_id) in {"success", "failed"}:
                return False
        pytest.fail(f"no {victim} to kill")

    def _pid(self, victim: str) -> int | None:
        names = {"control plane": "service", "scheduler": "scheduler", "triggerer": "triggerer"}
        if victim in names:
            processes = self.platform.state["processes"]
            name = next(name for name in processes if names[victim] in name)
            return int(processes[name]["pid"])
        for pid, command in self.platform.processes().items():
            if ("in_kernel/start.py" if victim == "kernel" else "element: run") in command:
                return pid
        return None

    def dag_run_state(self, dag_run_id: str) -> str | None:
        answer = self._airflow("GET", f"/api/v2/dags/{self.team}--diary/dagRuns/{dag_run_id}")
        return str(answer.json()["state"]) if answer is not None and answer.is_success else None

    def runs(self, dag_run_id: str) -> list[dict[str, object]]:
        with self.platform.service() as service:
            items = service.get("/runs", params={"job": f"{self.team}/diary"}).json()["items"]
        return [run for run in items if run["dag_run_id"] == dag_run_id]

    def known_runs(self, dag_run_id: str) -> list[object]:
        """Ids of the runs so far; none while the control plane is away."""
        with contextlib.suppress(httpx.HTTPError):
            return [run["run_id"] for run in self.runs(dag_run_id)]
        return []

    def notes(self, run_id: object) -> list[str]:
        if not self.diary.exists():
            return []
        lines = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [line["what"] for line in lines if line["run"] == run_id]


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("faults"))
    try:
        bench.start()
        bench.make_job()
        yield bench
    finally:
        if bench.platform.up.poll() is None:
            bench.platform.stop()


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """The platform, which runs."""
    if shared_bench.platform.up.poll() is not None:
        shared_bench.start()
    return shared_bench


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_number" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--fault-rounds")
        metafunc.parametrize("round_number", range(rounds))


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_leaves_nothing_stuck_lost_or_doubled(
    bench: Bench, victim: str, round_number: int
) -> None:
    moment = random.Random(f"{victim} {round_number}").uniform(0, CELLS * CELL_SECONDS + 1)
    dag_run_id = bench.trigger()
    time.sleep(moment)
    while not bench.kill(victim, dag_run_id):  # it was over already
        dag_run_id = bench.trigger()
    ended_before = [run for run in bench.known_runs(dag_run_id) if "end" in bench.notes(run)]

    def over() -> bool:
        return bench.dag_run_state(dag_run_id) in {"success", "failed"}

    wait_until(over, 180, lambda: f"{bench.runs(dag_run_id)}\n{bench.platform.log()[-3000:]}")
    assert bench.dag_run_state(dag_run_id) == "success"
    runs = bench.runs(dag_run_id)
    assert all(run["state"] in ENDED for run in runs), runs
    assert [run["state"] for run in runs].count("succeeded") == 1, runs
    for run in runs:
        notes = bench.notes(run["run_id"])
        assert notes.count("start") <= 1, "executed twice"
        # a runner that is killed after the last cell has not told that it succeeded
        assert notes.count("end") == 1 or run["state"] != "succeeded", run
        assert notes.count("end") <= 1, "executed twice"
    if victim not in {"runner", "kernel"}:
        assert len(runs) == 1, f"{victim} is no reason for a second run: {runs}"
    elif not ended_before:
        (failed,) = [run for run in runs if run["state"] == "failed"]
        assert "killed" in str(failed["reason"]) or "died" in str(failed["reason"]), failed
    with bench.platform.service() as service:
        assert service.get(f"/jobs/{bench.team}/diary").json()["version"] == 1
    assert not [
        command
        for command in bench.platform.processes().values()
        if "in_kernel/start.py" in command
    ], "a kernel is left"


def test_nothing_is_left_of_a_platform_that_was_killed_or_stopped(bench: Bench) -> None:
    def left() -> dict[int, str]:
        return bench.platform.processes()

    bench.platform.up.kill()
    bench.platform.up.wait()
    wait_until(lambda: left() == {}, 30, lambda: str(left()))
    bench.start()
    assert bench.platform.stop() == 0
    assert left() == {}
    assert not (bench.platform.data_dir / "state.json").exists()
