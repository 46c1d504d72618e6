"""From a request to a run: what its job, its task and the limits make of it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from element_jupyter.core import admission
from element_jupyter.core.access import Action, Person, Scheduler, Visitor, may, of_team
from element_jupyter.core.errors import Forbidden, Invalid, NotFound
from element_jupyter.core.fires import Ask
from element_jupyter.core.jobs import Job, JobTask, Parameters, StoredJob
from element_jupyter.core.notebooks import ORDINARY_KERNEL
from element_jupyter.core.progress import RunRecord, pinned
from element_jupyter.core.runs import Run, RunRequest, RunState
from element_jupyter.core.schedules import OnAsset, WallClock, next_fire
from element_jupyter.core.values import slug
from element_jupyter.service.run_ports import JobSource, RunSettings, RunStore

_EARLY = timedelta(minutes=1)
"""How far a caller's clock may be ahead of this one."""


@dataclass(frozen=True)
class Wanted:
    """A run that is asked for, and the fire that it is for."""

    record: RunRecord
    ask: Ask | None
    job: StoredJob | None = None
    """The version of the job that it is of."""


class Requests:
    """Makes runs of requests."""

    def __init__(
        self, settings: RunSettings, store: RunStore, jobs: JobSource, clock: WallClock
    ) -> None:
        self._settings = settings
        self._store = store
        self._jobs = jobs
        self._clock = clock

    async def wanted(self, request: RunRequest, who: Person, now: datetime) -> Wanted:
        """Resolve everything that a request leaves to its job.

        Raises:
            Invalid: it contradicts itself or names what the job does not have.
            NotFound: there is no such job, version or task.
            Forbidden: `who` may not run it.
            Conflict: an input is not there yet.
        """
        admission.refuse_control_characters(
            {
                "job": request.job,
                "kernel": request.kernel,
                "environment": request.environment,
                "dag_run_id": request.dag_run_id,
                "idempotency_key": request.idempotency_key,
            }
        )
        if request.due_at is not None and request.due_at > now + _EARLY:
            raise Invalid("due_at: the fire has not come due yet.", field="due_at")
        if request.job is None:
            return Wanted(self._of_notebook(request, who, now), None)
        return await self._of_job(request, who, now)

    def _of_notebook(self, request: RunRequest, who: Person, now: datetime) -> RunRecord:
        if isinstance(who, Scheduler):
            raise Forbidden("Airflow starts runs of jobs, and no other notebook.", field="job")
        for field in ("notebook", "snapshot_id"):
            if getattr(request, field) is None:
                raise Invalid(
                    f"{field}: it is required, since no job is given.",
                    "Give a job and its task, or a notebook and a snapshot_id.",
                    field=field,
                )
        for field in ("version", "dag_run_id", "due_at"):
            if getattr(request, field) is not None:
                raise Invalid(f"{field}: only a run of a job has one.", field=field)
        visited = who.team if isinstance(who, Visitor) else None
        team = request.team or visited or slug(who.name)
        may(who, Action.RUN, of_team(team))
        run_id = new_run_id(now)
        run = Run(
            **self._limits(request, None),
            run_id=run_id,
            team=team,
            owner=who.name,
            as_team=visited is not None,
            notebook=request.notebook or "",
            snapshot_id=request.snapshot_id or "",
            environment=request.environment,
            parameters=admission.render(
                request.parameters, run_id=run_id, logical_date=request.logical_date or now
            ),
            logical_date=request.logical_date,
            created_at=now,
        )
        return RunRecord(run=run)

    async def _of_job(self, request: RunRequest, who: Person, now: datetime) -> Wanted:
        for field in ("notebook", "snapshot_id", "team", "environment"):
            if getattr(request, field) is not None:
                raise Invalid(f"{field}: the job says it already.", field=field)
        stored = self._job(request, who)
        job = stored.job
        task = job.task(request.task)
        if task is None:
            names = ", ".join(task.name for task in job.tasks)
            raise NotFound(
                f"The job {job.id} has no task '{request.task}'.",
                f"It has: {names}.",
                field="task",
            )
        _refuse_other_ways(request, task, job, who)
        logical_date = request.logical_date or request.due_at
        run_id = new_run_id(now)
        given = task.parameters | await self._inputs(job, task, request) | request.parameters
        pin = stored.pins.get(task.name)
        if self._settings.data_directory is None or not _same_kernel(request, task):
            pin = None
        run = Run(
            **self._limits(request, task),
            **pinned(pin),
            run_id=run_id,
            job=job.id,
            job_version=stored.version,
            task=task.name,
            team=job.team,
            owner=job.owner,
            as_team=job.as_team,
            notebook=task.notebook,
            snapshot_id=job.snapshot_id,
            environment=job.environment,
            parameters=admission.render(
                given, run_id=run_id, logical_date=logical_date or now, schedule=job.schedule
            ),
            logical_date=logical_date,
            dag_run_id=request.dag_run_id,
            created_at=now,
        ).model_copy(update={"size": request.size or job.size})
        record = RunRecord(run=run, due_at=request.due_at, max_active=job.max_active)
        # an older version may run, but whether and how often is the present one's to say
        current = self._jobs.get(job.team, job.name) or stored
        return Wanted(record, self._ask(current, request.due_at), stored)

    def _job(self, request: RunRequest, who: Person) -> StoredJob:
        team, slash, name = (request.job or "").partition("/")
        if not (team and slash and name) or slug(team) != team or slug(name) != name:
            raise Invalid("job: it must be 'team/name'.", field="job")
        may(who, Action.RUN, of_team(team))
        stored = self._jobs.get(team, name, request.version)
        if stored is not None:
            return stored
        if request.version is not None and self._jobs.get(team, name) is not None:
            raise NotFound(
                f"The job {team}/{name} has no version {request.version}.", field="version"
            )
        raise NotFound(
            f"There is no job {team}/{name}.",
            "`element jobs list` shows those there are.",
            field="job",
        )

    async def _inputs(self, job: Job, task: JobTask, request: RunRequest) -> Parameters:
        """Look up the inputs that the request does not give itself."""
        wanted = {
            parameter: reference
            for parameter, reference in task.inputs.items()
            if parameter not in request.parameters
        }
        if not wanted:
            return {}
        if request.dag_run_id is None:
            raise Invalid(
                f"parameters: task '{task.name}' takes {_listed(sorted(wanted))} from other tasks.",
                "Give dag_run_id, so that their runs are found, or give the values themselves.",
                field="parameters",
            )
        sources = sorted({reference.partition(":")[0] for reference in wanted.values()})
        recorded = await self._store.recorded(job.id, request.dag_run_id, sources)
        return dict(admission.inputs(task.model_copy(update={"inputs": wanted}), recorded))

    def _limits(self, request: RunRequest, task: JobTask | None) -> dict[str, Any]:
        """Return what a run has of its request, within the limits of its task and of this place."""
        settings = self._settings
        extra = request.allow_extra_parameters
        limit, cell_limit = request.time_limit_seconds, request.cell_time_limit_seconds
        kernel = request.kernel
        if task is not None:
            extra = task.allow_extra_parameters if extra is None else extra
            limit = limit or task.time_limit_seconds
            cell_limit = cell_limit or task.cell_time_limit_seconds
            kernel = kernel or task.kernel
        longest = settings.max_time_limit_seconds
        return {
            "state": RunState.QUEUED,
            "allow_extra_parameters": bool(extra),
            "kernel": kernel,
            "size": request.size,
            "time_limit_seconds": min(limit or settings.default_time_limit_seconds, longest),
            "cell_time_limit_seconds": min(cell_limit, longest) if cell_limit else None,
            "trigger": request.trigger,
            "attempt": request.attempt,
        }

    def _ask(self, stored: StoredJob, due_at: datetime | None) -> Ask | None:
        if due_at is None:
            return None
        job = stored.job
        following = None
        if job.schedule is not None and not isinstance(job.schedule, OnAsset):
            following = next_fire(job.schedule, self._clock, due_at)
        return Ask(
            job=job.id,
            due_at=due_at,
            policy=job.catch_up,
            max_active=job.max_active,
            next_due=following.at if following else None,
            paused=job.paused,
        )


