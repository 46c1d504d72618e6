"""Waiting for the environment of a run, which may take a while: told about, and ended by a stop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from element_jupyter.core.environments.building import Phase
from element_jupyter.core.errors import ElementError

NOTE_SECONDS: Final = 2.0
"""At least between two notes about one build."""

_DOING: Final = {
    Phase.WAITING: "waiting for another that builds the same",
    Phase.RESOLVING: "resolving packages",
    Phase.DOWNLOADING: "downloading packages",
    Phase.INSTALLING: "installing packages",
    Phase.CHECKING: "checking it",
}

T = TypeVar("T")


def phrase(phase: Phase, done: int | None = None, total: int | None = None) -> str:
    """Say where a build is: `downloading packages, 12 of 44`."""
    count = f", {done} of {total}" if done is not None and total else ""
    return f"{_DOING.get(phase, phase.value)}{count}"


class BuildNotes:
    """A `Tell` that says a sentence now and then; nothing when there was nothing to build."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._began: float | None = None
        self._next = 0.0

    def __call__(
        self,
        phase: Phase,
        done: int | None = None,
        total: int | None = None,
        message: str = "",
    ) -> None:
        now = time.monotonic()
        if phase is Phase.READY and self._began is not None:
            self._say(f"The environment is ready after {now - self._began:.0f} s.")
        if phase.ended or now < self._next:
            return
        self._began = self._began or now
        self._next = now + NOTE_SECONDS
        self._say(f"Building the environment: {phrase(phase, done, total)}.")


class StoppedWaiting(ElementError):
    """What was waited for is not wanted any more."""


async def unless_stopped(work: Callable[[], T], stopped: asyncio.Event) -> T:
    """Return what `work` returns, which is called in a thread that may go on for ever.

    Raises:
        StoppedWaiting: as soon as `stopped` is set.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def hand(settle: Callable[[Any], None], value: Any) -> None:
        def settled() -> None:
            if not future.done():
                settle(value)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the run
            loop.call_soon_threadsafe(settled)

    def call() -> None:
        try:
            made = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            hand(future.set_exception, error)
        else:
            hand(future.set_result, made)

    # not the loop's executor, which is waited for when the loop ends
    threading.Thread(target=call, name="environment", daemon=True).start()
    stop = asyncio.ensure_future(stopped.wait())
    first: set[asyncio.Future[Any]] = {future, stop}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    if not future.done():
        future.cancel()
        raise StoppedWaiting("The run was stopped while its environment was being made.")
    return future.result()
