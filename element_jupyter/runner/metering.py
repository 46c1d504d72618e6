"""What the kernel and all it started use: of a cell, of the run, and told over time.

Samples are taken twice a second; what is told covers all of them since it was last told: the
average of processor time, the highest of memory. How often that is grows with the age of the run,
so that no run, however long, tells more than some thousand times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from element_jupyter.core.resources.gpus import Gpu, GpuReader, memory_of
from element_jupyter.core.runs import Usage
from element_jupyter.runner.events import EventLog, now
from element_jupyter.runner.processes import Tree

SAMPLE_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 60.0
"""So long, it is told every second."""
PAUSE_SECONDS: Final = 5.0
AGE_SHARE: Final = 1 / 720
"""Of its age, beyond an hour: 10 hours tell 2,400 times, and a week tells 4,500 times (700 kB)."""


def pause_seconds(age_seconds: float) -> float:
    """Return how long after it was last told usage is told again, in a run of that age."""
    if age_seconds < CLOSE_SECONDS:
        return 1.0
    return max(PAUSE_SECONDS, age_seconds * AGE_SHARE)


@dataclass(frozen=True, slots=True)
class Used:
    """What a cell or a run has used."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    gpu_seconds: float | None = None
    peak_gpu_memory_bytes: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return it as an event has it, and the notebook: what is not known is left out."""
        return {
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_memory_bytes": self.peak_memory_bytes,
            **({} if self.gpu_seconds is None else {"gpu_seconds": round(self.gpu_seconds, 3)}),
            **(
                {}
                if self.peak_gpu_memory_bytes is None
                else {"peak_gpu_memory_bytes": self.peak_gpu_memory_bytes}
            ),
        }


class Meter:
    """Measures a tree of processes, and tells how it goes."""

    def __init__(
        self,
        log: EventLog,
        gpus: GpuReader,
        index: Callable[[], int | None],
    ) -> None:
        """Make one that tells the cell of that index with what it measures."""
        self._log = log
        self._index = index
        self._gpus: GpuReader | None = gpus
        self._cpu_seconds = 0.0
        self._peak_bytes = 0
        self._gpu_seconds: float | None = None
        self._gpu_peak_bytes: int | None = None
        self._gpu_read_at = 0.0
        self._cell = self.used
        self._cell_peak = 0
        self._cell_gpu_peak: int | None = None
        self._told_at = self._began = time.monotonic()
        self._told_cpu = 0.0
        self._highest = 0
        self._gpu_highest: int | None = None

    @property
    def used(self) -> Used:
        """What the run has used so far."""
        return Used(self._cpu_seconds, self._peak_bytes, self._gpu_seconds, self._gpu_peak_bytes)

    async def run(self, tree: Tree) -> None:
        """Sample and tell for ever."""
        self._told_at = self._began = self._gpu_read_at = time.monotonic()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.sample(tree)
            if self._gpus is not None:
                # in a thread: a driver may take its time, and outputs must not wait for it
                self._take_gpus(await asyncio.to_thread(self._gpus.read), tree.pids)
            self._tell_when_due()

    def sample(self, tree: Tree) -> None:
        """Read what the tree uses now."""
        cpu_seconds, memory_bytes = tree.usage()
        if memory_bytes == 0:  # gone
            return
        # a process that was killed takes its processor time along
        self._cpu_seconds = max(cpu_seconds, self._cpu_seconds)
        self._highest = max(self._highest, memory_bytes)
        self._cell_peak = max(self._cell_peak, memory_bytes, tree.peak_memory_bytes())
        self._peak_bytes = max(self._peak_bytes, self._cell_peak)

    def _take_gpus(self, gpus: tuple[Gpu, ...], pids: set[int]) -> None:
        if not gpus and self._gpu_seconds is None:
            if self._gpus is not None and not self._gpus.silent_seconds:
                self._gpus = None  # there are none here
            return
        read_at = time.monotonic()
        since, self._gpu_read_at = read_at - self._gpu_read_at, read_at
        used_bytes = memory_of(gpus, pids)
        if used_bytes is None:
            return
        self._gpu_seconds = (self._gpu_seconds or 0.0) + _busy(gpus, pids) * since
        self._gpu_highest = max(self._gpu_highest or 0, used_bytes)
        self._cell_gpu_peak = max(self._cell_gpu_peak or 0, used_bytes)
        self._gpu_peak_bytes = max(self._gpu_peak_bytes or 0, used_bytes)

    def reached(self, memory_bytes: int) -> None:
        """Take the highest memory of a process that has ended, which no sample may have seen."""
        self._cell_peak = max(self._cell_peak, memory_bytes)
        self._peak_bytes = max(self._peak_bytes, memory_bytes)

    def _tell_when_due(self) -> None:
        at = time.monotonic()
        since = at - self._told_at
        # half a sample early rather than half a sample late
        if since + SAMPLE_SECONDS / 2 < pause_seconds(at - self._began) or self._highest == 0:
            return
        self._log.tell(
            Usage(
                at=now(),
                index=self._index(),
                cpu_cores=round((self._cpu_seconds - self._told_cpu) / since, 3),
                memory_bytes=self._highest,
                gpu_memory_bytes=self._gpu_highest,
            )
        )
        self._told_at, self._told_cpu = at, self._cpu_seconds
        self._highest, self._gpu_highest = 0, None

    def begin_cell(self, tree: Tree) -> None:
        """From now on, it is a cell that uses it."""
        tree.reset_peak()
        self._cell_peak, self._cell_gpu_peak = 0, None
        self.sample(tree)
        self._cell = self.used

    def end_cell(self, tree: Tree) -> Used:
        """Return what the cell has used since it began."""
        self.sample(tree)
        gpu_seconds = None
        if self._gpu_seconds is not None:
            gpu_seconds = self._gpu_seconds - (self._cell.gpu_seconds or 0.0)
        return Used(
            cpu_seconds=self._cpu_seconds - self._cell.cpu_seconds,
            peak_memory_bytes=self._cell_peak,
            gpu_seconds=gpu_seconds,
            peak_gpu_memory_bytes=self._cell_gpu_peak,
        )


def _busy(gpus: tuple[Gpu, ...], pids: set[int]) -> float:
    """Return how many GPUs' worth of computing processes do.

    A driver that does not tell it by process tells it by device; then it is that of the devices
    that they have memory on.
    """
    total = 0.0
    for gpu in gpus:
        uses = [gpu.processes[pid].utilization for pid in pids & gpu.processes.keys()]
        known = [use for use in uses if use is not None]
        total += min(1.0, sum(known)) if len(known) == len(uses) else gpu.utilization or 0.0
    return total
