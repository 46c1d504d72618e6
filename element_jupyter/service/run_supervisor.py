"""What keeps runs going: admission, processes, leases, stops, and whatever died meanwhile.

Nothing here polls. Admission wakes when a run was added or has ended; a process is watched through
the kernel's own word about it; leases are looked at when the next one ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from element_jupyter.core.admission import Queue, Turn, told
from element_jupyter.core.errors import Conflict, ElementError, Unavailable
from element_jupyter.core.progress import RunRecord, ended, ended_silently, past_limit
from element_jupyter.core.provisioning import ProcessExit, ProcessRef, Provisioner
from element_jupyter.core.quotas.allocations import Claim
from element_jupyter.core.runs import Run, RunSpec, RunState
from element_jupyter.service import run_metrics
from element_jupyter.service.owners import Owners
from element_jupyter.service.run_files import OUTPUT
from element_jupyter.service.run_ports import RunQuotas, RunSettings, RunStore, Streams
from element_jupyter.service.run_streams import RunStreams

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_SECONDS: Final = 1.0
"""Between attempts while the database is away."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
_LOOK_AGAIN_SECONDS: Final = 15.0
"""While a limit keeps something waiting, which time or an administrator may change."""
_LINGER_SECONDS: Final = 60.0
"""How long the process of a run that has told its outcome may take to end."""


@dataclass(frozen=True)
class _Over:
    """Why a run waits that has a place."""

    limit: object
    sentence: str
    frees_at: datetime | None = None


