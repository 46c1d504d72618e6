"""Starts processes in order, restarts what dies or hangs, stops them in order.

A component starts when those that it needs are ready. When one ends or stays unhealthy it is
started again, after a pause that doubles up to a minute as long as it keeps failing. On stop, a
component ends before those that it needs; what does not end in its time is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

from element_jupyter.adapters.forkserver import Exit, Started, send_signal, started_ticks
from element_jupyter.core.errors import ElementError, Unavailable

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 60.0
_STEADY_SECONDS: Final = 60.0
"""Having run for so long, a component that fails is restarted without a long pause."""


class State(StrEnum):
    """What a component does now."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Process(Protocol):
    """A process that runs."""

    @property
    def pid(self) -> int: ...
    def signal(self, number: signal.Signals, *, group: bool = False) -> bool: ...
    async def wait(self) -> Exit: ...


class Executed:
    """A child process of this one."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._process = Started(pid=popen.pid, started_ticks=started_ticks(popen.pid) or 0)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def signal(self, number: signal.Signals, *, group: bool = False) -> bool:
        return send_signal(self._process, number, group=group)

    async def wait(self) -> Exit:
        loop = asyncio.get_running_loop()
        handle = os.pidfd_open(self._popen.pid)
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        code = self._popen.wait()
        return Exit(code=code) if code >= 0 else Exit(signal=-code)


async def _always() -> bool:
    return True


@dataclass(frozen=True)
class Component:
    """One process, or with `once` one step, of the platform."""

    name: str
    title: str
    launch: Callable[[], Awaitable[Process]]
    ready: Callable[[], Awaitable[bool]] = _always
    healthy: Callable[[], Awaitable[bool]] = _always
    """Asked every few seconds; it hangs when this is False for `patience_seconds`."""
    needs: tuple[str, ...] = ()
    once: bool = False
    ready_seconds: float = 240.0
    patience_seconds: float = 45.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 5.0
    log: str = ""


@dataclass
class Status:
    """What is known of a component."""

    state: State = State.WAITING
    pid: int | None = None
    started_ticks: int | None = None
    restarts: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    ready_after_seconds: float | None = None
    reason: str = ""


class Supervisor:
    """Keeps components running until it is told to stop."""

    def __init__(
        self,
        components: list[Component],
        changed: Callable[[Component, Status], None],
        *,
        check_seconds: float = 5.0,
    ) -> None:
        self._components = {component.name: component for component in components}
        self._changed = changed
        self._check_seconds = check_seconds
        self.status = {name: Status() for name in self._components}
        self._ready = {name: asyncio.Event() for name in self._components}
        self._processes: dict[str, Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start everything; returns when all is ready.

        Raises:
            ElementError: a component could not be started at all, or not in its time.
        """
        for name, component in self._components.items():
            self._tasks[name] = asyncio.create_task(self._keep(component), name=name)
        everything = asyncio.ensure_future(self._wait_for_all())
        try:
            await asyncio.wait([everything, self._failure], return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
        finally:
            everything.cancel()

    async def _wait_for_all(self) -> None:
        await asyncio.gather(*(event.wait() for event in self._ready.values()))

    def overview(self) -> list[tuple[Component, Status]]:
        """Return every component with what is known of it."""
        return [(component, self.status[name]) for name, component in self._components.items()]

    @property
    def all_ready(self) -> bool:
        return all(event.is_set() for event in self._ready.values())

    async def stop(self, names: Collection[str] | None = None) -> None:
        """Stop everything, or those named, dependents first; kills what does not end in its time.

        What needs a component must be stopped no later than that.
        """
        left = {
            name: component
            for name, component in self._components.items()
            if names is None or name in names
        }
        tasks = [self._tasks.pop(name) for name in left if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while left:
            needed = {need for component in left.values() for need in component.needs}
            wave = [component for name, component in left.items() if name not in needed]
            await asyncio.gather(*(self._stop(component) for component in wave))
            for component in wave:
                del left[component.name]

    async def _keep(self, component: Component) -> None:
        status = self.status[component.name]
        failures = 0
        while True:
            await asyncio.gather(*(self._ready[need].wait() for need in component.needs))
            began = time.monotonic()
            try:
                reason = await self._run_once(component, began)
            except ElementError as error:
                if not self._failure.done() and not self._ever_ready(component):
                    self._failure.set_exception(error)
                    return
                reason = error.message
            if component.once and not reason:
                return
            self._ready[component.name].clear()
            failures = 1 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
            if failures >= 3 and not self._ever_ready(component) and not self._failure.done():
                self._failure.set_exception(self._cannot_start(component, reason))
                return
            status.restarts += 1
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
            _log.warning("%s %s; starting it again in %.1f s", component.name, reason, pause)
            self._enter(component, State.RESTARTING, reason=reason)
            await asyncio.sleep(pause)

    async def _run_once(self, component: Component, began: float) -> str:
        """Run the component until it ends or hangs; returns why it has to be started again."""
        self._enter(component, State.STARTING)
        process = await component.launch()
        self._processes[component.name] = process
        self._enter(component, State.STARTING, process=process)
        ended = asyncio.create_task(process.wait())
        try:
            if component.once:
                how = await asyncio.wait_for(asyncio.shield(ended), component.ready_seconds)
                if how.code != 0:
                    return _describe(how)
            elif not await self._becomes_ready(component, ended, began):
                return (
                    _describe(ended.result())
                    if ended.done()
                    else f"was not ready in {component.ready_seconds:.0f} s"
                )
            self.status[component.name].ready_after_seconds = time.monotonic() - began
            self._ready[component.name].set()
            self._enter(component, State.READY, process=None if component.once else process)
            if component.once:
                return ""
            if await self._stays_healthy(component, ended):
                return _describe(ended.result())
            return f"hung for {component.patience_seconds:.0f} s"
        except TimeoutError:
            return f"was not done in {component.ready_seconds:.0f} s"
        finally:
            if not ended.done():
                stopping = asyncio.current_task()
                if stopping is None or not stopping.cancelling():
                    process.signal(signal.SIGKILL)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(ended), 10)
            if ended.done():
                self._processes.pop(component.name, None)
            else:
                ended.cancel()

    async def _becomes_ready(
        self, component: Component, ended: asyncio.Task[Exit], began: float
    ) -> bool:
        while not ended.done() and time.monotonic() - began < component.ready_seconds:
            if await component.ready():
                return True
            await asyncio.wait({ended}, timeout=0.1)
        return False

    async def _stays_healthy(self, component: Component, ended: asyncio.Task[Exit]) -> bool:
        """Return True when the process has ended by itself, False when it hangs."""
        well = time.monotonic()
        while True:
            await asyncio.wait({ended}, timeout=self._check_seconds)
            if ended.done():
                return True
            # the monotonic clock stands still while the machine sleeps, when heartbeats get old
            if await component.healthy():
                well = time.monotonic()
            elif time.monotonic() - well > component.patience_seconds:
                return False

    async def _stop(self, component: Component) -> None:
        self._ready[component.name].clear()
        process = self._processes.pop(component.name, None)
        if process is not None:
            self._enter(component, State.STOPPING, process=process)
            process.signal(component.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), component.stop_seconds)
            except TimeoutError:
                _log.warning("%s does not end: killed", component.name)
                process.signal(signal.SIGKILL)
                await process.wait()
        self._enter(component, State.STOPPED)

    def _enter(
        self,
        component: Component,
        state: State,
        *,
        process: Process | None = None,
        reason: str = "",
    ) -> None:
        status = self.status[component.name]
        if status.state is not state:
            status.since = datetime.now(UTC)
        status.state = state
        status.reason = reason
        status.pid = process.pid if process is not None else None
        status.started_ticks = started_ticks(process.pid) if process is not None else None
        self._changed(component, status)

    def _ever_ready(self, component: Component) -> bool:
        return self.status[component.name].ready_after_seconds is not None

    def _cannot_start(self, component: Component, reason: str) -> Unavailable:
        return Unavailable(
            f"{component.title} cannot be started: it {reason}.",
            f"Its log says why: {component.log}." if component.log else "",
        )


def _describe(how: Exit) -> str:
    if how.signal is not None:
        return f"was killed by {signal.Signals(how.signal).name}"
    if how.code is None:
        return "ended together with its fork server"
    return f"ended with code {how.code}"
