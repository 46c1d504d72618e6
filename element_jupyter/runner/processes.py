"""The kernel's process tree: what it uses, how it ended, and how to end all of it.

A process belongs to the tree when it descends from the kernel, or is in the kernel's session. When
the runner has a process to itself it also adopts orphans (prctl(2), PR_SET_CHILD_SUBREAPER), so
that what a notebook has detached with `setsid` and a double fork is still found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from element_jupyter.core.resources.processes import Process, ProcessReader

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PROC = Path("/proc")
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def adopt_orphans() -> bool:
    """Become the parent of every orphaned descendant; False where the system cannot do it."""
    return _prctl is not None and _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def die_with_parent() -> Callable[[], None] | None:
    """Return what a new process does before `exec` so that it is killed when its parent ends."""
    if _prctl is None:
        return None
    prctl, parent = _prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return prepare


class Tree:
    """A kernel and everything it has started.

    When orphans are adopted, every child of this process belongs to it but those that were there
    when it was made, such as what still works on the kernel's environment.
    """

    def __init__(self, root: int, reader: ProcessReader, *, adopting: bool) -> None:
        self.root = root
        self.pids: set[int] = {root}
        """Whose usage was last read."""
        self._reader = reader
        self._adopting = adopting
        others = [each for each in self._all(set()) if root not in {each.pid, each.session}]
        self._foreign = {each.pid for each in others}
        self._spared = frozenset(each.pid for each in others if each.parent == os.getpid())

    def usage(self) -> tuple[float, int]:
        """Return the processor time so far (s) and the memory (bytes) of the whole tree.

        Cheap, since processes of others are read only once.
        """
        members = self._members(skip=self._foreign)
        self.pids = {process.pid for process in members}
        return (
            sum(process.cpu_seconds for process in members),
            sum(process.memory_bytes for process in members),
        )

    def reset_peak(self) -> None:
        """Start anew to measure the kernel's own peak memory, where the system allows it."""
        with contextlib.suppress(OSError):
            (_PROC / str(self.root) / "clear_refs").write_text("5")

    def peak_memory_bytes(self) -> int:
        """Return the peak of the kernel's own memory since the last reset; 0 when unknown."""
        with contextlib.suppress(OSError):
            for line in (_PROC / str(self.root) / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0

    def kill(self, deadline_seconds: float = 5.0) -> bool:
        """Kill every process of the tree; False when some outlive the deadline.

        Looks again until nothing is left, since a process may fork while others are being killed.
        """
        until = time.monotonic() + deadline_seconds
        while True:
            alive = [process for process in self._members() if not process.zombie]
            if not alive:
                return True
            if time.monotonic() > until:
                return False
            for process in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.01)

    def reap(self) -> None:
        """Collect adopted processes that have ended."""
        for process in self._members():
            if process.zombie and process.parent == os.getpid() and process.pid != self.root:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)

    def _members(self, skip: set[int] | None = None) -> list[Process]:
        own = os.getpid()
        roots = {self.root, own} if self._adopting else {self.root}
        processes = {process.pid: process for process in self._all(skip or set())}
        inside: dict[int, bool] = {}

        def belongs(pid: int) -> bool:
            if pid in inside:
                return inside[pid]
            inside[pid] = False  # no loop, should two readings contradict each other
            process = processes.get(pid)
            if process is not None and process.parent == own and pid in self._spared:
                return False
            inside[pid] = process is not None and (
                self.root in {pid, process.session}
                or process.parent in roots
                or belongs(process.parent)
            )
            return inside[pid]

        members = [process for pid, process in processes.items() if pid != own and belongs(pid)]
        if skip is not None:
            skip.update(set(processes) - {process.pid for process in members})
        return members

    def _all(self, skip: set[int]) -> list[Process]:
        pids = self._reader.pids()
        skip &= pids
        return self._reader.some(pids - skip)


def exit_in_words(code: int, *, out_of_memory: str = "") -> str:
    """Say how a process ended, given what `Popen.returncode` says.

    `out_of_memory` is what there is to say of memory, where the system has killed for want of it.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL and out_of_memory:
        return out_of_memory
    if -code in {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}:
        return f"crashed ({name})"
    return f"was killed ({name})"