def _refuse_other_ways(request: RunRequest, task: JobTask, job: Job, who: Person) -> None:
    """Return when the owner's notebook is executed as the owner has said.

    Raises:
        Forbidden: only the owner may have it executed in another way.
    """
    wider = request.allow_extra_parameters and not task.allow_extra_parameters
    other = wider or not _same_kernel(request, task)
    # what executes as the team is every member's
    if other and not (who.admin or job.as_team or who.owns(job.owner, as_team=job.as_team)):
        field = "allow_extra_parameters" if wider else "kernel"
        raise Forbidden(
            f"{field}: '{job.id}' runs as {job.owner}, and this is only {job.owner}'s to change.",
            "Leave it out.",
            field=field,
        )


def _same_kernel(request: RunRequest, task: JobTask) -> bool:
    """Tell whether the pin of a task holds for the kernel that is asked for."""
    asked = request.kernel
    return asked is None or asked == task.kernel or asked.lower() == ORDINARY_KERNEL


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_last = (0, 0)
_lock = threading.Lock()


def new_run_id(now: datetime) -> str:
    """Return `r-` and a ULID in lower case; those that one process makes always rise."""
    global _last  # noqa: PLW0603 - the last one made, under a lock
    with _lock:
        milliseconds = int(now.timestamp() * 1000)
        if milliseconds <= _last[0]:
            _last = (_last[0], _last[1] + 1)
        else:
            # a bit is left free, so that counting up never overflows into the time
            _last = (milliseconds, secrets.randbits(79))
        number = _last[0] << 80 | _last[1]
    return "r-" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
