"""Limits where the system offers none: somebody who looks once a second, and kills.

It is the last resort: a process that fills memory within a second is faster, and nothing holds
processor time or the number of processes. What it counts is the proportional share of memory
(PSS), since what the kernels of a server share would count many times otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import psutil

from element_jupyter.core.confinement import Allowance, Spent

log = logging.getLogger(__name__)

_PERIOD_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.01


class Watchdog:
    """A `Limiter` that one thread of this process is."""

    method = "watchdog"

    def __init__(self, period_seconds: float = _PERIOD_SECONDS) -> None:
        self._period_seconds = period_seconds
        self._rooms: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def confine(self, name: str, allowance: Allowance) -> Watched:
        if (left := self.find(name)) is not None:
            left.end()
        room = Watched(name, allowance, self._forget)
        with self._lock:
            self._rooms[name] = room
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
                self._thread.start()
        return room

    def find(self, name: str) -> Watched | None:
        """Return it; after a restart nothing is known of what ran before."""
        with self._lock:
            return self._rooms.get(name)

    def granted(self) -> tuple[Allowance, ...]:
        with self._lock:
            return tuple(room.allowance for room in self._rooms.values())

    def _forget(self, name: str) -> None:
        with self._lock:
            self._rooms.pop(name, None)

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._period_seconds):
            with self._lock:
                rooms = list(self._rooms.values())
                if not rooms:
                    self._thread = None
                    return
            for room in rooms:
                room.look()


class Watched:
    """The processes of one server: what descends from the first, also when that has ended."""

    entrances: tuple[str, ...] = ()

    def __init__(self, name: str, allowance: Allowance, forget: Callable[[str], None]) -> None:
        self.allowance = allowance
        self._name = name
        self._forget = forget
        self._members: dict[tuple[int, float], psutil.Process] = {}
        self._ended_seconds: dict[tuple[int, float], float] = {}
        self._peak_bytes = 0
        self._now_bytes: int | None = None
        self._kills = 0
        self._lock = threading.Lock()

    def entered(self, pid: int) -> None:
        with contextlib.suppress(psutil.Error):
            self._add(psutil.Process(pid))
        self.look()

    def look(self) -> None:
        """Count what is used, and kill the largest process when it is too much."""
        with self._lock:
            self._follow()
            used = {key: _resident(process) for key, process in self._members.items()}
            if sum(used.values()) > self.allowance.memory_bytes:
                used = {key: _proportional(process) for key, process in self._members.items()}
            total = sum(used.values())
            self._now_bytes = total
            self._peak_bytes = max(self._peak_bytes, total)
            if total > self.allowance.memory_bytes and used:
                self._kill(max(used, key=lambda key: used[key]), total)

    def _kill(self, key: tuple[int, float], total_bytes: int) -> None:
        process = self._members[key]
        with contextlib.suppress(psutil.Error):
            name = process.name()
            process.kill()
            self._kills += 1
            log.warning(
                "%s used %.0f MB of %.0f MB: its largest process, %s (%d), was killed.",
                self._name,
                total_bytes / 1e6,
                self.allowance.memory_bytes / 1e6,
                name,
                process.pid,
            )

    def _follow(self) -> None:
        for process in list(self._members.values()):
            with contextlib.suppress(psutil.Error):
                for child in process.children(recursive=True):
                    self._add(child)
        for key, process in list(self._members.items()):
            times = None
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    times = process.cpu_times()
            if times is None:
                del self._members[key]
            else:
                self._ended_seconds[key] = times.user + times.system

    def _add(self, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.Error):
            self._members.setdefault((process.pid, process.create_time()), process)

    def spent(self) -> Spent:
        return Spent(
            peak_memory_bytes=self._peak_bytes or None,
            cpu_seconds=sum(self._ended_seconds.values()) if self._ended_seconds else None,
            memory_kills=self._kills,
        )

    def memory_bytes(self) -> int | None:
        return self._now_bytes

    def end(self) -> Spent:
        with self._lock:
            self._follow()
            while self._members:
                for process in self._members.values():
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                time.sleep(_PAUSE_SECONDS)  # its parent, not psutil, is to learn how it ended
                self._follow()
        self._forget(self._name)
        return self.spent()


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return _resident(process)
