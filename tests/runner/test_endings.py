"""How a run ends when it is stopped, takes too long, or something dies under it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from element_jupyter.adapters.resources.processes import process_reader
from element_jupyter.core.runs import RunState
from element_jupyter.runner.processes import Tree
from tests.runner.conftest import alive, notebook

SLEEP = "import time\nprint('begun', flush=True)\ntime.sleep(60)"


def pid_in(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


async def test_a_stopped_run_keeps_what_it_has_done(start):
    begun = await start(notebook("x = 1", SLEEP, "print('never')"))
    await begun.seen(lambda: begun.of("output"))

    begun.stop()
    finished = await begun.finished()

    assert (finished.state, begun.code) == (RunState.STOPPED, 143)
    assert finished.failing_cell is None
    assert begun.texts() == ["", "begun\nKeyboardInterrupt: ", ""]
    assert begun.notebook().metadata.element.state == "stopped"


async def test_what_ignores_a_stop_is_killed_after_the_grace_with_all_it_has_started(start):
    source = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
detached = subprocess.Popen(
    [sys.executable, "-c", "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\n"
     "open('detached', 'w').write(str(os.getpid()))\\ntime.sleep(1000)"])
detached.wait()
open("child", "w").write(str(child.pid))
while True:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(1)
    except KeyboardInterrupt:
        pass
"""
    begun = await start(notebook(source), stop_grace_seconds=0.5)
    pids = [
        await begun.seen(lambda path=begun.project / name: pid_in(path))
        for name in ("child", "detached")
    ]

    begun.stop()
    asked = time.monotonic()
    finished = await begun.finished()

    assert (finished.state, begun.code) == (RunState.STOPPED, 143)
    assert 0.5 <= time.monotonic() - asked < 30
    assert [pid for pid in pids if alive(pid)] == []


async def test_a_run_that_succeeds_leaves_no_process_behind(run):
    begun, finished = await run(
        notebook(
            "import subprocess\nprint(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
        )
    )

    assert finished.state is RunState.SUCCEEDED
    assert not alive(int(begun.texts()[0]))


async def test_exit_handlers_of_the_notebook_run(run):
    begun, finished = await run(
        notebook("import atexit, pathlib\natexit.register(pathlib.Path('left').write_text, 'bye')")
    )

    assert [artifact.path for artifact in finished.artifacts] == ["left"]
    assert (begun.output / "artifacts" / "left").read_text() == "bye"


async def test_a_run_can_be_stopped_before_its_kernel_is_ready(start):
    begun = await start(notebook("print('never')"))
    await begun.seen(lambda: begun.of("run_started"))

    begun.stop()
    finished = await begun.finished()

    assert finished.state in {RunState.STOPPED, RunState.SUCCEEDED}
    assert begun.texts() in (["never\n"], [""])


async def test_a_kernel_does_not_outlive_a_runner_that_is_killed(start):
    begun = await start(notebook("import os\nopen('pid', 'w').write(str(os.getpid()))", SLEEP))
    pid = await begun.seen(lambda: pid_in(begun.project / "pid"))
    await begun.running_cell(1)

    begun.stop(signal.SIGKILL)

    assert await begun.wait() == -signal.SIGKILL
    await begun.seen(lambda: not alive(pid), 5)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("os._exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed (SIGKILL)"),
        ("ctypes.string_at(0)", "crashed (SIGSEGV)"),
    ],
)
async def test_a_dead_kernel_fails_the_run_with_the_cell_and_the_reason(run, source, words):
    prepared = "import ctypes, os, signal, time\nprint('before', flush=True)\ntime.sleep(.3)"
    begun, finished = await run(notebook("x = 1", f"{prepared}\n{source}", "print('never')"))

    died, told = begun.of("cell_started")[1].at, finished.at
    assert (finished.state, begun.code) == (RunState.FAILED, 1)
    assert words in finished.reason
    assert "in cell 2 (" in finished.reason
    assert (finished.failing_cell.index, finished.failing_cell.ename) == (1, "DeadKernelError")
    assert (told - died).total_seconds() < 10
    assert begun.texts()[1].startswith("before\nDeadKernelError: The kernel ")


async def test_a_kernel_that_cannot_start_is_told_with_its_last_words(run):
    _, finished = await run(notebook("print('never')"), environment={"PYTHONHOME": "/nonexistent"})

    assert finished.state is RunState.FAILED
    assert "ended with exit code 1 while it was starting" in finished.reason
    assert "No module named 'encodings'" in finished.reason


async def test_a_cell_that_takes_too_long_fails_the_run(run):
    begun, finished = await run(notebook("x = 1", SLEEP), cell_time_limit_seconds=1)

    assert (finished.state, begun.code) == (RunState.FAILED, 1)
    assert finished.reason == "Cell 2 (`import time`) took longer than the limit of 1 s per cell."
    assert (finished.failing_cell.index, finished.failing_cell.ename) == (1, "TimeLimit")
    assert begun.texts()[1].startswith("begun\n")


async def test_a_run_that_takes_too_long_fails(run):
    begun, finished = await run(notebook("x = 1", SLEEP), time_limit_seconds=3)

    assert (finished.state, begun.code) == (RunState.FAILED, 1)
    assert finished.reason == (
        "The run took longer than its time limit of 3 s; it was in cell 2 (`import time`)."
    )


async def test_a_cell_that_asks_for_input_fails_at_once(run):
    _, finished = await run(notebook("input('Name? ')"))

    assert finished.reason == (
        "Cell 1 (`input('Name? ')`) asks for input, and nobody is there to answer."
    )


async def test_a_notebook_that_interrupts_itself_has_failed_not_been_stopped(run):
    _, finished = await run(notebook("raise KeyboardInterrupt"))

    assert (finished.state, finished.failing_cell.ename) == (RunState.FAILED, "KeyboardInterrupt")


def test_what_was_there_before_the_kernel_is_no_part_of_its_tree():
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    before = subprocess.Popen(sleeping, start_new_session=True)
    kernel = subprocess.Popen(sleeping, start_new_session=True)
    try:
        tree = Tree(kernel.pid, process_reader(), adopting=True)
        orphan = subprocess.Popen(sleeping, start_new_session=True)
        assert tree.kill()
        assert (kernel.wait(10), orphan.wait(10)) == (-signal.SIGKILL, -signal.SIGKILL)
        assert before.poll() is None
    finally:
        before.kill()
        before.wait(10)
