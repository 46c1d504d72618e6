"""Runs: asked for, queued, admitted, reported, stopped. One class, which everything else calls."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from element_jupyter.core.access import Person, RunToken
from element_jupyter.core.admission import Queued, unknown_run
from element_jupyter.core.errors import Conflict, Forbidden, Unavailable
from element_jupyter.core.fires import Known, refusal
from element_jupyter.core.jobs import StoredJob
from element_jupyter.core.pages import (
    Page,
    decode_cursor,
    encode_cursor,
    key_of_moment,
    moment_of_key,
)
from element_jupyter.core.progress import RunRecord, TokenRecord, ended, pinned
from element_jupyter.core.provisioning import Provisioner
from element_jupyter.core.resources.advice import LOOKED_AT, Advice, advise
from element_jupyter.core.runs import (
    Artifact,
    Event,
    FireRecord,
    FireState,
    Run,
    RunRequest,
    RunSpec,
    RunState,
    Trigger,
)
from element_jupyter.core.schedules import WallClock
from element_jupyter.core.values import Value
from element_jupyter.service import owners as owning
from element_jupyter.service.owners import Owners
from element_jupyter.service.run_files import OUTPUT
from element_jupyter.service.run_ports import (
    JobSource,
    RunCheck,
    RunQuotas,
    RunSettings,
    RunStore,
    Streams,
)
from element_jupyter.service.run_requests import Requests
from element_jupyter.service.run_supervisor import Supervisor

_LATE_REPORTS: Final = timedelta(minutes=10)
"""How long after its end, or its time limit, a run's token may still report and hand over."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Heartbeat(Value):
    """The answer to a runner's heartbeat."""

    stop: bool
    reason: str = ""


