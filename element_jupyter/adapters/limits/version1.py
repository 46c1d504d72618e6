"""Limits by control groups, version 1: a directory for each controller."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from element_jupyter.adapters.limits import groups
from element_jupyter.core.confinement import Allowance, Spent
from element_jupyter.core.errors import Unavailable

CONTROLLERS: Final = ("memory", "cpu", "cpuacct", "pids")
_PERIOD_MICROSECONDS: Final = 100_000
_SHORTEST_QUOTA_MICROSECONDS: Final = 1000


def check(places: Mapping[str, Path]) -> None:
    """Return when nothing speaks against version 1; changes nothing.

    Raises:
        Unavailable: a controller is missing, or is not ours to write to.
    """
    if missing := [each for each in CONTROLLERS if each not in places]:
        raise Unavailable(f"There is no controller {', '.join(missing)} of version 1.")
    for each in CONTROLLERS:
        if not os.access(places[each], os.W_OK):
            raise Unavailable(f"{places[each]} may not be written to.")


class Version1(groups.Rooms["Room1"]):
    """A `Limiter`; its groups are below those that this process is in."""

    method = "control groups, version 1"

    def __init__(self, places: Mapping[str, Path], name: str) -> None:
        """Use the groups of this process by controller, and in them one of that name.

        Raises:
            Unavailable: a controller is missing, or it may not be used; says which.
        """
        check(places)
        self._tops = {each: places[each] / name for each in CONTROLLERS}
        super().__init__(self._tops["memory"])
        self._probe()

    def _room(self, name: str) -> Room1:
        return Room1({each: top / name for each, top in self._tops.items()})


class Room1:
    """The groups of one server."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = directories
        self._memory = directories["memory"]
        self._last = Spent()

    @property
    def exists(self) -> bool:
        return any(each.is_dir() for each in self._directories.values())

    @property
    def entrances(self) -> tuple[str, ...]:
        return tuple(str(each / "cgroup.procs") for each in self._directories.values())

    def entered(self, pid: int) -> None:
        """Do nothing: it has entered."""

    def make(self, allowance: Allowance) -> None:
        for directory in self._directories.values():
            groups.make(directory)
        memory = str(allowance.memory_bytes)
        groups.write(self._memory / "memory.limit_in_bytes", memory)
        with_swap = self._memory / "memory.memsw.limit_in_bytes"
        if with_swap.exists():  # else nothing counts swap here
            groups.write(with_swap, memory)
        quota = max(_SHORTEST_QUOTA_MICROSECONDS, round(allowance.cpu * _PERIOD_MICROSECONDS))
        groups.write(self._directories["cpu"] / "cpu.cfs_period_us", str(_PERIOD_MICROSECONDS))
        groups.write(self._directories["cpu"] / "cpu.cfs_quota_us", str(quota))
        groups.write(self._directories["pids"] / "pids.max", str(allowance.processes))

    def allowance(self) -> Allowance | None:
        memory = groups.number(self._memory / "memory.limit_in_bytes")
        quota = groups.number(self._directories["cpu"] / "cpu.cfs_quota_us")
        count = groups.number(self._directories["pids"] / "pids.max")
        if memory is None or quota is None or count is None or count < 16:
            return None  # being made, or being ended
        return Allowance(memory_bytes=memory, cpu=quota / _PERIOD_MICROSECONDS, processes=count)

    def spent(self) -> Spent:
        peak = groups.number(self._memory / "memory.max_usage_in_bytes")
        nanoseconds = groups.number(self._directories["cpuacct"] / "cpuacct.usage")
        if peak is None and nanoseconds is None:
            return self._last
        self._last = Spent(
            peak_memory_bytes=peak,
            cpu_seconds=None if nanoseconds is None else nanoseconds / 1e9,
            memory_kills=groups.entry(self._memory / "memory.oom_control", "oom_kill") or 0,
        )
        return self._last

    def memory_bytes(self) -> int | None:
        used = groups.number(self._memory / "memory.usage_in_bytes")
        kept = groups.entry(self._memory / "memory.stat", "total_inactive_file")
        return None if used is None else max(0, used - (kept or 0))

    def end(self) -> Spent:
        if self.exists:
            with contextlib.suppress(Unavailable):  # so that none can be born while all are killed
                groups.write(self._directories["pids"] / "pids.max", "0")
            for directory in self._directories.values():
                groups.kill_all(directory)
            self.spent()
            for directory in self._directories.values():
                groups.remove(directory)
                with contextlib.suppress(OSError):  # the last one removes what held them all
                    directory.parent.rmdir()
        return self._last
