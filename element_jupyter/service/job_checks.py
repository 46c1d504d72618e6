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
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import parse_pointer
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import ElementError, Invalid, NotFound
from element_jupyter.core.job_files import kept_pins
from element_jupyter.core.jobs import Job, JobTask, StoredJob
from element_jupyter.core.notebooks import (
    MAX_NOTEBOOK_BYTES,
    ORDINARY_KERNEL,
    check_parameters,
    kernel_of,
    names_are_checked,
    parameters_of,
    parse_notebook,
)
from element_jupyter.core.parameters import Parameter
from element_jupyter.core.runs import Run, RunRequest
from element_jupyter.core.schedules import OnAsset, Schedule, WallClock
from element_jupyter.core.sizes import Sizes
from element_jupyter.core.snapshots import Blobs, Manifest, SnapshotLimits, keep
from element_jupyter.service.pins import Pins
from element_jupyter.service.snapshot_rights import SnapshotRights

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
        sizes: Callable[[], Sizes],
        rights: SnapshotRights,
        pins: Pins | None = None,
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._exists = exists
        self._kernels = kernels
        self._limits = limits
        self._max_time_limit_seconds = max_time_limit_seconds
        self._sizes = sizes
        self._rights = rights
        self._pins = pins
        # parsing a large notebook holds the interpreter; saving a job again must not
        self._declared = lru_cache(maxsize=500)(self._read_declared)

    async def check(
        self, job: Job, before: StoredJob | None, who: Person, now: datetime, *, build: bool
    ) -> dict[str, Pin]:
        """Return the environments of the job's tasks when it may be saved by `who`.

        `build` says that it is going to be.

        Raises:
            Invalid: it can never work; `field` says where.
            EnvironmentFailed: a task's environment cannot be locked.
            Forbidden: it names what is not theirs.
        """
        for limit, field in _limits(job):
            self._check_limit(limit, field)
        if before is None or before.job.size != job.size:
            self._check_size(job.size)
        if before is None or before.job.snapshot_id != job.snapshot_id:
            await self._rights.check_use(who, job.snapshot_id)
        self.check_schedule(job, before, now)
        if isinstance(job.schedule, OnAsset):
            self._check_assets(job, job.schedule, who)
        if before is None or (before.job.snapshot_id, before.job.tasks) != (
            job.snapshot_id,
            job.tasks,
        ):
            await asyncio.to_thread(self._check_tasks, job, now)
        return await self._pinned(job, before, who, build=build)

    async def _pinned(
        self, job: Job, before: StoredJob | None, who: Person, *, build: bool
    ) -> dict[str, Pin]:
        pointer = parse_pointer(job.environment) if job.environment is not None else None
        pins = kept_pins(before, job)
        if self._pins is None or len(pins) == len(job.tasks):
            return pins
        manifest, wanting = await asyncio.to_thread(self._wanting, job, pins)
        if not wanting:
            return pins
        notebooks = {
            task.notebook: before.pins.get(task.name) if before else None
            for task in wanting.values()
        }
        found = await self._pins.pin(manifest, notebooks, pointer, who.holder, build=build)
        for number, task in wanting.items():
            answer = found[task.notebook]
            if isinstance(answer, ElementError):
                raise _refused(answer, f"tasks.{number}.environment")
            pins[task.name] = answer
        return {task.name: pins[task.name] for task in job.tasks if task.name in pins}

    def _wanting(self, job: Job, pins: Mapping[str, Pin]) -> tuple[Manifest, dict[int, JobTask]]:
        """Return the tasks, by number, that get an environment and have none in `pins`."""
        manifest = self._manifest(job.snapshot_id)
        return manifest, {
            number: task
            for number, task in enumerate(job.tasks)
            if task.name not in pins and self._gets_environment(task, manifest)
        }

    def _gets_environment(self, task: JobTask, manifest: Manifest) -> bool:
        if self._pins is None:
            return False
        declared = self._declared_in(task.notebook, manifest)
        ordinary = ORDINARY_KERNEL if declared.names_are_checked else None
        kernel = task.kernel or declared.kernel or ordinary
        return kernel is not None and self._pins.applies(kernel)

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

    async def check_run(
        self, run: Run, request: RunRequest, who: Person, now: datetime
    ) -> Pin | None:
        """Return the environment of a run that its job does not pin, when it may be queued.

        What its job says was checked when that was saved.

        Raises:
            Invalid: its snapshot, notebook, kernel, parameters or limits can never work, or the
                snapshot is not for `who` to use.
            EnvironmentFailed: its environment cannot be locked.
        """
        for field in ("time_limit_seconds", "cell_time_limit_seconds"):
            self._check_limit(getattr(request, field) or 0, field)
        self._check_size(request.size)
        if run.job is None:
            await self._rights.check_use(who, run.snapshot_id)
        if run.job is not None and not request.parameters and request.kernel is None:
            return None
        pointer = parse_pointer(run.environment) if run.environment is not None else None
        task = JobTask(
            notebook=run.notebook,
            parameters=run.parameters,
            allow_extra_parameters=run.allow_extra_parameters,
            kernel=run.kernel,
        )

        def check() -> tuple[Manifest, bool]:
            manifest = self._manifest(run.snapshot_id)
            self._check_task(task, None, manifest, now)
            return manifest, run.environment_id is None and self._gets_environment(task, manifest)

        manifest, wants = await asyncio.to_thread(check)
        # a job whose file was written by hand has no pins; that of its runs is the runner's to say
        if self._pins is None or not wants or (run.job is not None and request.kernel is None):
            return None
        notebooks = {run.notebook: None}
        found = await self._pins.pin(manifest, notebooks, pointer, run.account, build=True)
        answer = found[run.notebook]
        if isinstance(answer, ElementError):
            raise _refused(answer, "environment")
        return answer

    def _check_limit(self, seconds: int, field: str) -> None:
        if seconds > self._max_time_limit_seconds:
            raise Invalid(
                f"{field}: at most {self._max_time_limit_seconds:,} seconds are allowed here.",
                "An administrator can raise Element.max_time_limit_seconds.",
                field=field,
            )

    def _check_size(self, size: str | None) -> None:
        if size is not None:
            try:
                self._sizes().get(size)
            except NotFound as error:
                raise Invalid(f"size: {error.message}", error.hint, field="size") from error

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
        declared = self._declared_in(task.notebook, manifest)
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

    def _declared_in(self, notebook: str, manifest: Manifest) -> Declared:
        digests = {entry.path: entry.digest for entry in manifest.entries if entry.link is None}
        path = manifest.link_targets().get(notebook, notebook)
        if path not in digests:
            raise _no_notebook(notebook, [path for path in digests if path.endswith(".ipynb")])
        return self._declared(digests[path])

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


def _refused(error: ElementError, field: str) -> ElementError:
    """Return why a notebook has no environment, with the place that says which notebook."""
    if isinstance(error, EnvironmentFailed):
        return EnvironmentFailed(error.failure, field=field)
    return error


def _no_notebook(notebook: str, known: Sequence[str]) -> Invalid:
    near = difflib.get_close_matches(notebook, known, 1)
    if near:
        hint = f"Did you mean '{near[0]}'?"
    elif known:
        hint = f"It holds {', '.join(sorted(known)[:10])}."
    else:
        hint = "It holds no notebook: look at .gitignore and .elementignore."
    return Invalid(f"The snapshot holds no '{notebook}'.", hint, field="notebook")
