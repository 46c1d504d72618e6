"""Graphics processors as they were read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

PATIENCE_SECONDS: Final = 5.0
"""A driver that has not answered for so long is said not to, and nothing is told of its devices."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """What one process uses of one device; None is what the driver does not tell."""

    memory_bytes: int | None = None
    utilization: float | None = None
    """The part of the time, 0 to 1, in which it has kept the device busy since the last reading."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device."""

    index: int
    name: str
    utilization: float | None
    """The part of the time, 0 to 1, in which anybody has kept it busy."""
    memory_bytes: int
    memory_size_bytes: int
    processes: Mapping[int, GpuProcess] = field(default_factory=dict)
    """By pid, as this machine counts them."""
    processes_known: bool = True
    """Whether all processes that use the device are among them, and their memory is told."""


class GpuReader(Protocol):
    """Reads the devices. Where there are none, or the driver fails, there is nothing to read."""

    def read(self) -> tuple[Gpu, ...]: ...

    def close(self) -> None: ...

    @property
    def silent_seconds(self) -> float:
        """How long the driver has owed an answer; 0 when it owes none."""
        ...


def memory_of(gpus: tuple[Gpu, ...], pids: set[int]) -> int | None:
    """Return what processes use together; None where that cannot be told.

    Zero is said only where the driver tells of all processes.
    """
    if not gpus:
        return None
    uses = [gpu.processes[pid].memory_bytes for gpu in gpus for pid in pids & gpu.processes.keys()]
    if any(use is None for use in uses):
        return None
    if not uses and not all(gpu.processes_known for gpu in gpus):
        return None
    return sum(use for use in uses if use is not None)


def busy_part(gpus: tuple[Gpu, ...], pids: set[int]) -> float | None:
    """Return for how much of the time processes kept a device busy, of the busiest of them.

    Where a driver does not tell processes apart, what anybody does on a device counts.
    """
    parts = []
    for gpu in gpus:
        ours = [gpu.processes[pid].utilization for pid in pids & gpu.processes.keys()]
        if gpu.processes_known and None not in ours:
            parts.append(min(1.0, sum(part for part in ours if part is not None)))
        elif gpu.utilization is not None:
            parts.append(gpu.utilization)
    return max(parts) if parts else None
