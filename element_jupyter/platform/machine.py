"""Composition of what is read of the machine that a process is on: by runs, and of what is free."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

import psutil

from element_jupyter.adapters.resources.cgroups import Cgroups
from element_jupyter.adapters.resources.gpu_thread import GpuThread
from element_jupyter.adapters.resources.processes import process_reader
from element_jupyter.core.sizes import Free
from element_jupyter.runner.machine import Machine

_FRESH_SECONDS: Final = 5.0


def this_machine() -> Machine:
    """Return the readers of the machine that this process is on."""
    return Machine(processes=process_reader(), groups=Cgroups(), gpus=GpuThread())


class FreeNow:
    """Says what nobody uses; what was read is told again for five seconds."""

    def __init__(self) -> None:
        self._gpus = GpuThread()
        self._groups = Cgroups()
        self._lock = asyncio.Lock()
        self._known: Free | None = None
        self._until = 0.0

    async def __call__(self) -> Free:
        """Return the cores, memory and devices that are free."""
        async with self._lock:
            if self._known is None or time.monotonic() > self._until:
                self._known = await asyncio.to_thread(self._read)
                self._until = time.monotonic() + _FRESH_SECONDS
            return self._known

    def _read(self) -> Free:
        cores = float(os.cpu_count() or 1)
        if group := self._groups.cpu():
            cores = min(cores, group.limit_cores)
        memory_bytes = psutil.virtual_memory().available
        if limit := self._groups.memory():
            memory_bytes = min(memory_bytes, max(0, limit.limit_bytes - limit.used_bytes))
        return Free(
            # the mean of the last minute: what ran a moment ago is likely to run on
            cpu=round(max(0.0, cores - os.getloadavg()[0]), 1),
            memory_bytes=memory_bytes,
            gpu=sum(
                gpu.processes_known and not gpu.processes and not gpu.utilization
                for gpu in self._gpus.read()
            ),
        )
