"""What a stop of `element up` does to notebooks that run, each with a kernel and a child of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.platform_fixture import (
    RunningPlatform,
    free_ports,
    running_platform,
    start_platform,
    wait_until,
)
from tests.provider.projects import store

SMALL = {"ELEMENT_AIRFLOW": "false", "ELEMENT_RUN_CAPACITY": "1"}


class Notebook:
    """One run whose kernel has started a process in a session of its own."""

    def __init__(self, platform: RunningPlatform, folder: Path, *, before: str = "") -> None:
        self.pids_file, self.end_file = folder / "pids", folder / "end"
        code = f"""
import os, pathlib, subprocess, time
child = subprocess.Popen(["sleep", "600"], cwd="/", start_new_session=True)
{before}
pathlib.Path({str(self.pids_file)!r}).write_text(f"{{os.getpid()}} {{child.pid}} ")
while not os.path.exists({str(self.end_file)!r}):
    time.sleep(0.05)
"""
        with platform.service() as service:
            self.run_id = start(service, code)
        wait_until(lambda: self.pids_file.exists() and self.pids_file.read_text().endswith(" "), 60)
        self.pids = [int(pid) for pid in self.pids_file.read_text().split()]

    @property
    def alive(self) -> list[int]:
        return [pid for pid in self.pids if is_alive(pid)]

    def record(self, platform: RunningPlatform) -> dict:
        with platform.service() as service:
            return service.get(f"/runs/{self.run_id}").json()


def is_alive(pid: int) -> bool:
    """Tell whether it runs; an orphan that was killed may wait a moment for init to collect it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(service: httpx.Client, code: str) -> str:
    body = {"notebook": "main.ipynb", "snapshot_id": store(service, main=[code])}
    answer = service.post("/runs", json=body)
    assert answer.is_success, answer.text
    return answer.json()["run_id"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_what_runs_and_keeps_what_is_queued(data, tmp_path, number):
    environment = SMALL | free_ports()
    with running_platform(data, **environment) as platform:
        notebook = Notebook(platform, tmp_path)
        with platform.service() as service:
            queued = start(service, "'later'")
        platform.up.send_signal(number)
        assert platform.up.wait(25) == 0
        assert platform.processes() == {}
        assert notebook.alive == []
        assert "Waiting for 1 notebook to stop" in platform.log()
        assert "goes on" not in platform.log()

    with running_platform(data, **environment) as platform:
        record = notebook.record(platform)
        assert (record["state"], record["reason"]) == ("stopped", "Element was stopped.")
        assert Path(record["output_path"]).is_file()
        with platform.service() as service:
            wait_until(lambda: service.get(f"/runs/{queued}").json()["state"] == "succeeded")


def test_a_second_ctrl_c_kills_what_is_waited_for(data, tmp_path):
    environment = SMALL | free_ports() | {"ELEMENT_STOP_GRACE_SECONDS": "100"}
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with running_platform(data, **environment) as platform:
        notebook = Notebook(platform, tmp_path, before=deaf)
        platform.up.send_signal(signal.SIGINT)
        wait_until(lambda: "Waiting for 1 notebook" in platform.log(), 20, platform.log)
        assert len(notebook.alive) == 2
        began = time.monotonic()

        def killed() -> bool:
            platform.up.send_signal(signal.SIGINT)
            return "Killing 1 notebook." in platform.log()

        wait_until(killed, 20, platform.log)
        assert platform.up.wait(20) == 0
        assert time.monotonic() - began < 15
        assert platform.processes() == {}
        assert notebook.alive == []

    with running_platform(data, **environment) as platform:
        assert notebook.record(platform)["state"] == "stopped"


def test_runs_are_left_when_asked_and_the_next_up_takes_them_over(data, tmp_path):
    environment = SMALL | free_ports()
    platform = start_platform(data, "--leave-runs", **environment)
    platform.wait_until_ready()
    notebook = Notebook(platform, tmp_path)
    assert platform.stop() == 0
    assert len(notebook.alive) == 2
    assert "1 notebook that runs goes on; the next `element up` has it again." in platform.log()

    with running_platform(data, **environment) as platform:
        assert notebook.record(platform)["state"] == "running"
        notebook.end_file.touch()
        wait_until(lambda: notebook.record(platform)["state"] == "succeeded")
        wait_until(lambda: not notebook.alive)


def test_a_kill_of_up_leaves_runs_which_a_stop_ends_even_before_all_is_ready(data, tmp_path):
    environment = SMALL | free_ports()
    platform = start_platform(data, **environment)
    platform.wait_until_ready()
    notebook = Notebook(platform, tmp_path)
    platform.up.kill()
    platform.up.wait()
    assert len(notebook.alive) == 2

    state = data / "state.json"
    killed = state.stat().st_mtime_ns
    platform = start_platform(data, **environment)
    wait_until(lambda: state.exists() and state.stat().st_mtime_ns != killed, 30, platform.log)
    platform.up.send_signal(signal.SIGINT)
    assert platform.up.wait(40) == 0
    assert notebook.alive == []
    assert platform.processes() == {}

    with running_platform(data, **environment) as platform:
        wait_until(lambda: notebook.record(platform)["state"] == "stopped")
        os.kill(platform.up.pid, signal.SIGHUP)
        assert platform.up.wait(20) == 0
