"""Runs as processes of this machine: found again, ended whole, tidied up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from element_jupyter.adapters.local_runs import LocalRuns, kill, living
from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from element_jupyter.core.provisioning import ProcessExit, ProcessRef
from element_jupyter.core.runs import RunSpec

ROOT = Path(__file__).parents[2]
EMPTY = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def restore(_, directory):
    directory.mkdir()
    (directory / "a.ipynb").write_text(json.dumps(EMPTY))


@pytest.fixture
def runs():
    return LocalRuns(restore, dict(os.environ) | {"PYTHONPATH": str(ROOT)})


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "r-1"


def a_spec(directory, **values):
    given = {
        "run_id": "r-1",
        "notebook": "a.ipynb",
        "project_directory": str(directory / "project"),
        "output_directory": str(directory),
        "snapshot_id": "0" * 64,
    }
    return RunSpec(**given | values)


async def test_the_exit_of_a_runner_is_known_by_code(runs, directory):
    process = await runs.start(a_spec(directory, parameters={"unknown": 1}), directory)
    assert os.getsid(process.pid) == process.pid
    assert await runs.wait(process) == ProcessExit(code=2)
    assert not runs.alive(process)
    assert (directory / "run.json").stat().st_mode & 0o777 == 0o600
    assert (directory / "runner.log").stat().st_mode & 0o777 == 0o600


async def test_a_process_is_found_again_and_its_signal_is_told(runs, directory):
    spec = a_spec(directory)
    process = await runs.start(spec, directory)
    os.kill(process.pid, signal.SIGSTOP)
    assert await LocalRuns(restore, {}).start(spec, directory) == process
    runs.kill(process, "r-1")
    assert await runs.wait(process) == ProcessExit(signal=9)


async def test_a_process_of_somebody_else_is_only_known_to_have_ended(runs):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = int(Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19])
    process = ProcessRef(pid=other.pid, started_ticks=ticks)
    assert runs.alive(process)
    assert not runs.alive(process.model_copy(update={"started_ticks": 1}))
    assert not runs.stop(process.model_copy(update={"started_ticks": 1}))
    other.communicate(b"\n")
    assert await runs.wait(process) == ProcessExit()


async def test_killing_reaches_everything_that_bears_the_runs_mark(runs):
    marked = subprocess.Popen(
        ["sleep", "600"], start_new_session=True, env={"ELEMENT_RUN_ID": "r-1"}
    )
    other = subprocess.Popen(
        ["sleep", "600"], start_new_session=True, env={"ELEMENT_RUN_ID": "r-12"}
    )
    runs.kill(None, "r-1")
    assert marked.wait(60) == -9
    assert other.poll() is None
    other.kill()
    other.wait()


async def test_two_services_never_start_the_same_run_at_once(runs, directory):
    import fcntl

    directory.mkdir()
    with (directory / "start.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="Another service"):
            await runs.start(a_spec(directory), directory)


async def test_a_notebook_that_is_not_there_is_a_sentence(runs, directory):
    with pytest.raises(Invalid, match=r"no notebook 'b\.ipynb'"):
        await runs.start(a_spec(directory, notebook="b.ipynb"), directory)


async def test_without_a_fork_server_a_process_is_started_anew(directory):
    async def fork(*_):
        raise Unavailable("It does not answer.")

    runs = LocalRuns(restore, dict(os.environ) | {"PYTHONPATH": str(ROOT)}, fork)
    process = await runs.start(a_spec(directory), directory)
    runs.kill(process, "r-1")
    assert await runs.wait(process) == ProcessExit(signal=9)


async def test_artifacts_are_regular_files_only(runs, directory):
    (directory / "artifacts" / "deep").mkdir(parents=True)
    (directory / "artifacts" / "deep" / "a b.csv").write_text("12345")
    (directory / "artifacts" / "link").symlink_to("/etc/passwd")
    (directory / "artifacts" / "way").symlink_to("/etc")
    os.mkfifo(directory / "artifacts" / "pipe")
    [artifact] = runs.artifacts(directory)
    assert (artifact.path, artifact.size_bytes) == ("deep/a b.csv", 5)


async def test_the_project_is_removed_whatever_the_notebook_did_to_it(runs, directory):
    locked = directory / "project" / "data" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    outside = directory.parent / "outside"
    outside.mkdir(mode=0o755)
    (locked / "link").symlink_to(outside)
    locked.chmod(0)
    locked.parent.chmod(0o500)
    await runs.clean(directory)
    assert not (directory / "project").exists()
    assert outside.is_dir()
    await runs.clean(directory)


@pytest.fixture
def sleeping():
    """Starts processes that sleep, with a variable in their environment."""
    started = []

    def sleep(mark):
        started.append(subprocess.Popen(["sleep", "600"], env={"ELEMENT_RUN_ID": mark}))
        return started[-1]

    yield sleep
    for process in started:
        process.kill()
        process.wait()


def test_what_a_run_has_left_is_found_by_its_mark_and_nothing_else_is(tmp_path, sleeping):
    (tmp_path / "r-1").mkdir()
    left, *others = [sleeping(mark) for mark in ("r-1", "r-elsewhere", "", ".", "..", "r-1/..")]
    assert living(tmp_path) == {"r-1": None}
    kill(None, "r-1")
    assert left.wait(60) == -signal.SIGKILL
    assert [process.poll() for process in others] == [None] * len(others)
    assert living(tmp_path) == {}


async def test_a_run_that_lives_is_found_with_its_runner(runs, directory):
    process = await runs.start(a_spec(directory), directory)
    assert living(directory.parent) == {"r-1": process}
    kill(process, "r-1")
    await runs.wait(process)
    assert living(directory.parent) == {}
