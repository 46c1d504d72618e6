"""What a run says of what it used, and of having been given too little."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from element_jupyter.core.runs import RunSpec, RunState
from element_jupyter.runner.metering import pause_seconds
from tests.fake_nvml import fake_nvml
from tests.runner.conftest import Run, notebook

MIB, GIB = 2**20, 2**30
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")

BUSY = """
import time
held = bytearray(300_000_000)
begun = time.process_time()
while time.process_time() < begun + 2:
    pass
"""


async def test_a_run_tells_what_it_uses_while_it_runs_and_what_each_cell_has_used(run):
    begun, finished = await run(notebook(BUSY, "del held", "time.sleep(0.1)"))

    told = [event for event in begun.of("usage") if event.index == 0]
    assert max(event.memory_bytes for event in told) > 300_000_000
    assert max(event.cpu_cores for event in told) > 0.3
    busy, _, idle = begun.of("cell_finished")
    assert 1.9 < busy.cpu_seconds < 4
    assert idle.cpu_seconds < 1
    assert busy.peak_memory_bytes > 300_000_000
    assert idle.peak_memory_bytes < busy.peak_memory_bytes
    assert finished.cpu_seconds > busy.cpu_seconds
    assert finished.peak_memory_bytes == busy.peak_memory_bytes
    assert finished.out_of_memory is False


async def test_the_executed_notebook_says_what_the_cells_and_the_run_have_used(run):
    before, _ = await run(notebook("x = 1", "1 / 0", "x"))
    fields = {"cpu_seconds", "peak_memory_bytes"}
    cells = before.notebook().cells

    assert [set(cell.metadata.get("element", {})) for cell in cells] == [fields, fields, set()]
    assert set(before.notebook().metadata.element.usage) == fields

    again, _ = await run(before.notebook())
    assert "element" not in again.notebook().cells[2].metadata


async def test_a_detached_child_counts_too(run):
    source = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "x = bytearray(200_000_000); import time; time.sleep(60)"],
                 start_new_session=True)
time.sleep(3)
"""
    _, finished = await run(notebook(source))

    # a kernel on its own takes some 50 MB
    assert finished.peak_memory_bytes > 220_000_000


def test_no_run_tells_its_usage_without_end():
    def told(seconds: float) -> int:
        age, count = 0.0, 0
        while age < seconds:
            age += pause_seconds(age)
            count += 1
        return count

    assert told(60) == 60
    assert told(3600) == 60 + 708
    assert told(10 * 3600) < 2500
    assert told(7 * 86400) < 4700


@pytest.fixture
def memory_group():
    """Make a group of processes that may use so many bytes together."""
    made: list[Path] = []

    def make(limit_bytes: int) -> Path:
        group = MEMORY_GROUPS / f"element-test-{os.getpid()}-{len(made)}"
        try:
            group.mkdir()
            made.append(group)
            (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        except OSError as error:
            pytest.skip(f"no memory group can be made here: {error}")
        return group

    yield make
    for group in made:
        with contextlib.suppress(OSError):
            group.rmdir()


def run_alone(directory: Path, document: Any, *prefix: str, **variables: str) -> tuple[int, Run]:
    """Run a notebook by a process of its own, which a command may prepare."""
    project = directory / "project"
    project.mkdir()
    nbformat.write(document, project / "n.ipynb")
    spec = RunSpec(
        run_id="r-1",
        notebook="n.ipynb",
        project_directory=str(project),
        output_directory=str(directory / "out"),
    )
    (directory / "run.json").write_text(spec.model_dump_json())
    runner = [sys.executable, "-m", "element_jupyter.runner", str(directory / "run.json")]
    done = subprocess.run(
        [*prefix, *runner], env={**os.environ, **variables}, timeout=90, check=False
    )
    return done.returncode, Run(directory)


def test_a_run_whose_kernel_is_killed_for_want_of_memory_says_how_much_it_had(
    tmp_path, memory_group
):
    group = memory_group(400 * MIB)
    hungry = "held = []\nfor _ in range(100):\n    held.append(bytearray(20_000_000))"
    join = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")

    code, run = run_alone(tmp_path, notebook("x = 1", hungry, "print('never')"), *join)

    finished = run.of("run_finished")[0]
    assert (finished.state, code) == (RunState.FAILED, 1)
    assert finished.out_of_memory
    assert finished.memory_limit_bytes == 400 * MIB
    assert 200 * MIB < finished.peak_memory_bytes <= 400 * MIB
    assert run.of("cell_finished")[-1].peak_memory_bytes == finished.peak_memory_bytes
    used = finished.peak_memory_bytes / MIB
    assert finished.reason == (
        f"The kernel was killed for want of memory ({used:.0f} of 400 MiB) in cell 2 (`held = []`)."
    )
    assert finished.failing_cell.index == 1


def test_a_run_tells_what_it_uses_of_gpus_where_there_are_any(tmp_path):
    fake = fake_nvml(tmp_path / "nvml")
    if str(Path("/proc/self/ns/pid").readlink()) != "pid:[4026531836]":
        pytest.skip("in a container, the driver's pids are not ours")
    fake.say(f"device 0 0 {80 * GIB} NVIDIA H100 80GB")
    trains = f"""
import os, time
with open({str(fake.said)!r}, "w") as file:
    file.write(f"device 90 {5 * GIB} {80 * GIB} NVIDIA H100 80GB\\n")
    file.write(f"process {{os.getpid()}} {3 * GIB} 50 compute\\n")
time.sleep(4)
"""

    code, run = run_alone(tmp_path, notebook("x = 1", trains), **fake.variables)

    finished = run.of("run_finished")[0]
    before, training = run.of("cell_finished")
    assert code == 0
    assert before.peak_gpu_memory_bytes in {0, None}
    assert training.peak_gpu_memory_bytes == finished.peak_gpu_memory_bytes == 3 * GIB
    assert 0.5 < finished.gpu_seconds < 3  # half of one, for some four seconds
    assert (before.gpu_seconds or 0) + training.gpu_seconds <= finished.gpu_seconds
    assert training.gpu_seconds > 0.5
    assert max(event.gpu_memory_bytes for event in run.of("usage")) == 3 * GIB
    usage = run.notebook().metadata.element.usage
    assert usage.peak_gpu_memory_bytes == 3 * GIB


def test_a_gpu_driver_that_hangs_does_not_hold_up_a_run(tmp_path):
    fake = fake_nvml(tmp_path / "nvml")
    fake.say(f"device 0 0 {80 * GIB} NVIDIA H100 80GB", "hang nvmlInitWithFlags")

    code, run = run_alone(tmp_path, notebook("import time\ntime.sleep(3)"), **fake.variables)

    assert code == 0
    assert len(run.of("usage")) >= 2
    assert run.of("run_finished")[0].gpu_seconds is None
