"""NVIDIA's devices, by NVML (`nvidia-ml-py`). Without a driver nothing is imported or said."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from element_jupyter.core.resources.gpus import Gpu, GpuProcess

RETRY_SECONDS: Final = 60.0
"""How long a driver that has failed is left alone."""

_INITIAL_PID_NAMESPACE: Final = "pid:[4026531836]"
"""PROC_PID_INIT_INO of Linux."""

_log = logging.getLogger(__name__)


class NvidiaGpus:
    """Reads the devices; one handle of NVML for the whole process, taken at the first reading.

    It belongs to one thread. A device that fails is left out for as long as it does.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, proc: Path = Path("/proc")
    ) -> None:
        self._clock = clock
        self._proc = proc
        self._users: dict[int, bool] = {}
        self._nvml: Any = None
        self._handles: list[tuple[int, str, Any]] = []
        self._seen_us: dict[int, int] = {}
        """By device: the last reading of what each process has kept busy."""
        self._absent = False
        self._not_before = 0.0

    def read(self) -> tuple[Gpu, ...]:
        """Return what the devices do now."""
        if not self._open():
            return ()
        found = []
        for index, name, handle in self._handles:
            gpu = self._read(index, name, handle)
            if gpu is not None:
                found.append(gpu)
        if self._handles and not found:
            self._give_up("no device answers")
        return tuple(found)

    def close(self) -> None:
        """Give the handle back."""
        nvml, self._nvml, self._handles = self._nvml, None, []
        if nvml is not None:
            self._ask(nvml.nvmlShutdown)

    def _open(self) -> bool:
        if self._nvml is not None:
            return True
        if self._absent or self._clock() < self._not_before:
            return False
        try:
            # importing the bindings takes longer than finding out that there is no driver
            ctypes.CDLL("libnvidia-ml.so.1")
            import pynvml
        except (OSError, ImportError):
            self._absent = True
            return False
        try:
            pynvml.nvmlInit()
            self._nvml = pynvml
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = self._ask(pynvml.nvmlDeviceGetName, handle)
                self._handles.append((index, str(name or "GPU"), handle))
        except pynvml.NVMLError as error:
            self._give_up(str(error))
            return False
        return True

    def _give_up(self, why: str) -> None:
        _log.info("The NVIDIA driver is left alone for %.0f s: %s", RETRY_SECONDS, why)
        self.close()
        self._not_before = self._clock() + RETRY_SECONDS

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what NVML says; None where it fails, or is too old to be asked."""
        import pynvml

        try:
            return function(*arguments)
        except pynvml.NVMLError:
            return None

    def _read(self, index: int, name: str, handle: Any) -> Gpu | None:
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is None:
            return None
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        lists = [
            self._ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle),
            self._ask(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle),
        ]
        memory_bytes = _memory_by_pid(each for known in lists for each in known or ())
        # a driver may tell pids of the host, which are not those of a container
        same = _is_host(self._proc)
        told, ours = len(memory_bytes), memory_bytes
        if not same:
            self._users = {pid: self._users.get(pid) or self._uses(pid) for pid in memory_bytes}
            ours = {pid: used for pid, used in memory_bytes.items() if self._users[pid]}
        busy = self._busy_by_pid(index, handle) if memory_bytes else {}
        return Gpu(
            index=index,
            name=name,
            utilization=None if rates is None else min(1.0, rates.gpu / 100),
            memory_bytes=int(memory.used),
            memory_size_bytes=int(memory.total),
            processes={
                pid: GpuProcess(used, None if busy is None else busy.get(pid, 0.0))
                for pid, used in ours.items()
            },
            processes_known=lists[0] is not None
            and None not in ours.values()
            and (same or (len(ours) == told > 0)),
        )

    def _uses(self, pid: int) -> bool:
        """Whether the process of that pid here has opened a device of NVIDIA's."""
        try:
            files = list((self._proc / str(pid) / "fd").iterdir())
        except OSError:
            return False
        for file in files:
            with contextlib.suppress(OSError):
                if str(file.readlink()).startswith("/dev/nvidia"):
                    return True
        return False

    def _busy_by_pid(self, index: int, handle: Any) -> dict[int, float] | None:
        """Return the mean since the last reading; None where the driver does not tell."""
        import pynvml

        since_us = self._seen_us.get(index, 0)
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        except pynvml.NVMLError_NotFound:
            return {}  # nothing since
        except pynvml.NVMLError:
            return None
        by_pid: dict[int, list[int]] = {}
        for each in samples:
            self._seen_us[index] = max(self._seen_us.get(index, 0), each.timeStamp)
            if each.timeStamp > since_us and each.smUtil <= 100:  # else it is not filled in
                by_pid.setdefault(each.pid, []).append(each.smUtil)
        return {pid: sum(used) / len(used) / 100 for pid, used in by_pid.items()}


def _memory_by_pid(uses: Iterable[Any]) -> dict[int, int | None]:
    """Add up what processes use: in a list they may be more than once, once for each instance."""
    found: dict[tuple[int, int], int | None] = {}
    for use in uses:
        instance = int(getattr(use, "gpuInstanceId", 0) or 0)
        # what computes and draws is in both lists, with the same number
        found[use.pid, instance] = use.usedGpuMemory
    by_pid: dict[int, int | None] = {}
    for (pid, _), used in found.items():
        so_far = by_pid.get(pid, 0)
        by_pid[pid] = None if used is None or so_far is None else so_far + used
    return by_pid


def _is_host(proc: Path) -> bool:
    if sys.platform != "linux":
        return True
    try:
        return str((proc / "self" / "ns" / "pid").readlink()) == _INITIAL_PID_NAMESPACE
    except OSError:
        return False
