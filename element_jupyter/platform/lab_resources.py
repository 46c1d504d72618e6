"""Resources for the Jupyter server: one sampler, however many pages follow it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from element_jupyter.adapters.resources.cgroups import Cgroups
from element_jupyter.adapters.resources.gpu_thread import GpuThread
from element_jupyter.adapters.resources.processes import process_reader
from element_jupyter.core.errors import NotFound
from element_jupyter.core.resources.history import Series, points
from element_jupyter.core.resources.samples import Death, DeathList, KernelDetails, Point, Sample
from element_jupyter.platform.resource_sampler import Doing, Places, Sampler, history_clock
from element_jupyter.server.running_kernels import RunningKernel, RunningKernels

LISTENED_SECONDS: Final = 1.0
"""How often it is measured while somebody listens, …"""
UNHEARD_SECONDS: Final = 15.0
"""… and while nobody does, for the sake of the history and of what is said of deaths."""
NEW_SECONDS: Final = 10.0
"""How long it is measured as if somebody listened after a kernel has started."""
RECENT_SECONDS: Final = 600.0
"""How long deaths are told, and how much of the history a stream begins with, …"""
RECENT_STEP_SECONDS: Final = 5.0
"""… a point in so many seconds."""
DETAILS_SECONDS: Final = 30.0

_POINTS: Final = TypeAdapter(tuple[Point, ...])


class LabResources:
    """Measures from `start` to `stop`, in a thread of its own; all else is on the event loop."""

    def __init__(self, server: Any) -> None:
        self._log = server.log
        self._kernels = RunningKernels(server, self._has_started, self._has_ended)
        self._root = Path(server.root_dir)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="element-resources")
        self._sampler: Sampler | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._listeners: set[_Listener] = set()
        self._joined = asyncio.Event()
        self._new_until = 0.0
        self._deaths: deque[tuple[float, Death]] = deque(maxlen=1000)
        self._details: dict[str, tuple[float, asyncio.Future[KernelDetails]]] = {}
        self._trouble = ""
        self.sampled: Callable[[Doing], None] = lambda _: None
        """Called on the event loop with what was done until each sample."""
        self.latest: Sample | None = None
        """None until there are two to compare."""
        self.death_counts: Counter[str] = Counter()

    def start(self) -> None:
        """Begin; called on the event loop."""
        self._measuring = asyncio.get_running_loop().create_task(self._measure())

    async def stop(self) -> None:
        """End, and give back what is held. Streams end too."""
        tasks = [task for task in (self._measuring, *self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.end()
        if self._sampler is not None:
            self._threads.submit(self._sampler.close)
        self._threads.shutdown(wait=False)

    # ----------------------------------------------------------------------------- measuring

    async def _measure(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._once()
            except Exception as error:  # noqa: BLE001 - what cannot be measured harms nobody
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._log.warning("What is used cannot be measured", exc_info=True)
            while (left := began + self._interval_seconds - time.monotonic()) > 0:
                self._joined.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._joined.wait()

    @property
    def _interval_seconds(self) -> float:
        is_new = time.monotonic() < self._new_until
        return LISTENED_SECONDS if self._listeners or is_new else UNHEARD_SECONDS

    async def _once(self) -> None:
        kernels = self._kernels.look()
        first = self._sampler is None
        loop = asyncio.get_running_loop()
        sample, event = await loop.run_in_executor(self._threads, self._sample, kernels)
        if first:
            return
        self.latest = sample
        if self._sampler is not None:
            self.sampled(self._sampler.doing)
        for listener in self._listeners:
            listener.hear("sample", event)

    def _sample(self, kernels: list[RunningKernel]) -> tuple[Sample, bytes]:
        if self._sampler is None:
            self._sampler = Sampler(
                process_reader(),
                Cgroups(),
                GpuThread(),
                Places(Path.home(), self._root),
                os.environ,
            )
        sample = self._sampler.measure(kernels)
        return sample, _event("sample", sample.model_dump_json().encode())

    def _has_started(self) -> None:
        # so that something is known of it, should it soon end
        self._new_until = time.monotonic() + NEW_SECONDS
        self._joined.set()

    def _has_ended(self, kernel: RunningKernel, exit_code: int | None) -> None:
        task = asyncio.get_running_loop().create_task(self._tell_death(kernel, exit_code))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_death(self, kernel: RunningKernel, exit_code: int | None) -> None:
        if self._sampler is None:
            return
        loop = asyncio.get_running_loop()
        death = await loop.run_in_executor(self._threads, self._sampler.death, kernel, exit_code)
        self._log.warning("Kernel %s: %s", death.kernel_id, death.sentence)
        self._deaths.append((time.monotonic(), death))
        self.death_counts[death.code.value] += 1
        event = _event("death", death.model_dump_json().encode())
        for listener in self._listeners:
            listener.hear("death", event)

    # ------------------------------------------------------------------------------- telling

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[bytes]]:
        listener = _Listener()
        self._listeners.add(listener)
        self._joined.set()
        try:
            yield self._events(listener)
        finally:
            self._listeners.discard(listener)

    async def _events(self, listener: _Listener) -> AsyncIterator[bytes]:
        yield _event("history", await asyncio.to_thread(self._recent))
        async for event in listener.events():
            yield event

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    def deaths(self) -> DeathList:
        while self._deaths and time.monotonic() - self._deaths[0][0] > RECENT_SECONDS:
            self._deaths.popleft()
        return DeathList(items=tuple(death for _, death in self._deaths))

    async def history(self, hours: int, kernel_id: str | None) -> bytes:
        return await asyncio.to_thread(self._history, hours * 3600, 0.0, kernel_id)

    def _recent(self) -> bytes:
        return self._history(RECENT_SECONDS, RECENT_STEP_SECONDS, None)

    def _history(self, seconds: float, every_seconds: float, kernel_id: str | None) -> bytes:
        now_seconds, now = history_clock(), datetime.now(UTC)

        def told(series: Series) -> bytes:
            time.sleep(0)  # so that the event loop need not wait for all of them
            kept = series.last(seconds, now_seconds, every_seconds=every_seconds)
            return _POINTS.dump_json(points(kept, now_seconds, now))

        if self._sampler is None:
            return b'{"server":[],"kernels":{}}'
        kernels = dict(self._sampler.history)
        server = kernels.pop("server")
        wanted = (name for name in kernels if kernel_id is None or name == kernel_id)
        texts = [b"%s:%s" % (json.dumps(name).encode(), told(kernels[name])) for name in wanted]
        return b'{"server":%s,"kernels":{%s}}' % (told(server), b",".join(texts))

    async def details(self, kernel_id: str) -> KernelDetails:
        if self._sampler is None or kernel_id not in self._sampler.history:
            raise NotFound(
                f"There is nothing to tell of a kernel '{kernel_id[:80]}'.",
                "It may have just started, or have ended.",
            )
        now = time.monotonic()
        self._details = {
            name: known for name, known in self._details.items() if now - known[0] < DETAILS_SECONDS
        }
        if kernel_id not in self._details:
            looking = asyncio.ensure_future(asyncio.to_thread(self._sampler.details, kernel_id))
            self._details[kernel_id] = (now, looking)
        return await asyncio.shield(self._details[kernel_id][1])


class _Listener:
    """What one page has yet to be told; of samples, only the newest."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=100)
        self._heard = asyncio.Event()
        self._over = False

    def hear(self, name: str, event: bytes) -> None:
        if name == "sample":
            self._waiting = deque((each for each in self._waiting if each[0] != name), maxlen=100)
        self._waiting.append((name, event))
        self._heard.set()

    def end(self) -> None:
        self._over = True
        self._heard.set()

    async def events(self) -> AsyncIterator[bytes]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()[1]
            if self._over:
                return
            self._heard.clear()
            await self._heard.wait()


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
