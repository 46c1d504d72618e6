"""Control groups (cgroups(7)), version 2 and 1: limits, what counts against them, and kills.

A group that a container hides cannot be read; nothing is said of it then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

NO_LIMIT_BYTES: Final = 1 << 60
"""Version 1 says that there is no limit by a number of about 2⁶³."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The group whose memory limit binds first: the smallest, of equal ones the nearest."""

    limit_bytes: int
    used_bytes: int
    """Of the whole group, less file cache that can be dropped at once."""
    directory: Path = field(default=Path(), compare=False)


@dataclass(frozen=True, slots=True)
class CpuGroup:
    """The group whose limit of processor time binds first."""

    limit_cores: float
    cpu_seconds: float | None
    """What the whole group has used since it began."""


@dataclass(frozen=True, slots=True)
class OomKills:
    """How often the system has killed a process for want of memory; None where it does not tell."""

    group: int | None
    """In the process's own group, …"""
    machine: int | None
    """… and anywhere on the machine, that included."""

    @property
    def total(self) -> int:
        """A number that grows with every kill that can be seen."""
        return (self.group or 0) + (self.machine or 0)


class Cgroups:
    """The control groups of one process, by default this one.

    Where the groups are is looked up once: a process is rarely moved, and then it is made anew.
    """

    def __init__(self, pid: int | None = None, root: Path = Path("/")) -> None:
        self._vmstat = root / "proc" / "vmstat"
        name = "self" if pid is None else str(pid)
        found = places(root, root / "proc" / name)
        self._unified = found.get("")
        self._memory = found.get("memory")
        self._cpu = found.get("cpu")
        self._cpu_time = found.get("cpuacct")

    def memory(self) -> MemoryGroup | None:
        """Return what counts against the memory limit, and it; None where there is none."""
        found: MemoryGroup | None = None
        for directory in _upwards(self._unified):
            limit = _number(directory / "memory.max")
            if limit is not None and (found is None or limit < found.limit_bytes):
                used = _number(directory / "memory.current")
                if used is not None:
                    cache = _of_table(directory / "memory.stat", "inactive_file") or 0
                    found = MemoryGroup(limit, max(0, used - cache), directory)
        for directory in _upwards(self._memory):
            limit = _number(directory / "memory.limit_in_bytes")
            found = _lower(found, limit, directory)
        if self._memory is not None:
            # of all above, those included that a container hides; they hold all that can be seen
            own = self._memory.directory / "memory.stat"
            limit = _of_table(own, "hierarchical_memory_limit")
            for directory in reversed(list(_upwards(self._memory))):
                found = _lower(found, limit, directory)
        return found

    def memory_peak_bytes(self) -> int | None:
        """Return the most that the group whose limit binds first has counted, file cache too."""
        group = self.memory()
        if group is None:
            return None
        peak = _number(group.directory / "memory.peak")  # since Linux 5.19
        return _number(group.directory / "memory.max_usage_in_bytes") if peak is None else peak

    def cpu(self) -> CpuGroup | None:
        """Return the limit of processor time, and what was used; None where there is none."""
        found: CpuGroup | None = None
        for directory in _upwards(self._unified):
            quota, _, period = _text(directory / "cpu.max").partition(" ")
            cores = _ratio(quota, period)
            if cores is not None and (found is None or cores < found.limit_cores):
                used = _of_table(directory / "cpu.stat", "usage_usec")
                found = CpuGroup(cores, None if used is None else used / 1e6)
        for directory in _upwards(self._cpu):
            cores = _ratio(
                _text(directory / "cpu.cfs_quota_us"), _text(directory / "cpu.cfs_period_us")
            )
            if cores is not None and (found is None or cores < found.limit_cores):
                found = CpuGroup(cores, self._cpu_seconds_like(directory))
        return found

    def _cpu_seconds_like(self, directory: Path) -> float | None:
        """Return what the group of that path has used, if time is counted there too."""
        if self._cpu is None or self._cpu_time is None:
            return None
        if self._cpu.inner != self._cpu_time.inner:
            return None  # the two hierarchies differ, so the time would be that of others
        used = _number(self._cpu_time.top / directory.relative_to(self._cpu.top) / "cpuacct.usage")
        return None if used is None else used / 1e9

    def oom_kills(self) -> OomKills:
        """Return how often processes were killed for want of memory since the system began."""
        group: int | None = None
        if self._unified is not None:
            group = _of_table(self._unified.directory / "memory.events", "oom_kill")
        if group is None and self._memory is not None:
            group = _of_table(self._memory.directory / "memory.oom_control", "oom_kill")
        return OomKills(group, _of_table(self._vmstat, "oom_kill"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the group of a process is: the hierarchy's top that can be seen, and below it."""

    top: Path
    inner: PurePosixPath

    @property
    def directory(self) -> Path:
        return self.top / self.inner


def places(root: Path = Path("/"), process: Path = Path("/proc/self")) -> dict[str, Place]:
    """Return the places by controller; '' is that of version 2."""
    mounts: dict[str, tuple[str, Path]] = {}
    for line in _text(process / "mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        place = (fields[3], root / fields[4].lstrip("/"))
        for controller in [""] if kind[0] == "cgroup2" else kind[2].split(","):
            mounts[controller] = place
    found = {}
    for line in _text(process / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for controller in controllers.split(","):
            if controller not in mounts:
                continue
            top, mounted = mounts[controller]
            inner = PurePosixPath("/") / path.lstrip("/")
            if ".." in inner.parts:  # outside of what the container may see
                inner = PurePosixPath("/")
            try:
                inner = inner.relative_to(top)
            except ValueError:  # the container's own group is mounted as the top
                inner = inner.relative_to("/")
                if not (mounted / inner).is_dir():
                    inner = PurePosixPath()
            found[controller] = Place(mounted, inner)
    return found


def _lower(found: MemoryGroup | None, limit: int | None, directory: Path) -> MemoryGroup | None:
    """Return a group of version 1 if its limit is lower than the one found, else that."""
    if limit is None or limit >= min(NO_LIMIT_BYTES, found.limit_bytes if found else limit + 1):
        return found
    used = _number(directory / "memory.usage_in_bytes")
    if used is None:
        return found
    cache = _of_table(directory / "memory.stat", "total_inactive_file") or 0
    return MemoryGroup(limit, max(0, used - cache), directory)


def _upwards(place: Place | None) -> Iterator[Path]:
    if place is not None:
        yield place.directory
        yield from (place.top / above for above in place.inner.parents)


def _text(file: Path) -> str:
    """Read it, or what there is; plainly, since this is done every second."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        pieces = []
        while piece := os.read(opened, 1 << 16):
            pieces.append(piece)
    except OSError:
        return ""
    finally:
        os.close(opened)
    return b"".join(pieces).decode(errors="replace").strip()


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _of_table(file: Path, name: str) -> int | None:
    for line in _text(file).splitlines():
        word, _, number = line.partition(" ")
        if word == name:
            with contextlib.suppress(ValueError):
                return int(number)
    return None


def _ratio(quota: str, period: str) -> float | None:
    """Return cores; None for 'max', -1 and what is no number."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period) or None
