"""Jobs: saved with a diff, paused, triggered, listed with what comes next and what came last."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

from pydantic import Field, JsonValue

from element_jupyter.core.access import Action, Person, Visitor, may, of_team
from element_jupyter.core.audit import note_change
from element_jupyter.core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from element_jupyter.core.job_files import JobStore, changed_fields, scheduled_since
from element_jupyter.core.jobs import (
    Job,
    JobChange,
    JobError,
    StoredJob,
    parameters_by_task,
)
from element_jupyter.core.orchestration import Orchestrator
from element_jupyter.core.pages import Page, decode_cursor, encode_cursor
from element_jupyter.core.runs import Run, RunRequest, RunState, Trigger
from element_jupyter.core.schedules import Fire, WallClock, next_fire
from element_jupyter.core.values import UtcTime, Value
from element_jupyter.service import owners as owning
from element_jupyter.service.job_checks import JobChecks
from element_jupyter.service.owners import Owners


class JobSaved(Value):
    """What saving a job did, or, for a dry run, would do."""

    stored: StoredJob
    change: Literal["created", "updated", "unchanged"]
    diff: str
    """A unified diff of the job's YAML; empty when nothing changed."""
    changed: tuple[str, ...]
    """The dotted paths of what differs; `environment` too when a task has got another one."""


class JobEntry(Value):
    """A job in a list."""

    stored: StoredJob
    next_fire: Fire | None = None
    """None when it is paused, has no schedule by time, or has no fire left."""
    last_runs: tuple[RunState, ...] = ()
    """The states of its last five runs, the newest first."""


class JobPage(Page[JobEntry]):
    """A page of jobs; the first one tells of the files that cannot be read, too."""

    errors: tuple[JobError, ...] = ()


class TriggerRequest(Value):
    """The body of a trigger: what to give to the notebooks instead of what the job says."""

    parameters: Annotated[dict[str, JsonValue], Field(max_length=200)] = Field(default_factory=dict)
    """For a job of one task by name; for a job of several, by task and then by name."""
    logical_date: UtcTime | None = None
    """The instant that the run is for. Default: now."""


class Triggered(Value):
    """What a trigger started."""

    via: Literal["airflow", "element"]
    dag_run_id: str | None = None
    run_id: str | None = None
    """Known at once only when Element started the run itself, since Airflow does not answer."""


class RecentRuns(Protocol):
    """What is known of the last runs of jobs."""

    async def recent_states(self, jobs: Sequence[str]) -> Mapping[str, Sequence[RunState]]:
        """Return the states of the last five runs of each job, the newest first."""
        ...


