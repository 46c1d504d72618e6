"""Reads processes from `/proc` (proc(5)); where there is none, psutil tells the same, slower."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from element_jupyter.core.resources.processes import Process, ProcessReader

PROC: Final = Path("/proc")
_PSUTIL_TICKS: Final = 100


def process_reader(proc: Path = PROC) -> ProcessReader:
    """Return what reads processes best here."""
    return ProcFiles(proc) if (proc / "self" / "stat").exists() else Psutil()


class ProcFiles:
    """Reads `/proc/<pid>/stat`, one system call's worth of text for each process."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = str(proc)
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def pids(self) -> set[int]:
        return {int(entry) for entry in os.listdir(self._proc) if entry.isdigit()}  # noqa: PTH208 - 10 × faster

    def one(self, pid: int) -> Process | None:
        try:
            file = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            text = os.read(file, 4096)
        except OSError:  # it has ended since
            return None
        finally:
            os.close(file)
        # the name, in brackets, may have spaces and brackets of its own
        fields = text[text.rfind(b")") + 2 :].split(None, 22)
        if len(fields) < 22:
            return None
        own_ticks = int(fields[11]) + int(fields[12])
        return Process(
            pid=pid,
            parent=int(fields[1]),
            session=int(fields[3]),
            started_ticks=int(fields[19]),
            zombie=fields[0] in {b"Z", b"X", b"x"},
            own_cpu_seconds=own_ticks / self._ticks,
            cpu_seconds=(own_ticks + int(fields[13]) + int(fields[14])) / self._ticks,
            memory_bytes=int(fields[21]) * self._page_bytes,
            threads=int(fields[17]),
        )

    def some(self, pids: Iterable[int]) -> list[Process]:
        return [process for pid in pids if (process := self.one(pid)) is not None]

    def pss_bytes(self, pid: int) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            for line in Path(f"{self._proc}/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return None

    def name(self, pid: int) -> str | None:
        try:
            return Path(f"{self._proc}/{pid}/comm").read_text(errors="replace").rstrip("\n")
        except OSError:
            return None


class Psutil:
    """Asks psutil, where there is no `/proc`."""

    def pids(self) -> set[int]:
        return set(psutil.pids())

    def one(self, pid: int) -> Process | None:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                own_cpu_seconds = times.user + times.system
                waited_seconds = getattr(times, "children_user", 0.0) + getattr(
                    times, "children_system", 0.0
                )
                return Process(
                    pid=pid,
                    parent=process.ppid(),
                    session=_session(pid),
                    started_ticks=round(process.create_time() * _PSUTIL_TICKS),
                    zombie=process.status() == psutil.STATUS_ZOMBIE,
                    own_cpu_seconds=own_cpu_seconds,
                    cpu_seconds=own_cpu_seconds + waited_seconds,
                    memory_bytes=process.memory_info().rss,
                    threads=process.num_threads(),
                )
        except (psutil.Error, OSError):
            return None

    def some(self, pids: Iterable[int]) -> list[Process]:
        return [process for pid in pids if (process := self.one(pid)) is not None]

    def pss_bytes(self, pid: int) -> int | None:
        with contextlib.suppress(psutil.Error, OSError):
            full = psutil.Process(pid).memory_full_info()
            known: int | None = getattr(full, "pss", None)
            return known
        return None

    def name(self, pid: int) -> str | None:
        with contextlib.suppress(psutil.Error, OSError):
            return str(psutil.Process(pid).name())
        return None


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:  # such as of another person's
        return 0