class Runs:
    """The control plane's runs."""

    def __init__(
        self,
        *,
        settings: RunSettings,
        store: RunStore,
        streams: Streams,
        provisioner: Provisioner,
        jobs: JobSource,
        check: RunCheck,
        clock: WallClock,
        owners: Owners | None = None,
        quotas: RunQuotas | None = None,
    ) -> None:
        self._settings = settings
        self._owners = owners or Owners()
        self._check = check
        self._store = store
        self._requests = Requests(settings, store, jobs, clock)
        self._quotas = quotas
        self._supervisor = Supervisor(
            settings, store, streams, provisioner, self._owners, quotas=quotas
        )
        self._streams = self._supervisor.streams

    async def start(self) -> None:
        """Take over the runs that are there, and begin to admit others.

        Raises:
            Unavailable: the database does not answer.
        """
        await self._supervisor.start()

    async def close(self) -> None:
        """Stop looking after runs; they go on, and the next `start` finds them."""
        await self._supervisor.close()

    async def wind_down(self, reason: str) -> None:
        """Stop all that executes, and leave in the queue what is there: the platform will stop.

        Raises:
            Unavailable: the database does not answer.
        """
        self._supervisor.admit_no_more()
        for record in await self._store.executing():
            await self.stop(record.run.run_id, reason)

    def look_again(self) -> None:
        """Look at the queue again: something else than a run has made room."""
        self._supervisor.wake()

    # --------------------------------------------------------------------------------------- asking

    async def create(self, request: RunRequest, who: Person) -> tuple[Run, bool]:
        """Add a run to the queue; False when the request means one that is there already.

        Raises:
            Invalid, NotFound, Forbidden: it can never work, is not theirs to ask, or is larger
                than a limit.
            EnvironmentFailed: its environment cannot be locked.
            Conflict: its fire must not run, by the job's catch-up policy; its job does not run as
                its owner; or an input is missing.
            Unavailable: the database does not answer.
        """
        now = datetime.now(UTC)
        wanted = await self._requests.wanted(request, who, now)
        held = await self._held(wanted.job)
        pin = await self._check(wanted.record.run, request, who, now)
        record = wanted.record.changed(**pinned(pin))
        if self._quotas is not None:
            await self._quotas.check(record.run)

        def refused(known: Known) -> FireRecord | None:
            if held is not None and (wanted.ask is None or known.state is FireState.RAN):
                raise held
            if wanted.ask is None:
                return None
            if held is not None:
                return wanted.ask.skipped(held.message)
            return refusal(wanted.ask, known, now)

        key = request.idempotency_key
        # within a team, so that nobody takes the key of another's run before it is started
        key = None if key is None else f"{record.run.team}|{key}"
        came = await self._store.create(record, key, refused)
        if came.record is None and held is not None:
            raise held
        if came.record is None:
            reason = came.refused.reason if came.refused is not None else "It does not run."
            raise Conflict(reason, "Trigger the job by hand to run it all the same.")
        if came.created:
            self._streams.tell(came.record.run.run_id, RunState.QUEUED)
            self._supervisor.wake()
        return came.record.run, came.created

    async def _held(self, job: StoredJob | None) -> Conflict | None:
        """Return why a job may not run as its owner now; None when it may."""
        reason = await self._owners.held(job) if job is not None else None
        return Conflict(reason, owning.hint(job)) if reason and job is not None else None

    async def get(self, run_id: str) -> Run:
        """Return a run as it is.

        Raises:
            NotFound: there is none.
        """
        record = await self._store.get(run_id)
        if record is None:
            raise unknown_run(run_id)
        if record.run.state is not RunState.QUEUED:
            return record.run
        return (await self._placed([record.run]))[0]

    async def page(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        job: str | None = None,
        state: RunState | None = None,
        trigger: Trigger | None = None,
        logical_date: datetime | None = None,
        teams: frozenset[str] | None = None,
        owner: str | None = None,
    ) -> Page[Run]:
        """List runs, newest first; `teams` None is everybody's.

        Raises:
            Invalid: the cursor is not one of these.
        """
        after = None
        if cursor is not None:
            at, run_id = decode_cursor(cursor, int, str)
            after = (moment_of_key(at), run_id)
        found = await self._store.page(
            limit=limit + 1,
            after=after,
            job=job,
            state=state,
            trigger=trigger,
            logical_date=logical_date,
            teams=teams,
            owner=owner,
        )
        shown = await self._placed(found[:limit])
        following = None
        if len(found) > limit:
            last = shown[-1]
            following = encode_cursor(key_of_moment(last.created_at), last.run_id)
        return Page(items=tuple(shown), next_cursor=following)

    async def ended(self, owner: str, since: datetime, limit: int) -> list[Run]:
        """List what of an owner's has ended after a moment, the latest first."""
        return await self._store.ended(owner, since, limit)

    async def _placed(self, runs: Sequence[Run]) -> list[Run]:
        """Say of each queued run where it is and why it waits."""
        if not any(run.state is RunState.QUEUED for run in runs):
            return list(runs)
        turns = (await self.queued()).turns

        def placed(run: Run) -> Run:
            turn = turns.get(run.run_id)
            if turn is None or run.state is not RunState.QUEUED:
                return run
            return run.model_copy(update={"queue_position": turn.place, "reason": turn.reason})

        return [placed(run) for run in runs]

    async def queued(self) -> Queued:
        """Return the turn of every run that waits, and how many execute meanwhile."""
        queue = await self._store.queue()
        turns = {
            waiting.run_id: self._supervisor.turn(queue, place)
            for place, waiting in enumerate(queue.waiting, 1)
        }
        return Queued(turns, queue.executing, self._settings.capacity)

    async def recent_states(self, jobs: Sequence[str], count: int = 5) -> dict[str, list[RunState]]:
        """Return the states of each job's last runs, newest first."""
        return await self._store.recent_states(jobs, count)

    async def advice(
        self, *, job: str | None, task: str, notebook: str | None, owner: str | None
    ) -> Advice:
        """Say what is enough for the next run of a job's task, or of an owner's notebook."""
        return advise(
            await self._store.needs(
                job=job, task=task, notebook=notebook, owner=owner, limit=LOOKED_AT
            )
        )

    async def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""
        return await self._store.counts()

    @property
    def capacity(self) -> int:
        return self._settings.capacity

    def directory(self, run_id: str) -> Path:
        """Return where a run keeps its files."""
        return self._settings.directory / run_id

    # ------------------------------------------------------------------------------------- stopping

    async def stop(self, run_id: str, reason: str = "") -> Run:
        """Stop a run, or leave it as it is when it was stopped already or has ended.

        Raises:
            NotFound: there is none.
        """
        now = datetime.now(UTC)
        sentence = reason or "It was asked to stop."

        def stopped(record: RunRecord) -> RunRecord:
            run = record.run
            if run.state.ended or run.stop_requested_at is not None:
                return record
            record = record.changed(stop_requested_at=now, reason=sentence)
            if run.state is RunState.QUEUED:
                return ended(record, RunState.STOPPED, "It was stopped before it started.", now)
            return record

        before, after = await self._store.change(run_id, stopped)
        if after is before or before == after:
            return after.run
        if after.run.state.ended:
            self._streams.complete(after.run)
            self._supervisor.wake()
        else:
            self._streams.tell(run_id, after.run.state, sentence)
            self._supervisor.stop(after)
        return after.run

    # ------------------------------------------------------------------------------------ reporting

    async def sign_in(self, token: str) -> RunToken | None:
        """Tell whose token this is; None when it is no run's, or its run has ended long ago."""
        run_id, dot, _ = token.partition(".")
        if not dot:
            return None
        with self._heard():
            known = await self._store.token(run_id)
        given = hashlib.sha256(token.encode()).hexdigest()
        if known is None or not secrets.compare_digest(known.sha256 or "", given):
            return None
        if datetime.now(UTC) > self._good_until(known):
            return None
        return RunToken(run_id=run_id)

    def _good_until(self, token: TokenRecord) -> datetime:
        if token.finished_at is not None:
            return token.finished_at + _LATE_REPORTS
        settings = self._settings
        if not settings.tokens_expire or token.started_at is None:
            return _NEVER  # a run that does not start is ended by its lease
        seconds = token.time_limit_seconds + settings.stop_grace_seconds
        return token.started_at + timedelta(seconds=seconds) + _LATE_REPORTS

    async def report(self, run_id: str, events: Sequence[Event]) -> int:
        """Take a runner's events; returns the last sequence number that need not be told again.

        Raises:
            Invalid: the events cannot be a runner's.
            NotFound: there is no such run.
        """
        with self._heard():
            return await self._streams.report(run_id, events)

    async def heartbeat(self, run_id: str) -> Heartbeat:
        """Renew a run's lease, and tell its runner whether to stop.

        Raises:
            NotFound: there is no such run.
        """
        until = datetime.now(UTC) + timedelta(seconds=self._settings.lease_seconds)
        with self._heard():
            run = await self._store.renew(run_id, until, self._settings.overrun)
        stop = run.state.ended or run.stop_requested_at is not None
        return Heartbeat(stop=stop, reason=run.reason if stop else "")

    async def executed_by(self, run_id: str, *, late: bool = False) -> Run:
        """Return the run of a runner that asks for something, or hands something over.

        Raises:
            Forbidden: the run has ended, unless it may be `late`.
            NotFound: there is no such run.
        """
        with self._heard():
            record = await self._store.get(run_id)
        if record is None:
            raise unknown_run(run_id)
        if record.run.state.ended and not late:
            raise Forbidden(f"The run {run_id} has ended: nothing is executed for it any more.")
        return record.run

    async def spec(self, run_id: str) -> RunSpec:
        """Tell a runner what to execute; raises as `executed_by`."""
        return self._supervisor.remote_spec(await self.executed_by(run_id))

    async def handed_over(self, run_id: str, artifact: Artifact | None = None) -> None:
        """Write down that a runner has handed over its notebook, or a file that the run left."""
        output = str(self.directory(run_id) / OUTPUT)

        def left(record: RunRecord) -> RunRecord:
            if artifact is None:
                return record.changed(output_path=output)
            if not record.run.state.ended:
                return record  # its files are listed at its end
            others = [each for each in record.run.artifacts if each.path != artifact.path]
            kept = sorted([*others, artifact], key=lambda each: each.path)
            return record.changed(artifacts=tuple(kept))

        with self._heard():
            await self._store.change(run_id, left)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        try:
            yield
        except Unavailable:
            self._supervisor.unheard()
            raise

    # -------------------------------------------------------------------------------------- reading

    def follow(self, run: Run, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield a run's events after an id as (id, JSON) as they come, to its end."""
        return self._streams.follow(run, after)

    def events(self, run: Run, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """Return the events after an id that are there now, and the id to go on from."""
        return self._streams.page(run, after, limit)
