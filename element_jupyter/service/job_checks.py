"""Whether a job can work: asked before it is saved, so that it does not fail at night."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from element_jupyter.core import schedules
from element_jupyter.core.access import Action, Person, may, of_team
from element_jupyter.core.admission import render
from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.core.jobs import Job, JobTask, StoredJob
from element_jupyter.core.notebooks import (
    MAX_NOTEBOOK_BYTES,
    check_parameters,
    kernel_of,
    names_are_checked,
    parameters_of,
    parse_notebook,
)
from element_jupyter.core.parameters import Parameter
from element_jupyter.core.runs import Run, RunRequest
from element_jupyter.core.schedules import OnAsset, Schedule, WallClock
from element_jupyter.core.snapshots import Blobs, Manifest, SnapshotLimits, keep

_SOME_RUN = "r-00000000000000000000000000"


@dataclass(frozen=True)
class Declared:
    """What a notebook takes."""

    parameters: tuple[Parameter, ...]
    names_are_checked: bool
    kernel: str | None


class JobChecks:
    """Checks jobs against what is stored and configured."""

    def __init__(
        self,
        blobs: Blobs,
        clock: WallClock,
        *,
        exists: Callable[[str], bool],
        kernels: Callable[[], frozenset[str]],
        limits: SnapshotLimits,
        max_time_limit_seconds: int,
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._exists = exists
        self._kernels = kernels
        self._limits = limits
        self._max_time_limit_seconds = max_time_limit_seconds
        # parsing a large notebook holds the interpreter; saving a job again must not
        self._declared = lru_cache(maxsize=500)(self._read_declared)

    async def check(self, job: Job, before: StoredJob | None, who: Person, now: datetime) -> None:
        """Return when the job may be saved by `who`.

        Raises:
            Invalid: it can never work; `field` says where.
            Forbidden: it names what is not theirs.
        """
        for limit, field in _limits(job):
            self._check_limit(limit, field)
        self.check_schedule(job, before, now)
        if isinstance(job.schedule, OnAsset):
            self._check_assets(job, job.schedule, who)
        if before is None or (before.job.snapshot_id, before.job.tasks) != (
            job.snapshot_id,
            job.tasks,
        ):
            await asyncio.to_thread(self._check_tasks, job, now)

    def check_schedule(self, job: Job, before: StoredJob | None, now: datetime) -> None:
        """Return when the schedule fires, or is what it was.

        Raises:
            Invalid: it never fires, or is malformed.
        """
        if job.schedule is not None and (before is None or before.job.schedule != job.schedule):
            schedules.check(job.schedule, self._clock, now)

    async def check_given(
        self, job: Job, given: Mapping[str, Mapping[str, JsonValue]], now: datetime
    ) -> None:
        """Return when these parameters, by task, may be given to the job's notebooks.

        Raises:
            Invalid: a name or a value that a notebook does not take.
        """

        def check() -> None:
            manifest = self._manifest(job.snapshot_id)
            for task in job.tasks:
                if task.name in given:
                    changed = task.model_copy(
                        update={"parameters": {**task.parameters, **given[task.name]}}
                    )
                    self._check_task(changed, job.schedule, manifest, now)

        await asyncio.to_thread(check)

    async def check_run(self, run: Run, request: RunRequest, now: datetime) -> None:
        """Return when a run may be queued; what its job says was checked when it was saved.

        Raises:
            Invalid: its snapshot, notebook, kernel, parameters or limits can never work.
        """
        for field in ("time_limit_seconds", "cell_time_limit_seconds"):
            self._check_limit(getattr(request, field) or 0, field)
        if run.job is not None and not request.parameters and request.kernel is None:
            return
        task = JobTask(
            notebook=run.notebook,
            parameters=run.parameters,
            allow_extra_parameters=run.allow_extra_parameters,
            kernel=run.kernel,
        )

        def check() -> None:
            self._check_task(task, None, self._manifest(run.snapshot_id), now)

        await asyncio.to_thread(check)

    def _check_limit(self, seconds: int, field: str) -> None:
        if seconds > self._max_time_limit_seconds:
            raise Invalid(
                f"{field}: at most {self._max_time_limit_seconds:,} seconds are allowed here.",
                "An administrator can raise Element.max_time_limit_seconds.",
                field=field,
            )

    def _check_assets(self, job: Job, schedule: OnAsset, who: Person) -> None:
        for number, other in enumerate(schedule.jobs):
            field = f"schedule.jobs.{number}"
            if other == job.id:
                raise Invalid(f"{field}: a job cannot wait for itself.", field=field)
            may(who, Action.READ, of_team(other.partition("/")[0]))
            if not self._exists(other):
                raise Invalid(
                    f"{field}: there is no job '{other}'.", "Save that one first.", field=field
                )

    def _manifest(self, snapshot_id: str) -> Manifest:
        try:
            return keep(self._blobs, snapshot_id)
        except NotFound as error:
            raise Invalid(
                f"snapshot_id: the snapshot {snapshot_id[:12]}… is not stored, or not whole.",
                error.hint or "Upload it first: POST /snapshots/missing says what is needed.",
                field="snapshot_id",
            ) from error

    def _check_tasks(self, job: Job, now: datetime) -> None:
        manifest = self._manifest(job.snapshot_id)
        self._limits.check(manifest)
        for number, task in enumerate(job.tasks):
            try:
                self._check_task(task, job.schedule, manifest, now)
            except Invalid as error:
                field = f"tasks.{number}.{error.field}" if error.field else f"tasks.{number}"
                raise Invalid(f"{field}: {error.message}", error.hint, field=field) from error

    def _check_task(
        self, task: JobTask, schedule: Schedule | None, manifest: Manifest, now: datetime
    ) -> None:
        digests = {entry.path: entry.digest for entry in manifest.entries if entry.link is None}
        targets = manifest.link_targets()
        path = targets.get(task.notebook, task.notebook)
        if path not in digests:
            raise _no_notebook(task.notebook, [path for path in digests if path.endswith(".ipynb")])
        declared = self._declared(digests[path])
        kernel = task.kernel or declared.kernel
        if kernel is not None and kernel.lower() not in (kernels := self._kernels()):
            raise Invalid(
                f"There is no kernel '{kernel[:100]}' here.",
                f"Installed: {', '.join(sorted(kernels))}.",
                field="kernel",
            )
        free = task.allow_extra_parameters or not declared.names_are_checked
        values = render(task.parameters, run_id=_SOME_RUN, logical_date=now, schedule=schedule)
        check_parameters(declared.parameters, values, allow_extra=free)
        names = {parameter.name for parameter in declared.parameters}
        for name in task.inputs:
            if not free and name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise Invalid(
                    f"The notebook has no parameter '{name}'.",
                    f"Did you mean '{near[0]}'?" if near else "",
                    field=f"inputs.{name}",
                )

    def _read_declared(self, digest: str) -> Declared:
        with self._blobs.open(digest) as file:
            notebook: dict[str, Any] = parse_notebook(file.read(MAX_NOTEBOOK_BYTES + 1))
        return Declared(parameters_of(notebook), names_are_checked(notebook), kernel_of(notebook))


def _limits(job: Job) -> list[tuple[int, str]]:
    return [
        (limit, f"tasks.{number}.{name}")
        for number, task in enumerate(job.tasks)
        for name in ("time_limit_seconds", "cell_time_limit_seconds")
        if (limit := getattr(task, name)) is not None
    ]


def _no_notebook(notebook: str, known: Sequence[str]) -> Invalid:
    near = difflib.get_close_matches(notebook, known, 1)
    if near:
        hint = f"Did you mean '{near[0]}'?"
    elif known:
        hint = f"It holds {', '.join(sorted(known)[:10])}."
    else:
        hint = "It holds no notebook: look at .gitignore and .elementignore."
    return Invalid(f"The snapshot holds no '{notebook}'.", hint, field="notebook")
