"""Jobs: named, owned, versioned; each a few tasks, and each task one notebook.

A job is data. What a person writes is a `Job` (`job.yaml`); what the store keeps is a `StoredJob`,
which adds who saved which version when, and the environments that its tasks are pinned to.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Invalid
from element_jupyter.core.schedules import Schedule
from element_jupyter.core.values import Digest, Name, ParameterName, UtcTime, Value


def _stay_inside(path: str) -> str:
    if any(segment in {"", ".", ".."} for segment in path.split("/")):
        raise ValueError("the notebook's path must stay inside the project, without '.' or '..'")
    return path


NotebookPath = Annotated[
    str,
    AfterValidator(_stay_inside),
    StringConstraints(
        pattern=r"^[^/\\\x00-\x1f][^\\\x00-\x1f]*\.ipynb$", min_length=7, max_length=1024
    ),
]
"""A notebook's path inside its project: relative, `/` between segments, no `..`."""

Parameters = Annotated[dict[ParameterName, JsonValue], Field(max_length=200)]
"""Values for the notebook's parameters.

A text may hold `{{ ds }}` (the fire's date), `{{ logical_date }}` (the fire's instant) or
`{{ run_id }}`, put in when the run starts.
"""

Reference = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*:[A-Za-z_][A-Za-z0-9_]{0,254}$", max_length=320
    ),
]
"""`task:name`: what the notebook of that task recorded under that name."""


class CatchUp(StrEnum):
    """What happens to fires that came due while nothing could run them."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class JobTask(Value):
    """One notebook of a job."""

    name: Name = "main"
    notebook: NotebookPath
    parameters: Parameters = Field(default_factory=dict)
    inputs: Annotated[dict[ParameterName, Reference], Field(max_length=200)] = Field(
        default_factory=dict
    )
    needs: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    kernel: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    allow_extra_parameters: bool = False
    retries: Annotated[int, Field(ge=0, le=20)] = 0
    retry_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    time_limit_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] | None = None
    cell_time_limit_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] | None = None
    pool: Name | None = None


class Job(Value):
    """What `job.yaml` says: which notebooks, when, with what, and for whom."""

    apiVersion: Literal["element/v1"] = "element/v1"  # noqa: N815 - the file format's own word
    kind: Literal["Job"] = "Job"
    team: Name
    name: Name
    title: Annotated[str, StringConstraints(max_length=120)] = ""
    description: Annotated[str, StringConstraints(max_length=10_000)] = ""
    owner: Name
    as_team: bool = False
    """It executes as the account of the team, not as the owner's."""
    snapshot_id: Digest
    environment: Annotated[str, StringConstraints(max_length=1024)] | None = None
    size: Name | None = None
    schedule: Schedule | None = None
    catch_up: CatchUp = CatchUp.LATEST
    max_active: Annotated[int, Field(ge=1, le=100)] = 1
    paused: bool = False
    tasks: Annotated[tuple[JobTask, ...], Field(min_length=1, max_length=50)]

    @property
    def id(self) -> str:
        """`team/name`, as REST and people write it."""
        return f"{self.team}/{self.name}"

    @property
    def dag_id(self) -> str:
        """The same, as Airflow writes it; unambiguous, since a `Name` never holds two dashes."""
        return f"{self.team}--{self.name}"

    def task(self, name: str) -> JobTask | None:
        return next((task for task in self.tasks if task.name == name), None)

    @model_validator(mode="after")
    def _tasks_fit_together(self) -> Job:
        names = [task.name for task in self.tasks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two tasks are called '{twice}'")
        done: set[str] = set()
        for task in self.tasks:
            wanted = {*task.needs, *(source.partition(":")[0] for source in task.inputs.values())}
            if unknown := sorted(wanted - set(names)):
                raise ValueError(f"task '{task.name}' needs '{unknown[0]}', which is not a task")
            if missing := sorted(set(wanted) - set(task.needs)):
                raise ValueError(
                    f"task '{task.name}' takes an input from '{missing[0]}' but does not need it"
                )
        waiting = {task.name: set(task.needs) for task in self.tasks}
        while ready := {name for name, needs in waiting.items() if needs <= done} - done:
            done |= ready
        if circle := sorted(set(names) - done):
            raise ValueError(f"the tasks {', '.join(circle)} need one another in a circle")
        return self


class StoredJob(Value):
    """A job as the store keeps it."""

    job: Job
    version: Annotated[int, Field(ge=1)]
    saved_at: UtcTime
    saved_by: str
    scheduled_since: UtcTime
    """When the schedule was created, changed or resumed: earlier fires are not its own."""
    pins: dict[Name, Pin] = Field(default_factory=dict)
    """The environment of each task that has one, as it was locked when the job was saved."""
    offered_by: str | None = None
    """Who has handed the job to its owner, while that one has not taken it; it does not run."""
    held: str | None = None
    """Why it does not run although it is not paused; never stored."""


class JobError(Value):
    """A job file that cannot be read: which, where in it, why, and what to do."""

    team: str
    name: str
    path: str
    line: int | None = None
    message: str
    hint: str = ""


class JobChange(Value):
    """One line of the change feed that Airflow follows: what a job became at `sequence`."""

    sequence: int
    team: str
    name: str
    stored: StoredJob | None = None
    error: JobError | None = None
    """Neither `stored` nor `error`: the job was deleted."""


def parameters_by_task(job: Job, given: Mapping[str, JsonValue]) -> dict[str, dict[str, JsonValue]]:
    """Sort what a trigger gives by task: a job of one task is given its parameters by name.

    Raises:
        Invalid: there is no such task, or it is not given names and values.
    """
    if len(job.tasks) == 1:
        return {job.tasks[0].name: dict(given)} if given else {}
    found: dict[str, dict[str, JsonValue]] = {}
    for task, values in given.items():
        field = f"parameters.{task[:80]}"
        if job.task(task) is None:
            names = ", ".join(each.name for each in job.tasks)
            raise Invalid(
                f"{field}: the job has no such task.",
                f"Give parameters by task; there are {names}.",
                field=field,
            )
        if not isinstance(values, dict):
            raise Invalid(f"{field}: it must hold names and values.", field=field)
        found[task] = values
    return found
