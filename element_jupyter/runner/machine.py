"""What a run reads of the machine that it is on; the platform hands in who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from element_jupyter.core.resources.gpus import GpuReader
from element_jupyter.core.resources.processes import ProcessReader


class MemoryGroup(Protocol):
    """Who shares a limit of memory."""

    @property
    def limit_bytes(self) -> int: ...


class OomKills(Protocol):
    """How often the system has killed a process for want of memory; None where it does not tell."""

    @property
    def group(self) -> int | None:
        """In this process's own group."""

    @property
    def total(self) -> int:
        """A number that grows with every kill that can be seen."""


class Groups(Protocol):
    """The groups that the system puts this process into."""

    def memory(self) -> MemoryGroup | None:
        """Return the group whose limit binds first; None where there is no limit."""

    def oom_kills(self) -> OomKills: ...


@dataclass(frozen=True)
class Machine:
    """Who reads what; it belongs to one run."""

    processes: ProcessReader
    groups: Groups
    gpus: GpuReader

    @property
    def memory_limit_bytes(self) -> int | None:
        group = self.groups.memory()
        return None if group is None else group.limit_bytes


class OomWatch:
    """Whether the system kills for want of memory, from when this is made."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._before = groups.oom_kills()

    @property
    def in_group(self) -> bool:
        """Whether it has in this process's own group, which is the limit's doing."""
        return (self._groups.oom_kills().group or 0) > (self._before.group or 0)

    @property
    def anywhere(self) -> bool:
        return self._groups.oom_kills().total > self._before.total
