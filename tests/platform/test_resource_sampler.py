"""The sampler on machines that are made of files: large ones, and such as change while it looks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import time_machine

from element_jupyter.adapters.resources.cgroups import Cgroups
from element_jupyter.adapters.resources.processes import ProcFiles, process_reader
from element_jupyter.core.resources.gpus import Gpu
from element_jupyter.core.resources.history import points
from element_jupyter.core.resources.samples import KernelUsage, Sample
from element_jupyter.platform.resource_sampler import FEW_PROCESSES, Clocks, Places, Sampler
from element_jupyter.server.running_kernels import RunningKernel
from tests.platform_fixture import wait_until

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KERNEL, OTHER = 900_001, 900_002


class NoGpus:
    silent_seconds = 0.0

    def read(self) -> tuple[Gpu, ...]:
        return ()

    def close(self) -> None:
        pass


@dataclass
class Machine:
    """Processes as `/proc` has them, the server being this process."""

    root: Path
    awake: float = 0.0
    """Its clocks, once it has its own."""
    always: float = 0.0

    def process(
        self,
        pid: int,
        parent: int,
        *,
        session: int = 1,
        started: int = 1,
        ticks: int = 0,
        pages: int = 10,
        state: str = "S",
    ) -> None:
        directory = self.root / "proc" / str(pid)
        directory.mkdir(parents=True, exist_ok=True)
        fields = [0] * 50
        fields[0], fields[2] = parent, session
        fields[10], fields[16], fields[18], fields[20] = ticks, 1, started, pages
        (directory / "stat").write_text(f"{pid} (x) {state} {' '.join(map(str, fields))}\n")

    def ends(self, pid: int) -> None:
        shutil.rmtree(self.root / "proc" / str(pid))

    def write(self, file: str, text: str) -> None:
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_text(text)

    def sampler(self) -> Sampler:
        places = Places(self.root, self.root)
        reader, groups = ProcFiles(self.root / "proc"), Cgroups(root=self.root)
        clocks = Clocks(lambda: self.awake, lambda: self.always) if self.awake else Clocks()
        return Sampler(reader, groups, NoGpus(), places, {}, clocks=clocks)

    def passes(self, seconds: float, *, suspended: float = 0.0) -> None:
        """Let time pass, of which the machine has slept through a part."""
        self.awake += seconds - suspended
        self.always += seconds


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.process(1, 0)
    machine.process(os.getpid(), 1, pages=100)
    machine.process(KERNEL, os.getpid(), session=KERNEL, pages=1000)
    return machine


def kernel(pid: int = KERNEL) -> RunningKernel:
    return RunningKernel("k", "python3", "n.ipynb", pid, "idle", 5.0)


def told(sample: Sample) -> KernelUsage:
    (found,) = sample.kernels
    return found


def crowd(machine: Machine, count: int) -> None:
    """So many processes of others that they are not looked through at every sample."""
    for pid in range(2000, 2000 + count):
        machine.process(pid, 1)


def test_among_5000_processes_a_sample_reads_only_what_is_the_server_s(machine: Machine):
    crowd(machine, 5000)
    machine.process(OTHER, KERNEL, session=KERNEL)
    sampler = machine.sampler()
    assert told(sampler.measure([kernel()])).processes == 2

    took = []
    for _ in range(20):
        began = time.thread_time()
        sample = sampler.measure([kernel()])
        took.append(time.thread_time() - began)

    assert told(sample).memory_bytes == 1010 * PAGE_BYTES
    assert min(took) < 0.005


def test_a_pid_that_comes_again_between_two_scans_is_not_the_kernel_s(machine: Machine):
    crowd(machine, FEW_PROCESSES + 1)
    machine.process(OTHER, KERNEL, pages=50)
    sampler = machine.sampler()
    assert told(sampler.measure([kernel()])).processes == 2

    machine.process(OTHER, 1, started=777, pages=50)

    assert told(sampler.measure([kernel()])).memory_bytes == 1000 * PAGE_BYTES


def test_processes_that_vanish_while_they_are_read_are_left_out(machine: Machine):
    sampler = machine.sampler()
    over = threading.Event()

    def churn() -> None:
        pid = 3000
        while not over.is_set():
            pid = 3000 + (pid + 1) % 200
            machine.process(pid, KERNEL, started=pid)
            machine.ends(pid)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            sample = sampler.measure([kernel()])
            assert 1 <= told(sample).processes <= 2
    finally:
        over.set()
        thread.join()


def test_a_kernel_that_ends_while_it_is_looked_at_is_left_out(machine: Machine):
    sampler = machine.sampler()
    sampler.measure([kernel()])
    machine.ends(KERNEL)

    sample = sampler.measure([kernel()])

    assert sample.kernels == ()
    assert sample.server.memory_bytes == 100 * PAGE_BYTES


def test_a_kernel_that_has_died_unnoticed_keeps_its_history_and_what_it_used(machine: Machine):
    sampler = machine.sampler()
    sampler.measure([kernel()])
    sampler.measure([kernel()])
    machine.process(KERNEL, os.getpid(), session=KERNEL, pages=0, state="Z")

    assert sampler.measure([kernel()]).kernels == ()
    sampler.measure([RunningKernel("k", "python3", "n.ipynb", None, "idle", None)])

    assert "k" in sampler.history
    death = sampler.death(kernel(), -9)
    assert death.memory_bytes == 1000 * PAGE_BYTES
    assert death.memory_limit_bytes is not None


def test_a_kernel_that_was_there_before_it_was_known_to_be_one_is_told_with_its_children(
    machine: Machine,
):
    machine.process(OTHER, 1)
    machine.process(OTHER + 1, OTHER)
    sampler = machine.sampler()
    sampler.measure([])

    assert told(sampler.measure([kernel(OTHER)])).processes == 2


def test_what_counts_against_a_limit_is_told_with_it(machine: Machine):
    machine.write("proc/self/mountinfo", "30 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n")
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/cgroup/memory.max", "104857600\n")
    machine.write("sys/fs/cgroup/memory.current", "50000000\n")
    machine.write("sys/fs/cgroup/memory.stat", "inactive_file 10000000\n")

    server = machine.sampler().measure([kernel()]).server

    assert server.memory_bytes == 40_000_000
    assert server.memory_limit_bytes == 104_857_600
    assert server.memory_limit_source == "limit of the container"


def test_without_a_limit_the_server_is_the_sum_of_its_processes(machine: Machine):
    server = machine.sampler().measure([kernel()]).server

    assert server.memory_bytes == 1100 * PAGE_BYTES
    assert server.memory_limit_source == "this machine"


def test_one_file_system_is_told_once(machine: Machine):
    (disk,) = machine.sampler().measure([]).disks

    assert disk.name == "home"
    assert 0 < disk.used_bytes < disk.size_bytes


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is one file system here")
def test_home_and_project_are_two_disks_where_they_are(machine: Machine):
    apart = Places(home=machine.root, project=Path("/dev/shm"))
    groups = Cgroups(root=machine.root)
    sampler = Sampler(ProcFiles(machine.root / "proc"), groups, NoGpus(), apart, {})

    home, project = sampler.measure([]).disks

    assert (home.name, home.path) == ("home", str(machine.root))
    assert (project.name, project.path) == ("project", "/dev/shm")
    assert project.size_bytes == psutil.disk_usage("/dev/shm").total


def test_where_there_is_no_proc_kernels_are_measured_all_the_same(tmp_path: Path):
    reader, places = process_reader(tmp_path / "proc"), Places(tmp_path, tmp_path)
    sampler = Sampler(reader, Cgroups(root=tmp_path), NoGpus(), places, {})
    program = (
        "import os, time\nheld = bytearray(b'1' * 50_000_000)\n"
        "if os.fork() == 0:\n    time.sleep(60)\nprint('there', flush=True)\n"
        "while True:\n    sum(range(100_000))"
    )
    command = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            process.stdout.readline()
            sampler.measure([kernel(process.pid)])
            wait_until(lambda: told(sampler.measure([kernel(process.pid)])).cpu_cores > 0.05)
            sample = sampler.measure([kernel(process.pid)])
        finally:
            os.killpg(process.pid, signal.SIGKILL)

    assert told(sample).processes == 2
    assert told(sample).memory_bytes > 100_000_000
    assert sample.server.memory_limit_source == "this machine"


def test_a_kernel_that_has_gone_leaves_no_history(machine: Machine):
    sampler = machine.sampler()
    sampler.measure([])
    sampler.measure([kernel()])
    assert set(sampler.history) == {"server", "k"}

    sampler.measure([])

    assert set(sampler.history) == {"server"}


def test_a_suspend_is_a_gap_and_no_time_in_which_kernels_were_idle(machine: Machine):
    machine.passes(1000.0)
    sampler = machine.sampler()
    ticks = 0
    for _ in range(3):
        machine.process(KERNEL, os.getpid(), session=KERNEL, ticks=ticks)
        sampler.measure([kernel()])
        machine.passes(1.0)
        ticks += 50

    machine.passes(1800.0, suspended=1800.0)
    machine.process(KERNEL, os.getpid(), session=KERNEL, ticks=ticks)

    assert told(sampler.measure([kernel()])).cpu_cores == pytest.approx(0.5)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    kept = sampler.history["k"].last(3600, machine.always, every_seconds=0)
    times = [point.at for point in points(kept, machine.always, now)]
    between = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert between == [pytest.approx(1.0), pytest.approx(1801.0)]


def test_a_clock_that_is_set_to_another_time_changes_nothing_that_is_measured(machine: Machine):
    machine.passes(1000.0)
    sampler = machine.sampler()
    for number, at in enumerate(("2026-11-22", "2031-01-01", "1999-12-31")):
        machine.process(KERNEL, os.getpid(), session=KERNEL, ticks=30 * number)
        with time_machine.travel(datetime.fromisoformat(f"{at}T12:00:00+00:00"), tick=False):
            sample = sampler.measure([kernel()])
        machine.passes(1.0)

        assert sample.at.isoformat().startswith(at)
        assert told(sample).cpu_cores == pytest.approx(0.3 if number else 0.0)
    assert len(sampler.history["k"].last(3600, machine.always, every_seconds=0)) == 2


SLEEPERS = """
import os, signal
os.setsid()
if os.fork():
    os._exit(0)
for _ in range(5000):
    if os.fork() == 0:
        signal.pause()
print(os.getpgid(0), flush=True)
signal.pause()
"""


@pytest.mark.slow
def test_among_5000_real_processes_a_sample_is_as_cheap():
    """What `test_among_5000_processes…` says of files, on the machine that this is."""
    places = Places(Path.home(), Path.cwd())
    child = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    sleepers = [sys.executable, "-S", "-c", SLEEPERS]
    with subprocess.Popen(sleepers, stdout=subprocess.PIPE) as started:
        group = int(started.stdout.readline())
    try:
        assert len(ProcFiles().pids()) > 5000
        with subprocess.Popen(child, start_new_session=True) as process:
            sampler = Sampler(ProcFiles(), Cgroups(), NoGpus(), places, {})
            took = []
            for _ in range(20):
                began = time.thread_time()
                sample = sampler.measure([kernel(process.pid)])
                took.append(time.thread_time() - began)
            process.kill()
    finally:
        os.killpg(group, signal.SIGKILL)

    print(f"the first {took[0] * 1000:.1f} ms, the others {min(took) * 1000:.2f} ms")
    assert told(sample).processes == 1
    assert min(took) < 0.005
