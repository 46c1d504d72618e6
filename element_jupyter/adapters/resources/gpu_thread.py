"""Asks GPUs in a thread of its own: a driver may hang in a call, and nobody can take that back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from element_jupyter.adapters.resources.gpus import NvidiaGpus
from element_jupyter.core.resources.gpus import PATIENCE_SECONDS, Gpu

ANSWER_SECONDS: Final = 0.5
"""How long who asks waits at most, and only once for each question."""

_log = logging.getLogger(__name__)


class Devices(Protocol):
    """What may hang; it is only ever called by one thread."""

    def read(self) -> tuple[Gpu, ...]: ...

    def close(self) -> None: ...


class GpuThread:
    """A `GpuReader` whose thread is the only one that waits for a driver, however long.

    Who reads belongs to one thread, too. A driver that is late is told of with what it said last,
    and left out when it has not answered for `PATIENCE_SECONDS`.
    """

    def __init__(
        self, devices: Devices | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._devices = NvidiaGpus() if devices is None else devices
        self._clock = clock
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._answered = threading.Event()
        self._answered.set()
        self._asked_at = 0.0
        self._known: tuple[Gpu, ...] = ()
        self._trouble = ""

    @property
    def silent_seconds(self) -> float:
        return 0.0 if self._answered.is_set() else self._clock() - self._asked_at

    def read(self) -> tuple[Gpu, ...]:
        """Return what the devices do now; returns soon, whatever the driver does."""
        is_new = self._answered.is_set()
        if is_new:
            self._answered.clear()
            self._asked_at = self._clock()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._answer, name="element-gpus", daemon=True
                )
                self._thread.start()
            self._questions.put(True)
        self._answered.wait(ANSWER_SECONDS if is_new else 0)
        return () if self.silent_seconds >= PATIENCE_SECONDS else self._known

    def close(self) -> None:
        """Give the devices back, as soon as they can be."""
        if self._thread is not None:
            self._questions.put(False)
            self._thread.join(0 if self.silent_seconds else ANSWER_SECONDS)

    def _answer(self) -> None:
        while self._questions.get():
            try:
                self._known = self._devices.read()
            except Exception as error:  # noqa: BLE001 - all else is to be measured on
                self._known = ()
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    _log.warning("GPUs cannot be read", exc_info=True)
            self._answered.set()
        self._devices.close()
