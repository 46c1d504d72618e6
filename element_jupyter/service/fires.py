"""The ledger of due fires, kept while Airflow starts the runs.

Airflow says when a job runs; this says what was due and what became of it. A heap holds the next
instant of every job with a schedule by time, so that a thousand jobs at rest cost one timer.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from element_jupyter.core.errors import Unavailable
from element_jupyter.core.fires import (
    PATIENCE_SECONDS,
    Downtime,
    catch_up,
    unasked,
)
from element_jupyter.core.jobs import JobChange, StoredJob
from element_jupyter.core.pages import (
    Page,
    decode_cursor,
    encode_cursor,
    key_of_moment,
    moment_of_key,
)
from element_jupyter.core.runs import FireRecord, FireState
from element_jupyter.core.schedules import Fire, OnAsset, WallClock, next_fire
from element_jupyter.service import run_metrics
from element_jupyter.service.run_ports import FireStore

log = logging.getLogger(__name__)

SEEN_SECONDS: Final = 60.0
"""How often it is written down that somebody watches: how well a downtime is known."""
_DOWN_SECONDS: Final = 120.0
"""A shorter gap is a restart, and no reason for a fire to be missed."""
_RETRY_SECONDS: Final = 1.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class WatchedJobs(Protocol):
    """The jobs, and what changes of them."""

    def get(self, team: str, name: str, version: int | None = None) -> StoredJob | None: ...
    def stored(self) -> Sequence[StoredJob]: ...
    async def changes(
        self, after: int, *, wait_seconds: float = 0, limit: int = 500
    ) -> Sequence[JobChange]: ...


class Fires:
    """Watches every schedule by time, and writes a row for each fire that comes due."""

    def __init__(
        self,
        store: FireStore,
        jobs: WatchedJobs,
        clock: WallClock,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._patience = timedelta(seconds=patience_seconds)
        self._now = now
        self._instance = secrets.token_hex(8)
        self._next: dict[str, Fire] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._unasked: list[tuple[datetime, str, datetime]] = []
        self._written: dict[str, datetime] = {}
        self._sequence = 0
        self._started_at = self._watched_at = now()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --------------------------------------------------------------------------- life of its own

    async def start(self) -> None:
        """Write the rows of what came due meanwhile, and begin to watch.

        Raises:
            Unavailable: the database does not answer.
        """
        now = self._started_at = self._watched_at = self._now()
        seen = await self._store.begin_uptime(self._instance, now)
        downtime = None
        if seen is not None and (now - seen).total_seconds() > _DOWN_SECONDS:
            downtime = Downtime(seen, now)
        self._written = await self._store.last()
        for stored in self._jobs.stored():
            await self._look_at(stored, now, downtime)
        for record in await self._store.due():
            self._await(record)
        self._tasks = [
            asyncio.create_task(self._forever(work))
            for work in (self._watch, self._follow, self._tell_seen)
        ]

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Unavailable):
            await self._store.seen(self._instance, self._now())

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("the ledger of fires waits: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                # one bad job or round must not end the ledger of all
                log.exception("a round of the ledger of fires failed")
                await asyncio.sleep(_RETRY_SECONDS)

    # ------------------------------------------------------------------------------------ reading

    def next_fire(self, job: str) -> Fire | None:
        """Return when a job (`team/name`) fires next; None when it is paused or never does."""
        team, _, name = job.partition("/")
        stored = self._jobs.get(team, name)
        return None if stored is None or stored.job.paused else self._next.get(job)

    async def page(self, job: str, cursor: str | None = None, limit: int = 50) -> Page[FireRecord]:
        """List the fires of a job that have come due, newest first.

        Raises:
            Invalid: the cursor is not one of these.
        """
        before = None
        if cursor is not None:
            [microseconds] = decode_cursor(cursor, int)
            before = moment_of_key(microseconds)
        found = await self._store.page(job, before, limit + 1)
        following = None
        if len(found) > limit:
            following = encode_cursor(key_of_moment(found[limit - 1].at))
        return Page(items=tuple(found[:limit]), next_cursor=following)

    # ----------------------------------------------------------------------------------- watching

    async def _follow(self) -> None:
        """Take in what changes of the jobs, as long as the feed goes on."""
        while True:
            found = await self._jobs.changes(self._sequence, wait_seconds=SEEN_SECONDS)
            for change in found:
                stored = self._jobs.get(change.team, change.name)
                # what was due until now was the old schedule's, which has written it
                self._next.pop(f"{change.team}/{change.name}", None)
                if stored is not None:
                    await self._look_at(stored, self._now(), None)
                self._sequence = max(self._sequence, change.sequence)

    async def _watch(self) -> None:
        """Write what has come due, then sleep until something does."""
        now = self._now()
        asleep = None
        if (now - self._watched_at).total_seconds() > _DOWN_SECONDS:
            # the machine was suspended, or the database was away
            asleep = Downtime(self._watched_at, now)
        self._watched_at = now
        while self._heap and self._heap[0][0] <= now:
            at, job = heapq.heappop(self._heap)
            planned = self._next.get(job)
            if planned is None or planned.at != at:
                continue  # a schedule that is not the job's any more
            team, _, name = job.partition("/")
            stored = self._jobs.get(team, name)
            if stored is None:
                self._next.pop(job, None)
                continue
            try:
                await self._look_at(stored, now, asleep)
            except Unavailable:
                heapq.heappush(self._heap, (at, job))
                raise
        while self._unasked and self._unasked[0][0] <= now:
            _, job, at = self._unasked[0]
            missed = FireRecord(
                job=job,
                at=at,
                state=FireState.MISSED,
                reason=unasked(self._patience.total_seconds()),
            )
            if await self._store.settle(missed):
                run_metrics.FIRES.labels(FireState.MISSED.value).inc()
            heapq.heappop(self._unasked)
        instants = [queue[0][0] for queue in (self._heap, self._unasked) if queue]
        pause = None
        if instants:
            # no longer than a minute, since the machine's clock may be set
            pause = min(SEEN_SECONDS, max(0.0, (min(instants) - self._now()).total_seconds()))
        with suppress(TimeoutError):
            # not `wait_for`, which may lose a cancellation in Python 3.11
            async with asyncio.timeout(pause):
                await self._changed.wait()
        self._changed.clear()

    async def _tell_seen(self) -> None:
        await asyncio.sleep(SEEN_SECONDS)
        await self._store.seen(self._instance, self._now())

    # -------------------------------------------------------------------------------------- rows

    async def _look_at(self, stored: StoredJob, now: datetime, downtime: Downtime | None) -> None:
        """Do `_catch_up`; a job for which that fails must not take the others along."""
        try:
            await self._catch_up(stored, now, downtime)
        except Unavailable:
            raise
        except Exception:
            log.exception("the fires of %s cannot be told", stored.job.id)
            self._next.pop(stored.job.id, None)

    async def _catch_up(self, stored: StoredJob, now: datetime, downtime: Downtime | None) -> None:
        """Write the rows of a job's fires until now, and plan the next one."""
        job = stored.job
        if job.schedule is None or isinstance(job.schedule, OnAsset):
            self._next.pop(job.id, None)
            return
        schedule = job.schedule
        since = max(self._written.get(job.id, stored.scheduled_since), stored.scheduled_since)
        records = catch_up(
            job.id,
            job.catch_up,
            since,
            now,
            lambda after: next_fire(schedule, self._clock, after),
            paused=job.paused,
            downtime=downtime,
        )
        await self._store.add(records)
        for record in records:
            run_metrics.FIRES.labels(record.state.value).inc()
            if record.state is FireState.DUE:
                self._await(record)
        if records:
            self._written[job.id] = records[-1].at
        self._plan(stored)

    def _await(self, record: FireRecord) -> None:
        # before this process watched, Airflow had nobody to ask
        until = max(record.at, self._started_at) + self._patience
        heapq.heappush(self._unasked, (until, record.job, record.at))
        self._changed.set()

    def _plan(self, stored: StoredJob) -> None:
        """Put the next fire of a job onto the heap, unless it is there."""
        job = stored.job
        if job.schedule is None or isinstance(job.schedule, OnAsset):
            return
        after = max(self._written.get(job.id, _EPOCH), stored.scheduled_since)
        fire = next_fire(job.schedule, self._clock, after)
        if fire is None:
            self._next.pop(job.id, None)
        elif self._next.get(job.id) != fire:
            self._next[job.id] = fire
            heapq.heappush(self._heap, (fire.at, job.id))
            self._changed.set()
