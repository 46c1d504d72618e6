"""What runs tell: their events into the stream and the record, and out to any number of readers.

Order is the point. An event is in the stream before the record contains it, so that a report that
was cut short is simply made again; readers see it after the record does, so that whoever sees a
run end finds it ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from element_jupyter.core.admission import unknown_run
from element_jupyter.core.errors import Invalid
from element_jupyter.core.progress import RunRecord, advance, check_report
from element_jupyter.core.runs import (
    Event,
    NotebookSaved,
    Run,
    RunFinished,
    RunStarted,
    RunState,
    StateChanged,
)
from element_jupyter.service.run_files import OUTPUT
from element_jupyter.service.run_ports import RunSettings, RunStore, Streams

log = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 10.0
"""How often a reader who waits looks whether another process has written."""


class RunStreams:
    """The streams of runs, kept in step with their records."""

    def __init__(
        self,
        settings: RunSettings,
        store: RunStore,
        streams: Streams,
        on_end: Callable[[RunRecord], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._streams = streams
        self._on_end = on_end

    async def report(self, run_id: str, events: Sequence[Event]) -> int:
        """Take a runner's events; returns the last sequence number that need not be told again.

        Raises:
            Invalid: the events cannot be a runner's.
            NotFound: there is no such run.
        """
        check_report(events)
        if events and events[0].sequence > self._streams.stream(run_id).reported + 1:
            # what lies between is in the runner's own file
            await self.take_file(run_id)
        return await self._take(run_id, events)

    async def take_file(self, run_id: str) -> None:
        """Take what the runner wrote down and could not report."""
        record = await self._store.get(run_id)
        if record is None:
            raise unknown_run(run_id)
        if record.run.state.ended:
            return
        known = min(record.reported, self._streams.stream(run_id).reported)
        batches = self._streams.told(run_id, known)
        while batch := await asyncio.to_thread(next, batches, None):
            try:
                check_report(batch)
            except Invalid as error:
                # the notebook can write into this file too
                log.warning("%s: its events.jsonl is damaged: %s", run_id, error.message)
                return
            await self._take(run_id, batch)

    async def _take(self, run_id: str, events: Sequence[Event]) -> int:
        stream = self._streams.stream(run_id)
        now = datetime.now(UTC)
        until = now + timedelta(seconds=self._settings.lease_seconds)
        events = [self._as_known_here(run_id, event, now) for event in events]

        def put(record: RunRecord) -> RunRecord:
            if record.run.state.ended:
                return record
            stream.report(events)
            return advance(record, events).model_copy(update={"lease_until": until})

        before, after = await self._store.change(run_id, put)
        if after.run.state.ended and not before.run.state.ended:
            self._on_end(after)
        stream.announce()
        # a run that has ended has nothing to gain from hearing the same again
        return max(after.reported, events[-1].sequence if events else 0)

    def _as_known_here(self, run_id: str, event: Event, now: datetime) -> Event:
        """Put what the control plane knows better in place of what a runner says."""
        notebook = str(self._settings.directory / run_id / OUTPUT)
        match event:
            # a path that a stranger names would be read to people
            case NotebookSaved():
                return event.model_copy(update={"path": notebook})
            case RunFinished(output_path=str()):
                return event.model_copy(update={"output_path": notebook})
            case RunStarted(at=at) if at > now:
                # its token is good for a time after this
                return event.model_copy(update={"at": now})
        return event

    def tell(
        self, run_id: str, state: RunState, reason: str = "", queue_position: int | None = None
    ) -> None:
        """Add an event of the control plane's own, and let readers see it."""
        stream = self._streams.stream(run_id)
        stream.add(
            StateChanged(
                at=datetime.now(UTC), state=state, reason=reason, queue_position=queue_position
            )
        )
        stream.announce()

    def complete(self, run: Run) -> None:
        """End the stream of a run that has ended, unless its runner did."""
        if run.state.ended and not self._streams.stream(run.run_id).complete:
            self.tell(run.run_id, run.state, run.reason)

    async def compact(self, run: Run) -> None:
        """Make the stream of a run that has ended small."""
        stream = self._streams.stream(run.run_id)
        if stream.over:
            await asyncio.to_thread(stream.compact, drop_large=run.output_path is not None)

    async def follow(self, run: Run, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the events after an id as (id, JSON) as they come, to the end of the run."""
        stream = self._streams.stream(run.run_id)
        self.complete(run)
        while True:
            found = stream.read(after)
            for number, event in found:
                yield number, event
                after = number
            if found:
                continue
            if stream.over:
                return
            if not await stream.wait(after, _QUIET_SECONDS):
                record = await self._store.get(run.run_id)
                if record is not None:
                    self.complete(record.run)

    def page(self, run: Run, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """Return the events after an id that are there now, and the id to go on from.

        That id is None once the last event of the run has been returned.
        """
        stream = self._streams.stream(run.run_id)
        self.complete(run)
        found = stream.read(after, limit)
        last = found[-1][0] if found else after
        done = stream.over and last >= stream.last_id
        return [event for _, event in found], None if done else last
