"""Each way to read processes, against real ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from element_jupyter.adapters.resources.processes import ProcFiles, Psutil, process_reader
from element_jupyter.core.resources.processes import ProcessReader

READERS = [pytest.param(ProcFiles(), id="proc"), pytest.param(Psutil(), id="psutil")]


@contextmanager
def python(program: str, **options) -> Iterator[subprocess.Popen]:
    """A process of Python's that says a line when it has come to where it should be."""
    with subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-c",
            f"{program}\nprint('there', flush=True)\nimport time\ntime.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        **options,
    ) as process:
        assert process.stdout.readline() == b"there\n"
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("reader", READERS)
def test_a_process_is_told_as_ps_tells_it(reader: ProcessReader):
    program = "x = bytearray(50_000_000)\nn = 0\nwhile n < 3_000_000: n += 1"
    with python(program, start_new_session=True) as child:
        read = reader.one(child.pid)
        asked = psutil.Process(child.pid)

        assert read.pid == child.pid
        assert read.parent == os.getpid()
        assert read.session == child.pid
        assert read.threads == 1
        assert not read.zombie
        assert read.memory_bytes == pytest.approx(asked.memory_info().rss, rel=0.01)
        assert read.memory_bytes > 50_000_000
        assert read.own_cpu_seconds == pytest.approx(sum(asked.cpu_times()[:2]), abs=0.02)
        assert read.own_cpu_seconds > 0.05
        assert reader.name(child.pid) == asked.name()


@pytest.mark.parametrize("reader", READERS)
def test_the_time_of_children_that_were_waited_for_counts(reader: ProcessReader):
    program = (
        "import os\n"
        "if os.fork() == 0:\n    n = 0\n    while n < 3_000_000: n += 1\n    os._exit(0)\n"
        "os.wait()"
    )
    with python(program) as child:
        read = reader.one(child.pid)

        assert read.cpu_seconds > read.own_cpu_seconds + 0.05


@pytest.mark.parametrize("reader", READERS)
def test_a_process_that_has_ended_is_a_zombie_until_it_is_waited_for_and_then_nothing(
    reader: ProcessReader,
):
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    until(lambda: reader.one(child.pid).zombie)

    child.wait()

    assert reader.one(child.pid) is None
    assert reader.name(child.pid) is None
    assert reader.pss_bytes(child.pid) is None
    assert child.pid not in reader.pids()


@pytest.mark.parametrize("reader", READERS)
def test_two_processes_differ_though_the_pid_is_the_same(reader: ProcessReader):
    with python("") as child:
        first = reader.one(child.pid)
        assert reader.one(child.pid).identity == first.identity
        assert reader.one(os.getpid()).started_ticks < first.started_ticks


def test_a_name_with_brackets_and_line_breaks_does_not_confuse_the_reader():
    hostile = "x) R 1 1\n(y"
    program = f"open('/proc/self/comm', 'w').write({hostile!r})"
    with python(program) as child:
        read = ProcFiles().one(child.pid)

        assert read.parent == os.getpid()
        assert ProcFiles().name(child.pid) == hostile


def test_shared_pages_count_in_part():
    program = (
        "import os\n"
        "x = bytearray(b'1' * 40_000_000)\n"
        "for _ in range(3):\n    if os.fork() == 0:\n        import time; time.sleep(60)"
    )
    with python(program, start_new_session=True) as child:
        try:
            reader = ProcFiles()

            assert reader.one(child.pid).memory_bytes > 40_000_000
            assert reader.pss_bytes(child.pid) < 30_000_000
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_entries_that_are_gone_or_cut_off_are_left_out(tmp_path: Path):
    stat = Path("/proc/self/stat").read_text()
    for pid, text in {1: stat, 2: "", 3: stat[:40], 4: "4 (x"}.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(text)
    (tmp_path / "5").mkdir()
    (tmp_path / "meminfo").touch()
    reader = ProcFiles(tmp_path)

    assert reader.pids() == {1, 2, 3, 4, 5}
    assert [process.pid for process in reader.some([1, 2, 3, 4, 5, 6])] == [1]


def test_where_there_is_no_proc_psutil_is_asked(tmp_path: Path):
    assert isinstance(process_reader(tmp_path), Psutil)
    assert isinstance(process_reader(), ProcFiles)
