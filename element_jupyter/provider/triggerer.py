"""A triggerer that passes on what a trigger tells when it tells it, and that ends when told to.

Airflow 3.3's looks once a second, for new triggers and for events alike, so that the end of a run
is known in Airflow up to two seconds late. This one wakes at an event; it asks for new triggers
once a second as well, but takes them at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from airflow.jobs import triggerer_job_runner
from airflow.jobs.triggerer_job_runner import TriggerRunner, TriggerRunnerSupervisor

if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_SECONDS: Final = 1.0
_FETCH_SECONDS: Final = 0.05
"""The supervisor looks for triggers once it has answered; so long after, it has them."""

_END_SECONDS: Final = 0.1
"""How often the supervisor that stops looks whether its child has ended."""

_LOG_SECONDS: Final = 0.5
"""A trigger's log is closed so long after its end: lines and events reach the supervisor by ways of
their own, and the last lines must not come after the closing."""


class PromptTriggerRunner(TriggerRunner):
    """Airflow's `TriggerRunner`, woken by its triggers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wake = asyncio.Event()
        self._ended: deque[tuple[float, int]] = deque()
        self.events = _Announcing(self._wake.set)
        self.failed_triggers = _Announcing(self._wake.set)

    async def arun(self) -> None:
        """Exchange with the supervisor until told to stop."""
        await self.init_comms()  # type: ignore[no-untyped-call]
        watchdog = asyncio.create_task(self.block_watchdog())  # type: ignore[no-untyped-call]
        reader: asyncio.Task[Any] = self.comms_decoder._reader_task  # type: ignore[assignment] # noqa: SLF001
        # Airflow's signal handler sets it
        self._stop_event = self._wake  # type: ignore[assignment]
        try:
            while not self.stop:
                for supporting in (watchdog, reader):
                    if supporting.done():
                        supporting.result()
                        raise RuntimeError("The triggerer's supervisor is gone.")
                await self._exchange()
                if not await self._woken(_FETCH_SECONDS):
                    await self._exchange()
                    await self._woken(_PERIOD_SECONDS)
        except BaseException:
            self.stop = True
            raise
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            await self._shared_streams.stop_all()
        await watchdog

    async def _exchange(self) -> None:
        """Tell the supervisor what happened, and do what it answers."""
        self._wake.clear()
        now = time.monotonic()
        self._ended.extend((now, ended) for ended in await self.cleanup_finished_triggers())
        finished = []
        while self._ended and self._ended[0][0] < now - _LOG_SECONDS:
            finished.append(self._ended.popleft()[1])
        await self.sync_state_to_supervisor(finished)
        await self.create_triggers()  # type: ignore[no-untyped-call]
        await self.cancel_triggers()  # type: ignore[no-untyped-call]

    async def _woken(self, within_seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), within_seconds)
        return self._wake.is_set()


class _Announcing(deque[Any]):
    """A deque that says when something is put into it."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def append(self, item: Any) -> None:
        super().append(item)
        self._announce()


class PromptTriggerRunnerSupervisor(TriggerRunnerSupervisor):
    """Airflow's, which ends when its child has ended.

    Airflow 3.3's waits for a word of the child on sockets, and thus 10 s when those were closed
    before the child was gone.
    """

    _ending = False

    def kill(self, *arguments: Any, **options: Any) -> None:
        self._ending = True
        super().kill(*arguments, **options)

    def _service_subprocess(self, max_wait_time: float, *arguments: Any, **options: Any) -> Any:
        if self._ending:
            max_wait_time = min(max_wait_time, _END_SECONDS)
        return super()._service_subprocess(max_wait_time, *arguments, **options)


def install() -> None:
    """Have the triggerer of this process use both; Airflow has no setting for that."""
    triggerer_job_runner.TriggerRunner = PromptTriggerRunner  # type: ignore[misc]
    triggerer_job_runner.TriggerRunnerSupervisor = (  # type: ignore[misc]
        PromptTriggerRunnerSupervisor
    )