class Supervisor:
    """Starts what is admitted, watches it, and ends what must end."""

    def __init__(
        self,
        settings: RunSettings,
        store: RunStore,
        streams: Streams,
        provisioner: Provisioner,
        owners: Owners,
        *,
        quotas: RunQuotas | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._provisioner = provisioner
        self._owners = owners
        self._quotas = quotas
        self._over: dict[str, _Over] = {}
        self.streams = RunStreams(settings, store, streams, self._has_ended)
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._killed: set[str] = set()
        self._places: dict[str, tuple[int, object]] = {}
        self._admission = asyncio.Event()
        self._leases = asyncio.Event()
        self._unheard_until = _LONG_AGO
        self._look_at = _NEVER
        self._admits = True

    # ---------------------------------------------------------------------------- life of its own

    async def start(self) -> None:
        """Take over the runs that are there, and begin to admit others.

        Raises:
            Unavailable: the database does not answer.
        """
        await self._store.renew_all(_in(self._settings.lease_seconds))
        for record in await self._store.executing():
            self._adopt(record)
        self._spawn(self._forever(self._admit, self._admission))
        self._spawn(self._forever(self._reap, self._leases))
        self._spawn(self._tidy())
        self.wake()

    async def close(self) -> None:
        """Stop watching; the runs go on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Look at the queue again: something was added to it, or has made room."""
        self._admission.set()

    def admit_no_more(self) -> None:
        """Leave in the queue what is there, whatever room is made from now on."""
        self._admits = False

    def directory(self, run_id: str) -> Path:
        return self._settings.directory / run_id

    def unheard(self) -> None:
        """Say that a runner may have called in vain: no lease ends for that."""
        self._unheard_until = _in(self._settings.lease_seconds)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the run supervisor failed", exc_info=error)

    async def _forever(
        self, work: Callable[[], Awaitable[float | None]], event: asyncio.Event
    ) -> None:
        """Do the work whenever it is asked for, or the time has come that it returned."""
        pause: float | None = None
        while True:
            with suppress(TimeoutError):
                # not `wait_for`, which may lose a cancellation in Python 3.11
                async with asyncio.timeout(pause):
                    await event.wait()
            event.clear()
            try:
                pause = await work()
            except Unavailable:
                self.unheard()
                pause = _RETRY_SECONDS
            except Exception:
                # one bad round must not be the last: every run depends on these loops
                log.exception("a round of the run supervisor failed")
                pause = _RETRY_SECONDS

    # ----------------------------------------------------------------------------------- admission

    async def _admit(self) -> float | None:
        """Let start what may; returns when to look again, where a limit keeps something waiting."""
        settings = self._settings
        capacity = settings.capacity if self._admits else 0
        claims, over = await self._claims()
        until = _in(settings.provision_seconds)
        admitted = await self._store.admit(capacity, until, claims)
        if self._quotas is not None:
            for run_id, refusal in admitted.refused.items():
                said = self._quotas.waits_for(refusal)
                over[run_id] = _Over(refusal.bound, said, refusal.frees_at)
        self._over = over
        for record in admitted.records:
            self.streams.tell(record.run.run_id, RunState.STARTING)
            self._watch(record.run.run_id, self._provision(record))
        self._leases.set()
        await self._tell_places()
        return _LOOK_AGAIN_SECONDS if over else None

    async def _claims(self) -> tuple[dict[str, Claim] | None, dict[str, _Over]]:
        """Return what the next runs need, and why that cannot be said of some."""
        if self._quotas is None:
            return None, {}
        claims: dict[str, Claim] = {}
        unclear: dict[str, _Over] = {}
        now = datetime.now(UTC)
        for run in await self._store.candidates():
            try:
                claims[run.run_id] = await self._quotas.claim(run, now)
            except ElementError as error:
                unclear[run.run_id] = _Over(None, f"{error.message} {error.hint}".strip())
        return claims, unclear

    def turn(self, queue: Queue, place: int) -> Turn:
        """Say why the run at a place of the queue (1 is next) waits."""
        over = self._over.get(queue.waiting[place - 1].run_id)
        if over is not None:
            return Turn(place, over.sentence, fits=False, frees_at=over.frees_at)
        return Turn(place, queue.place(place, self._settings.capacity), fits=True)

    async def _tell_places(self) -> None:
        queue = await self._store.queue()
        run_metrics.QUEUE.set(len(queue.waiting))
        run_metrics.RUNS.labels("queued").set(len(queue.waiting))
        run_metrics.RUNS.labels("executing").set(queue.executing)
        places = {waiting.run_id: place for place, waiting in enumerate(queue.waiting, 1)}
        stand: dict[str, tuple[int, object]] = {}
        for run_id, place in places.items():
            over = self._over.get(run_id)
            stand[run_id] = place, over and over.limit
            before = self._places.get(run_id)
            # the numbers of a limit change all the time, which is not news
            news = before is not None and before[0] == place
            if before != stand[run_id] and (news or told(place)):
                self.streams.tell(run_id, RunState.QUEUED, self.turn(queue, place).reason, place)
        self._places = stand

    # ---------------------------------------------------------------------------------- processes

    def _adopt(self, record: RunRecord) -> None:
        run_id = record.run.run_id
        if record.process is None:
            self._watch(run_id, self._provision(record))
            return
        self._watch(run_id, self._see_through(run_id, record.process))
        if record.run.stop_requested_at is not None:
            self.stop(record)

    def _watch(self, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        if run_id in self._watched:
            work.close()
            return
        task = self._watched[run_id] = self._spawn(self._until_recorded(work))
        task.add_done_callback(lambda _: self._watched.pop(run_id, None))

    async def _until_recorded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Unavailable:
            # the lease decides, once the database is back
            self.unheard()
            log.warning("the database went away while a run was looked after")

    async def _provision(self, record: RunRecord) -> None:
        """Start a run's process and see it through; an error ends the run, with its reason."""
        run_id = record.run.run_id
        try:
            await self._owners.check_start(record.run)
            spec = await self._retry(lambda: self._specify(record))
            process = await self._provisioner.start(spec, self.directory(run_id))
        except Conflict as error:
            log.info("%s: %s", run_id, error.message)
            return
        except ElementError as error:
            await self._end(run_id, RunState.FAILED, f"{error.message} {error.hint}".strip())
            return
        except Exception as error:
            log.exception("%s could not be started", run_id)
            await self._end(run_id, RunState.FAILED, f"It could not be started: {error}")
            return
        until = _in(self._settings.start_seconds)

        def started(now: RunRecord) -> RunRecord:
            known = now.model_copy(update={"process": process})
            if now.run.state is RunState.STARTING:
                return known.model_copy(update={"lease_until": until})
            return now if now.run.state.ended else known

        _, after = await self._retry(lambda: self._store.change(run_id, started))
        self._leases.set()
        if after.run.state.ended:
            self._spawn(self._end_process(run_id, process, 0))
        elif after.run.stop_requested_at is not None:
            self.stop(after)
        await self._see_through(run_id, process)

    async def _specify(self, record: RunRecord) -> RunSpec:
        run, settings = record.run, self._settings
        directory = self.directory(run.run_id)
        token_file = directory / "token"
        token = await asyncio.to_thread(_token, token_file, run.run_id)
        digest = hashlib.sha256(token.encode()).hexdigest()
        await self._store.change(
            run.run_id, lambda now: now.model_copy(update={"token_sha256": digest})
        )
        data = settings.data_directory
        return self.remote_spec(run).model_copy(
            update={
                "project_directory": str(directory / "project"),
                "output_directory": str(directory),
                "blob_url": settings.blob_url,
                "data_directory": str(data) if data else None,
                "report_url": f"{settings.url()}/runs/{run.run_id}",
                "token_file": str(token_file),
            }
        )

    def remote_spec(self, run: Run) -> RunSpec:
        """Return what a runner is told that sees nothing of the control plane's files."""
        settings = self._settings
        return RunSpec(
            run_id=run.run_id,
            owner=run.account,
            team=run.team,
            size=run.size,
            notebook=run.notebook,
            project_directory="project",
            output_directory=".",
            parameters=run.parameters,
            allow_extra_parameters=run.allow_extra_parameters,
            kernel=run.kernel,
            time_limit_seconds=run.time_limit_seconds,
            cell_time_limit_seconds=run.cell_time_limit_seconds,
            stop_grace_seconds=settings.stop_grace_seconds,
            snapshot_id=run.snapshot_id,
            data_directory="." if settings.data_directory else None,
            environment_id=run.environment_id,
            lock_id=run.lock_id,
            definition=run.definition or "",
            python=run.python or "",
            environment_pointer=run.environment,
            heartbeat_seconds=settings.lease_seconds / 6,
            environment={"ELEMENT_RUN_ID": run.run_id},
        )

    async def _see_through(self, run_id: str, process: ProcessRef) -> None:
        """Watch a process to its end, and the run's."""
        exit_ = await self._provisioner.wait(process)
        await self._retry(lambda: self._settle(run_id, process, exit_))

    async def _settle(self, run_id: str, process: ProcessRef | None, exit_: ProcessExit) -> None:
        """Find out what became of a run whose process is gone, and tidy up after it."""
        await self.streams.take_file(run_id)
        directory = self.directory(run_id)
        # what the kernel left behind must not write into artifacts that are being listed
        await asyncio.to_thread(self._provisioner.kill, process, run_id)
        artifacts = await asyncio.to_thread(self._provisioner.artifacts, directory)
        output = directory / OUTPUT
        written = str(output) if await asyncio.to_thread(output.is_file) else None

        def settled(record: RunRecord) -> RunRecord:
            if record.run.state.ended:
                return record
            record = record.changed(
                artifacts=artifacts, output_path=record.run.output_path or written
            )
            return ended_silently(record, exit_, datetime.now(UTC), killed=run_id in self._killed)

        await self._conclude(run_id, settled)
        self._killed.discard(run_id)

    # --------------------------------------------------------------------------------------- ending

    async def _end(self, run_id: str, state: RunState, reason: str) -> None:
        await self._conclude(run_id, lambda record: ended(record, state, reason, datetime.now(UTC)))

    async def _conclude(self, run_id: str, change: Callable[[RunRecord], RunRecord]) -> None:
        """End a run that has no process (any more), and tidy up after it."""
        before, after = await self._store.change(run_id, change)
        if after.run.state.ended and not before.run.state.ended:
            self._has_ended(after)
        if after.run.state.ended:
            self.streams.complete(after.run)
            await self._provisioner.clean(self.directory(run_id))
            await asyncio.to_thread((self.directory(run_id) / "token").unlink, missing_ok=True)
            await self.streams.compact(after.run)

    def _has_ended(self, record: RunRecord) -> None:
        """Do what the end of a run allows; called once for each, as soon as it is recorded."""
        run_metrics.observe_end(record.run)
        self._places.pop(record.run.run_id, None)
        self.wake()
        if record.process is not None and record.run.run_id in self._watched:
            self._spawn(self._end_process(record.run.run_id, record.process, _LINGER_SECONDS))

    def stop(self, record: RunRecord) -> None:
        """Tell a process to stop, and see that it does."""
        if record.process is not None:
            self._provisioner.stop(record.process)
            settings = self._settings
            patience = settings.stop_grace_seconds + settings.kill_after_seconds
            self._spawn(self._end_process(record.run.run_id, record.process, patience))

    async def _end_process(self, run_id: str, process: ProcessRef, patience_seconds: float) -> None:
        watching = self._watched.get(run_id)
        if watching is not None:
            await asyncio.wait([watching], timeout=patience_seconds)
        if self._provisioner.alive(process):
            self._killed.add(run_id)
            await asyncio.to_thread(self._provisioner.kill, process, run_id)

    # --------------------------------------------------------------------------------------- leases

    async def _reap(self) -> float | None:
        """End runs that were not heard of; returns the seconds until the next may be due."""
        now = datetime.now(UTC)
        if now > self._look_at + timedelta(seconds=self._settings.lease_seconds / 4):
            # this process slept through it, and so may all runners have
            self.unheard()
        if now < self._unheard_until:
            await self._store.renew_all(self._unheard_until)
        for record in await self._store.expired(now):
            await self._expire(record)
        deadline = await self._store.next_deadline()
        if deadline is None:
            self._look_at = _NEVER
            return None
        pause = max(_RETRY_SECONDS, (deadline - datetime.now(UTC)).total_seconds())
        # a heartbeat may bring the deadline of a start nearer
        pause = min(pause, self._settings.lease_seconds)
        self._look_at = _in(pause)
        return pause

    async def _expire(self, record: RunRecord) -> None:
        run_id, process, settings = record.run.run_id, record.process, self._settings
        watched = run_id in self._watched
        if process is None and watched:
            reason = f"It could not be started within {settings.provision_seconds:g} seconds."
            await self._give_up(run_id, None, RunState.FAILED, reason)
        elif process is None:
            # whoever was to start it is gone
            until = _in(settings.provision_seconds)
            await self._store.change(
                run_id, lambda now: now.model_copy(update={"lease_until": until})
            )
            self._watch(run_id, self._provision(record))
        elif not self._provisioner.alive(process):
            if not watched:
                await self._settle(run_id, process, ProcessExit())
        else:
            await self.streams.take_file(run_id)
            run_metrics.LEASES_LOST.inc()
            limit = (
                f"within {settings.start_seconds:g} seconds of its start"
                if record.run.state is RunState.STARTING
                else f"for {settings.lease_seconds:g} seconds"
            )
            state, reason = RunState.LOST, f"The runner was not heard of {limit}."
            if past_limit(record.run, settings.overrun, datetime.now(UTC)):
                state, reason = RunState.FAILED, "It ran past its time limit, and was killed."
            await self._give_up(run_id, process, state, reason)

    async def _give_up(
        self, run_id: str, process: ProcessRef | None, state: RunState, reason: str
    ) -> None:
        """End a run whose lease has ended, and then what may be left of it."""

        def given_up(current: RunRecord) -> RunRecord:
            now = datetime.now(UTC)
            if current.lease_until is not None and current.lease_until > now:
                return current  # it was heard of since
            return ended(current, state, reason, now)

        before, after = await self._store.change(run_id, given_up)
        if after.run.state.ended:
            if not before.run.state.ended:
                self._has_ended(after)
            self.streams.complete(after.run)
            await asyncio.to_thread(self._provisioner.kill, process, run_id)

    async def _retry(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, again and again while the database is away."""
        while True:
            try:
                return await work()
            except Unavailable:
                self.unheard()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _tidy(self) -> None:
        """Remove what a killed service could not: the projects of runs that have ended."""
        for run_id in await asyncio.to_thread(self._with_project):
            with suppress(Unavailable):
                record = await self._store.get(run_id)
                # a run that is not known here may be another control plane's
                if record is not None and record.run.state.ended:
                    await self._provisioner.clean(self.directory(run_id))

    def _with_project(self) -> list[str]:
        return [path.parent.name for path in self._settings.directory.glob("r-*/project")]


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _token(path: Path, run_id: str) -> str:
    """Return the run's own token, made when it is first asked for."""
    with suppress(FileNotFoundError):
        if known := path.read_text():
            return known
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = f"{run_id}.{secrets.token_urlsafe(32)}"
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return token
