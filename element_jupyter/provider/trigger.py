"""`RunTrigger`: follows one run from the triggerer, writes its log, and ends the task.

It keeps nothing that is lost with the triggerer: the event stream is replayed by the control plane,
and each line carries the time of its event, by which Airflow's log reader drops what it has twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.provider.client import AsyncService, run_path
from element_jupyter.provider.lines import lines
from element_jupyter.provider.links import NotebookLink, notebook_url
from element_jupyter.provider.runs import ENDED, Document, outcome, xcoms
from element_jupyter.provider.submission import refused_async

_log = structlog.get_logger(logger_name=__name__)

_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_STOP_PATIENCE_SECONDS: Final = 25.0
"""Airflow gives `on_kill` 30 s."""


class RunTrigger(BaseTrigger):
    """Waits for a run; posts it first when the worker could not."""

    def __init__(
        self,
        request: Document,
        run_id: str | None = None,
        patience_seconds: float = 3600.0,
        *,
        ends_task: bool = True,
    ) -> None:
        """Name the run by its request, and by its id once there is one.

        `ends_task` lets a success end the task from here; else a worker does it.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.request = request
        self.run_id = run_id
        self.patience_seconds = patience_seconds
        self.ends_task = ends_task
        self._posting: asyncio.Task[Document] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "request": self.request,
            "run_id": self.run_id,
            "patience_seconds": self.patience_seconds,
            "ends_task": self.ends_task,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the run to its end, and yield what becomes of the task."""
        service = AsyncService.shared()
        try:
            run = await self._followed(service)
        except ElementError as error:
            sentence = f"{error.message} {error.hint}".strip()
            try:
                skipped = await refused_async(service, self.request, error)
            except ElementError:
                skipped = None
            if skipped:
                await _write("info", f"Skipped: {skipped}")
                yield TaskSkippedEvent()
            else:
                yield _told(error=sentence)
            return
        if run["state"] == "succeeded" and self.ends_task:
            link = {NotebookLink().xcom_key: notebook_url(run["run_id"])}
            yield TaskSuccessEvent(xcoms={**xcoms(run), **link})
        else:
            yield _told(run=outcome(run))

    async def on_kill(self) -> None:
        """Stop the run: a person cleared the task or marked it."""
        service = AsyncService.shared()
        try:
            if self._posting is not None:
                self.run_id = (await self._posting)["run_id"]
            if self.run_id is not None:
                await self._patiently(
                    _STOP_PATIENCE_SECONDS, service.post, f"{run_path(self.run_id)}/stop"
                )
                await _write("info", f"Run {self.run_id} was asked to stop.")
        except ElementError as error:
            await _write("warning", f"The run could not be stopped: {error.message}")

    async def _followed(self, service: AsyncService) -> Document:
        """Return the run of this try, once it has ended."""
        request = self.request
        while True:
            if self.run_id is None:
                # a person who acts on the task cancels this trigger, but must not lose the run
                self._posting = asyncio.create_task(
                    self._patiently(self.patience_seconds, service.post, "/runs", request)
                )
                self.run_id = (await asyncio.shield(self._posting))["run_id"]
                self._posting = None
                await _write("info", f"Run {self.run_id} was posted.")
            run = await self._log_until_end(service)
            if run["state"] != "stopped" or run.get("attempt") == request["attempt"]:
                return run
            # clearing a task starts its next try, which may take over the run that is being stopped
            await _write(
                "info", f"Run {self.run_id} of an earlier try was stopped; another starts."
            )
            request = {**request, "idempotency_key": f"{request['idempotency_key']}|{self.run_id}"}
            self.run_id = None

    async def _log_until_end(self, service: AsyncService) -> Document:
        """Write the run's events to the log as they come, and return the run when it has ended."""
        run_id, after = str(self.run_id), 0
        pause, silent_since = _SHORTEST_PAUSE_SECONDS, 0.0
        while True:
            try:
                async for number, event in service.events(run_id, after):
                    after, pause, silent_since = max(after, number), _SHORTEST_PAUSE_SECONDS, 0.0
                    await _write_event(event)
                    if event.get("kind") == "run_finished" or event.get("state") in ENDED:
                        break
                run = await service.get(run_path(run_id))
                if run["state"] in ENDED:
                    return run
                silent_since = 0.0
            except Unavailable as error:
                now = time.monotonic()
                if not silent_since:
                    silent_since = now
                    await _write("warning", f"{error.message} The run goes on; waiting.")
                elif now - silent_since > self.patience_seconds:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 1.6, _LONGEST_PAUSE_SECONDS)

    async def _patiently(self, patience_seconds: float, call: Any, *arguments: Any) -> Document:
        """Call, again and again while the control plane does not answer."""
        deadline = time.monotonic() + patience_seconds
        pause, told = _SHORTEST_PAUSE_SECONDS, False
        while True:
            try:
                answer: Document = await call(*arguments)
                return answer
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    told = True
                    await _write("warning", f"{error.message} Waiting for it.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.6, _LONGEST_PAUSE_SECONDS)


def _told(**payload: Any) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


async def _write_event(event: Document) -> None:
    found = list(lines(event))
    if found:
        await asyncio.to_thread(_write_lines, found, event.get("at"))


async def _write(level: str, text: str) -> None:
    await asyncio.to_thread(_write_lines, [(level, text)], None)


def _write_lines(found: Any, at: str | None) -> None:
    # the log goes through a pipe that may be full: not on the event loop
    moment = None if at is None else datetime.fromisoformat(at)
    for number, (level, text) in enumerate(found):
        given: Document = {}
        if moment is not None:
            # distinct times keep the order when the log reader merges what two triggerers wrote
            given["timestamp"] = (moment + timedelta(microseconds=number)).isoformat()
        getattr(_log, level)(text, **given)
