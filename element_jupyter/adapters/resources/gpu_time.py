"""For how long GPUs were busy: their utilization, looked at every second and added up."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from element_jupyter.adapters.resources.gpu_thread import GpuThread
from element_jupyter.core.resources.gpus import GpuReader

_PERIOD_SECONDS: Final = 1.0


class GpuTime:
    """Looks in a thread of its own, from the first question on."""

    def __init__(
        self, reader: GpuReader | None = None, period_seconds: float = _PERIOD_SECONDS
    ) -> None:
        self._reader = reader
        self._period_seconds = period_seconds
        self._busy_seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def busy_seconds(self, devices: Sequence[str]) -> float | None:
        """Return for how long these were busy together since the first question; None: unknown."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._look, name="element-gpu-time", daemon=True
                )
                self._thread.start()
            known = [self._busy_seconds[each] for each in devices if each in self._busy_seconds]
        return sum(known) if known else None

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5 * self._period_seconds)

    def _look(self) -> None:
        reader = self._reader or GpuThread()
        last = time.monotonic()
        while True:
            found = reader.read()
            now = time.monotonic()
            with self._lock:
                for gpu in found:
                    if gpu.utilization is not None:
                        self._busy_seconds[str(gpu.index)] += gpu.utilization * (now - last)
            last = now
            if self._ended.wait(self._period_seconds):
                break
        reader.close()
