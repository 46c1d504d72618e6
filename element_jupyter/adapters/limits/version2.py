"""Limits by control groups, version 2: one directory for all controllers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from element_jupyter.adapters.limits import groups
from element_jupyter.core.confinement import Allowance, Spent
from element_jupyter.core.errors import Unavailable

CONTROLLERS: Final = ("memory", "cpu", "pids")
_PERIOD_MICROSECONDS: Final = 100_000
_SHORTEST_QUOTA_MICROSECONDS: Final = 1000
_OWN: Final = "platform"
"""Where this process and its neighbours go: a group with limits below it holds none itself."""


def check(place: Path) -> None:
    """Return when nothing speaks against version 2; changes nothing.

    Raises:
        Unavailable: a controller is missing, or the group is not ours to write to.
    """
    try:
        there = (place / "cgroup.controllers").read_text().split()
    except OSError as error:
        raise Unavailable(f"There are no control groups of version 2 at {place}.") from error
    if missing := [each for each in CONTROLLERS if each not in there]:
        raise Unavailable(
            f"The controllers {', '.join(missing)} of version 2 are not given to this group."
        )
    if not os.access(place, os.W_OK):
        raise Unavailable(f"{place} may not be written to.")


def _enable(directory: Path) -> None:
    """Let the groups below have limits."""
    wanted = " ".join(f"+{each}" for each in CONTROLLERS)
    groups.write(directory / "cgroup.subtree_control", wanted)


class Version2(groups.Rooms["Room2"]):
    """A `Limiter`; its groups are below the one that this process is in."""

    method = "control groups, version 2"

    def __init__(self, place: Path, name: str) -> None:
        """Use the group of this process, and in it one of that name.

        Raises:
            Unavailable: a controller is missing, or it may not be used; says which.
        """
        check(place)
        # after a restart this process is where the one before has put it
        self._place = place.parent if place.name == _OWN else place
        super().__init__(self._place / name)
        self._prepare()
        self._probe()

    def _prepare(self) -> None:
        if (self._place / "cgroup.type").exists():  # the root of all may hold processes besides
            groups.make(self._place / _OWN)
            for pid in (self._place / "cgroup.procs").read_text().split():
                with contextlib.suppress(Unavailable):  # it has just ended
                    groups.write(self._place / _OWN / "cgroup.procs", pid)
        _enable(self._place)

    def _room(self, name: str) -> Room2:
        return Room2(self._top / name)


class Room2:
    """The group of one server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._last = Spent()

    @property
    def exists(self) -> bool:
        return self.directory.is_dir()

    @property
    def entrances(self) -> tuple[str, ...]:
        return (str(self.directory / "cgroup.procs"),)

    def entered(self, pid: int) -> None:
        """Do nothing: it has entered."""

    def make(self, allowance: Allowance) -> None:
        groups.make(self.directory.parent)
        _enable(self.directory.parent)
        groups.make(self.directory)
        groups.write(self.directory / "memory.max", str(allowance.memory_bytes))
        swap = self.directory / "memory.swap.max"
        if swap.exists():
            groups.write(swap, "0")
        quota = max(_SHORTEST_QUOTA_MICROSECONDS, round(allowance.cpu * _PERIOD_MICROSECONDS))
        groups.write(self.directory / "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
        groups.write(self.directory / "pids.max", str(allowance.processes))

    def allowance(self) -> Allowance | None:
        memory = groups.number(self.directory / "memory.max")
        count = groups.number(self.directory / "pids.max")
        try:
            quota, _, period = (self.directory / "cpu.max").read_text().partition(" ")
        except OSError:
            return None
        if memory is None or count is None or count < 16 or not quota.isdecimal():
            return None  # being made, or being ended
        return Allowance(memory_bytes=memory, cpu=int(quota) / int(period), processes=count)

    def spent(self) -> Spent:
        if self.exists:
            microseconds = groups.entry(self.directory / "cpu.stat", "usage_usec")
            self._last = Spent(
                peak_memory_bytes=groups.number(self.directory / "memory.peak"),
                cpu_seconds=None if microseconds is None else microseconds / 1e6,
                memory_kills=groups.entry(self.directory / "memory.events", "oom_kill") or 0,
            )
        return self._last

    def memory_bytes(self) -> int | None:
        used = groups.number(self.directory / "memory.current")
        kept = groups.entry(self.directory / "memory.stat", "inactive_file")
        return None if used is None else max(0, used - (kept or 0))

    def end(self) -> Spent:
        if self.exists:
            with contextlib.suppress(Unavailable):  # Linux before 5.14 has no such file
                groups.write(self.directory / "cgroup.kill", "1")
            groups.kill_all(self.directory)
            self.spent()
            groups.remove(self.directory)
            with contextlib.suppress(OSError):  # the last one removes what held them all
                self.directory.parent.rmdir()
        return self._last