class Jobs:
    """The jobs, for those who may see and change them."""

    def __init__(
        self,
        store: JobStore,
        checks: JobChecks,
        owners: Owners,
        *,
        recent: RecentRuns,
        orchestrator: Orchestrator,
        start_run: Callable[[RunRequest, Person], Awaitable[Run]],
        clock: WallClock,
        now: Callable[[], datetime],
        fires_here: bool = True,
    ) -> None:
        """Name what jobs are kept, checked and started with.

        Where nothing `fires_here`, jobs with a schedule are refused.
        """
        self._fires_here = fires_here
        self._store = store
        self._checks = checks
        self._owners = owners
        self._recent = recent
        self._orchestrator = orchestrator
        self._start_run = start_run
        self._clock = clock
        self._now = now

    # ------------------------------------------------------------------------------------ reading

    @property
    def count(self) -> int:
        return len(self._store.ids())

    @property
    def error_count(self) -> int:
        """How many job files cannot be read."""
        return len(self._store.errors())

    def get(self, team: str, name: str) -> StoredJob:
        """Return a job as it is.

        Raises:
            NotFound: there is none.
            Conflict: its file has never been readable.
        """
        if stored := self._store.get(team, name):
            return stored
        for error in self._store.errors():
            if (error.team, error.name) == (team, name):
                line = f" line {error.line}," if error.line else ""
                raise Conflict(
                    f"The file of the job '{team}/{name}' cannot be read: {error.message}",
                    f"{error.hint} See{line} {error.path}.".strip(),
                )
        raise _no_job(team, name)

    async def shown(self, team: str, name: str) -> StoredJob:
        """Return a job as it is, with the reason why it does not run, if there is one.

        Raises:
            NotFound, Conflict: as `get`.
        """
        return await self._owners.shown(self.get(team, name))

    async def page(
        self,
        who: Person,
        *,
        team: str | None,
        owner: str | None,
        text: str,
        cursor: str | None,
        limit: int,
    ) -> JobPage:
        """List the jobs that `who` may see, by id."""
        after = decode_cursor(cursor, str)[0] if cursor else ""
        found: list[StoredJob] = []
        for job_id in self._store.ids():
            if job_id > after and _sees(who, job_id, team):
                of, _, name = job_id.partition("/")
                stored = self._store.get(of, name)
                if stored is None or owner not in {None, stored.job.owner}:
                    continue
                if _matches(stored.job, text):
                    found.append(stored)
                    if len(found) > limit:
                        break
        shown = found[:limit]
        states = await self._states([stored.job.id for stored in shown])
        shown = [await self._owners.shown(stored) for stored in shown]
        return JobPage(
            items=tuple(
                JobEntry(
                    stored=stored,
                    next_fire=None if stored.held else self._next_fire(stored.job),
                    last_runs=tuple(states.get(stored.job.id, ())),
                )
                for stored in shown
            ),
            next_cursor=encode_cursor(shown[-1].job.id) if len(found) > limit else None,
            errors=tuple(
                error
                for error in (() if cursor else self._store.errors())
                if _sees(who, f"{error.team}/{error.name}", team)
            ),
        )

    async def _states(self, jobs: Sequence[str]) -> Mapping[str, Sequence[RunState]]:
        return await self._recent.recent_states(jobs) if jobs else {}

    def _next_fire(self, job: Job) -> Fire | None:
        if job.schedule is None or job.paused:
            return None
        return next_fire(job.schedule, self._clock, self._now())

    async def versions(
        self, team: str, name: str, *, cursor: str | None, limit: int
    ) -> Page[StoredJob]:
        """List what a job was, the newest first."""
        self.get(team, name)
        before = decode_cursor(cursor, int)[0] if cursor else None
        kept = await self._store.versions(team, name)
        found = [stored for stored in kept if before is None or stored.version < before]
        more = len(found) > limit
        return Page[StoredJob](
            items=tuple(found[:limit]),
            next_cursor=encode_cursor(found[limit - 1].version) if more else None,
        )

    def version(self, team: str, name: str, number: int) -> StoredJob:
        """Return what a job was.

        Raises:
            NotFound: there is no such version.
        """
        if stored := self._store.get(team, name, number):
            return stored
        raise NotFound(
            f"The job '{team}/{name}' has no version {number}.",
            f"GET /jobs/{team}/{name}/versions lists those there are.",
        )

    async def changes(
        self, who: Person, after: int, *, wait_seconds: float, limit: int
    ) -> Page[JobChange]:
        """List what changed after a sequence number, waiting for something if need be.

        Raises:
            Forbidden: it is for Airflow, and for administrators.
        """
        if who.sees is not None:
            raise Forbidden(
                "Only Airflow and administrators may follow everybody's jobs.",
                "GET /jobs lists those that you may see.",
            )
        found = await self._store.changes(after, wait_seconds=wait_seconds, limit=limit)
        return Page[JobChange](items=tuple(found))

    # ----------------------------------------------------------------------------------- changing

    async def save(
        self, who: Person, job: Job, *, expected_version: int | None, dry_run: bool
    ) -> JobSaved:
        """Create or update a job, or say what that would do.

        Raises:
            Invalid: the job can never work.
            EnvironmentFailed: a task's environment cannot be locked.
            Conflict: it is not at the expected version (0: it is there already).
            Forbidden: its owner, or what it names, is not for `who` to say.
            Unavailable: it has a schedule, and nothing fires here.
        """
        if job.schedule is not None and not self._fires_here:
            raise Unavailable(
                "Nothing would start this job at its time: only what runs notebooks is here.",
                "Start the platform with `element up`, and try again.",
                field="schedule",
            )
        now = self._now()
        before = self._store.get(job.team, job.name)
        if isinstance(who, Visitor) and (before is None or before.job.as_team):
            job = job.model_copy(update={"as_team": True})
        offered_by = await self._owners.check(who, before, job)
        pins = await self._checks.check(job, before, who, now, build=not dry_run)
        if before is None or before.job.tasks != job.tasks:
            await self._check_pools(job)
        if not dry_run:
            saved = await self._store.put(
                job,
                saved_by=who.name,
                now=now,
                expected_version=expected_version,
                pins=pins,
                offered_by=offered_by,
            )
            _note(saved.before, saved.stored)
            return self._saved(saved.before, saved.stored)
        note_change(None, None)
        self._store.expect(job.team, job.name, expected_version)
        if before is not None and (before.job, before.pins, before.offered_by) == (
            *(job, pins),
            offered_by,
        ):
            return self._saved(before, before)
        would = StoredJob(
            job=job,
            version=before.version + 1 if before else 1,
            saved_at=now,
            saved_by=who.name,
            scheduled_since=scheduled_since(before, job, now),
            pins=pins,
            offered_by=offered_by,
        )
        return self._saved(before, would)

    async def _check_pools(self, job: Job) -> None:
        """Refuse a pool that is not there: Airflow would let its tasks wait for ever.

        While Airflow does not answer, any name is taken: a job can be saved without it.
        """
        wanted = [(number, task.pool) for number, task in enumerate(job.tasks) if task.pool]
        if not wanted:
            return
        try:
            pools = await self._orchestrator.pools()
        except Unavailable:
            return
        for number, pool in wanted:
            if pool not in pools:
                field = f"tasks.{number}.pool"
                raise Invalid(
                    f"{field}: Airflow has no pool '{pool}'.",
                    f"It has {', '.join(sorted(pools))}; make one under Admin, Pools.",
                    field=field,
                )

    def _saved(self, before: StoredJob | None, after: StoredJob) -> JobSaved:
        if before is not None and before.version == after.version:
            return JobSaved(stored=after, change="unchanged", diff="", changed=())
        old = self._store.text(before.job) if before else ""
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            self._store.text(after.job).splitlines(keepends=True),
            f"{after.job.id} version {before.version}" if before else "nothing",
            f"{after.job.id} version {after.version}",
        )
        changed = changed_fields(before.job if before else None, after.job)
        if before is not None and before.pins != after.pins and "environment" not in changed:
            changed = (*changed, "environment")
        return JobSaved(
            stored=after,
            change="updated" if before else "created",
            diff="".join(lines),
            changed=changed,
        )

    async def set_paused(
        self, who: Person, team: str, name: str, *, paused: bool, expected_version: int | None
    ) -> StoredJob:
        """Pause a job or let it fire again; fires that came due meanwhile are not made up for.

        An owner who lets a job fire that was handed over has taken it.
        """

        def changed(stored: StoredJob) -> tuple[Job, str | None]:
            held = stored.job
            taken = not paused and who.owns(held.owner, as_team=held.as_team)
            job = stored.job.model_copy(update={"paused": paused})
            return job, None if taken else stored.offered_by

        return await self._changed(who, team, name, changed, expected_version)

    async def hand_over(
        self, who: Person, team: str, name: str, owner: str, *, expected_version: int | None
    ) -> StoredJob:
        """Make somebody the owner of a job; another than `who` has yet to take it.

        Raises:
            NotFound: there is no such job.
            Forbidden: only a lead may make somebody else its owner.
            Invalid: they are not in the team.
        """
        if owner != who.name:
            may(who, Action.MANAGE, of_team(team))
        stored = self.get(team, name)
        given = stored.job.model_copy(update={"owner": owner})
        offered_by = await self._owners.check(who, stored, given)

        def changed(stored: StoredJob) -> tuple[Job, str | None]:
            return stored.job.model_copy(update={"owner": owner}), offered_by

        return await self._changed(who, team, name, changed, expected_version)

    async def _changed(
        self,
        who: Person,
        team: str,
        name: str,
        change: Callable[[StoredJob], tuple[Job, str | None]],
        expected_version: int | None,
    ) -> StoredJob:
        while True:
            stored = self.get(team, name)
            job, offered_by = change(stored)
            same = (job, offered_by) == (stored.job, stored.offered_by)
            if same and expected_version in {None, stored.version}:
                _note(stored, stored)
                return await self._owners.shown(stored)
            try:
                saved = await self._store.put(
                    job,
                    saved_by=who.name,
                    now=self._now(),
                    expected_version=stored.version
                    if expected_version is None
                    else expected_version,
                    offered_by=offered_by,
                )
            except Conflict:
                if expected_version is not None:
                    raise
                continue  # somebody saved it meanwhile: change what it is now
            _note(stored, saved.stored)
            return await self._owners.shown(saved.stored)

    async def delete(
        self, who: Person, team: str, name: str, *, expected_version: int | None
    ) -> None:
        """Remove a job; its runs stay.

        Raises:
            NotFound: there is none.
            Forbidden: it is somebody else's, and `who` is no lead of the team.
        """
        stored = self._store.get(team, name)
        if stored and not who.owns(stored.job.owner, as_team=stored.job.as_team):
            may(who, Action.MANAGE, of_team(team))
        if not await self._store.delete(team, name, expected_version=expected_version):
            raise _no_job(team, name)
        _note(stored, None)

    # --------------------------------------------------------------------------------- triggering

    async def trigger(self, who: Person, team: str, name: str, asked: TriggerRequest) -> Triggered:
        """Start a job now: as a DAG run, or by itself when Airflow does not answer.

        Raises:
            Invalid: a parameter that the notebooks do not take.
            Conflict: it does not run as its owner.
            Unavailable: Airflow does not answer, and the job has several tasks.
        """
        stored = self.get(team, name)
        job, now = stored.job, self._now()
        if reason := await self._owners.held(stored):
            raise Conflict(reason, owning.hint(stored))
        logical_date = asked.logical_date or now
        await self._checks.check_given(job, parameters_by_task(job, asked.parameters), now)
        try:
            dag_run_id = await self._orchestrator.trigger(
                job.dag_id, logical_date=logical_date, conf={"parameters": asked.parameters}
            )
        except (Unavailable, NotFound) as error:
            if len(job.tasks) > 1:
                raise Unavailable(
                    f"Airflow cannot start '{job.id}' now: {error.message}",
                    "A job of several tasks needs it. Try again in a moment; `element status` tells"
                    " how Airflow is.",
                ) from error
            run = await self._start_run(
                RunRequest(
                    job=job.id,
                    task=job.tasks[0].name,
                    version=stored.version,
                    parameters=asked.parameters,
                    trigger=Trigger.MANUAL,
                    logical_date=logical_date,
                ),
                who,
            )
            return Triggered(via="element", run_id=run.run_id)
        return Triggered(via="airflow", dag_run_id=dag_run_id)


def _note(before: StoredJob | None, after: StoredJob | None) -> None:
    """Tell the audit what a job was and is; its versions hold the whole of it."""

    def told(stored: StoredJob | None) -> JsonValue:
        if stored is None:
            return None
        job = stored.job
        return {"version": stored.version, "owner": job.owner, "paused": job.paused}

    note_change(told(before), told(after))


def _sees(who: Person, job_id: str, team: str | None) -> bool:
    of = job_id.partition("/")[0]
    return team in {None, of} and who.is_in(of)


def _matches(job: Job, text: str) -> bool:
    if not text:
        return True
    said = (job.id, job.title, job.description, job.owner, *(task.notebook for task in job.tasks))
    return all(any(word in part.casefold() for part in said) for word in text.casefold().split())


def _no_job(team: str, name: str) -> NotFound:
    return NotFound(
        f"There is no job '{team}/{name}'.", "`element jobs list` shows those there are."
    )
