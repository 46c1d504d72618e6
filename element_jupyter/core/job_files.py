"""Job files: what `job.yaml` holds, what is wrong with one, and what changed between two.

A file is a `Job` and, at its end, a `metadata` block that the store writes: which version it is,
who saved it when, which environments it is pinned to. Text and its line numbers are an adapter's
(`JobFormat`); everything here is about the data that the text says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Protocol

from pydantic import Field, ValidationError

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Invalid
from element_jupyter.core.jobs import Job, JobChange, JobError, StoredJob
from element_jupyter.core.validation import explain, nearest
from element_jupyter.core.values import Name, UtcTime, Value

FILE_BYTES = 1_000_000
"""Limit of a job file."""


class Metadata(Value):
    """The block at the end of a stored job file."""

    version: Annotated[int, Field(ge=1, le=10**9)]
    saved_at: UtcTime
    saved_by: Annotated[str, Field(max_length=200)]
    scheduled_since: UtcTime
    pins: dict[Name, Pin] = Field(default_factory=dict)
    offered_by: Name | None = None

    @classmethod
    def of(cls, stored: StoredJob) -> Metadata:
        """Return what is written down of a stored job besides the job."""
        return cls(
            version=stored.version,
            saved_at=stored.saved_at,
            saved_by=stored.saved_by,
            scheduled_since=stored.scheduled_since,
            pins=stored.pins,
            offered_by=stored.offered_by,
        )


@dataclass(frozen=True)
class JobFile:
    """What a job file says; `metadata` is None where a person wrote it."""

    job: Job
    metadata: Metadata | None

    @property
    def stored(self) -> StoredJob | None:
        """The version that it claims to be; None where a person wrote it."""
        if self.metadata is None:
            return None
        return StoredJob(job=self.job, **self.metadata.model_dump())


class FileInvalid(Invalid):
    """A job file cannot be read; `line` (from 1) is the culprit's, where it is known."""

    def __init__(
        self, message: str, hint: str = "", *, field: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message, hint, field=field)
        self.line = line


class JobFormat(Protocol):
    """How a job is written down."""

    def read(self, content: bytes) -> JobFile:
        """Read a file that a person may have written.

        Raises:
            FileInvalid: it is no job; says where and why.
        """
        ...

    def write(self, job: Job, metadata: Metadata | None = None) -> str:
        """Write a job the way a person would."""
        ...

    def stamp(self, text: str, metadata: Metadata) -> str:
        """Replace the metadata of a file, and leave all else in it as its author wrote it."""
        ...


@dataclass(frozen=True)
class Saved:
    """What saving did; `before` is None for a new job, and `stored` when nothing changed."""

    stored: StoredJob
    before: StoredJob | None


class JobStore(Protocol):
    """Where jobs are kept, with all their versions and a feed of what changes.

    Reading the current state is immediate; what touches files is awaited.
    """

    def get(self, team: str, name: str, version: int | None = None) -> StoredJob | None:
        """Return a job as it is (or was last, when its file is broken), or was in a version."""
        ...

    def ids(self) -> Sequence[str]:
        """Every readable job's id, sorted."""
        ...

    def stored(self) -> Sequence[StoredJob]:
        """Every readable job, by id."""
        ...

    def errors(self) -> Sequence[JobError]:
        """The files that cannot be read now, sorted."""
        ...

    def text(self, job: Job) -> str:
        """Write a job the way its file says it, without metadata."""
        ...

    def expect(self, team: str, name: str, version: int | None) -> None:
        """Return when the job is at that version (0: is not there; None: anything).

        Raises:
            Conflict: it is not.
        """
        ...

    async def put(
        self,
        job: Job,
        *,
        saved_by: str,
        now: datetime,
        expected_version: int | None = None,
        pins: Mapping[str, Pin] | None = None,
        offered_by: str | None = None,
    ) -> Saved:
        """Save a job as its next version, unless it says what the current one says.

        Without `pins`, it has those of the current version that are still its own. `offered_by`
        says who hands it to an owner who has yet to take it.

        Raises:
            Conflict: as `expect`.
        """
        ...

    async def delete(self, team: str, name: str, *, expected_version: int | None = None) -> bool:
        """Remove a job; False when there was none.

        Raises:
            Conflict: as `expect`.
        """
        ...

    async def versions(self, team: str, name: str) -> Sequence[StoredJob]:
        """Every version that is kept, newest first."""
        ...

    async def changes(
        self, after: int, *, wait_seconds: float = 0, limit: int = 500
    ) -> Sequence[JobChange]:
        """The last change of each job that changed after a sequence number, oldest first.

        Waits for one when there is none yet.
        """
        ...


def parse(data: Any) -> JobFile:
    """Turn the data of a job file into a job.

    Raises:
        Invalid: the first thing that is wrong; `field` is its dotted path.
    """
    if not isinstance(data, Mapping):
        raise Invalid("A job file holds keys and values.", "Begin with 'apiVersion: element/v1'.")
    said = {key: value for key, value in data.items() if key != "metadata"}
    for key, wanted in (("apiVersion", "element/v1"), ("kind", "Job")):
        if said.setdefault(key, wanted) != wanted:
            raise Invalid(f"{key}: it must be '{wanted}'.", field=key)
    metadata = None
    try:
        job = Job.model_validate(said)
    except ValidationError as error:
        raise explain(error, said, job_schema()) from None
    if "metadata" in data:
        try:
            metadata = Metadata.model_validate(data["metadata"])
        except ValidationError as error:
            wrong = explain(error, data["metadata"], _metadata_schema())
            raise Invalid(
                f"metadata: {wrong.message}",
                "Remove the whole metadata block: the store writes it anew.",
                field=f"metadata.{wrong.field}" if wrong.field else "metadata",
            ) from None
    return JobFile(job, metadata)


@cache
def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of `job.yaml`, as an editor wants it."""
    schema = Job.model_json_schema()
    described: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Element job",
        **{key: value for key, value in schema.items() if key != "title"},
    }
    for name, texts in _DESCRIPTIONS.items():
        node = described if name == "Job" else described["$defs"][name]
        for key, text in texts.items():
            node["properties"][key]["description"] = text
    properties = described["properties"]
    properties["metadata"] = {
        "description": "Written by Element: version, who saved it and when. Leave it out.",
        "type": "object",
    }
    return described


@cache
def _metadata_schema() -> dict[str, Any]:
    return Metadata.model_json_schema()


def document(job: Job, metadata: Metadata | None = None) -> dict[str, Any]:
    """Return the data of a job file: what is said, in the order people read it, no defaults."""
    said = job.model_dump(mode="json", exclude_defaults=True)
    data: dict[str, Any] = {"apiVersion": job.apiVersion, "kind": job.kind}
    for key in type(job).model_fields:
        if key == "schedule" and job.schedule is not None:
            data[key] = {"kind": job.schedule.kind, **said[key]}
        elif key == "tasks":
            data[key] = [{"name": task["name"], **task} for task in _tasks(job)]
        elif key in said:
            data[key] = said[key]
    if metadata is not None:
        data["metadata"] = metadata_document(metadata)
    return data


def metadata_document(metadata: Metadata) -> dict[str, Any]:
    """Return the data of the block at the end of a file."""
    unsaid = {name for name in ("pins", "offered_by") if not getattr(metadata, name)}
    return metadata.model_dump(mode="json", exclude=unsaid)


def _tasks(job: Job) -> Iterator[dict[str, Any]]:
    for task in job.tasks:
        yield {"name": task.name, **task.model_dump(mode="json", exclude_defaults=True)}


def scheduled_since(before: StoredJob | None, job: Job, now: datetime) -> datetime:
    """Return from when fires count: now for a job that is new, rescheduled or resumed."""
    if (
        before is None
        or before.job.schedule != job.schedule
        or (before.job.paused and not job.paused)
    ):
        return now
    return before.scheduled_since


def kept_pins(before: StoredJob | None, job: Job) -> dict[str, Pin]:
    """Return the pins that a job goes on with: those of tasks for which nothing has changed."""
    if before is None or (before.job.snapshot_id, before.job.environment) != (
        job.snapshot_id,
        job.environment,
    ):
        return {}
    unchanged = {(task.name, task.notebook, task.kernel) for task in before.job.tasks}
    return {
        task.name: before.pins[task.name]
        for task in job.tasks
        if task.name in before.pins and (task.name, task.notebook, task.kernel) in unchanged
    }


def changed_fields(before: Job | None, after: Job) -> tuple[str, ...]:
    """Return the dotted paths of what differs, in the order of the file."""
    old = document(before) if before is not None else {}
    return tuple(_differing(old, document(after), ""))


def _differing(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key) or (key in old) != (key in new):
                yield from _differing(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            if left != right:
                yield from _differing(left, right, f"{path}.{index}")
    else:
        yield path


_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Job": {
        "apiVersion": "The version of this file format.",
        "kind": "What this file describes.",
        "team": "The team that owns the job; a person is a team of one with the person's name.",
        "name": "The job's name: with the team it is the id, and Airflow's DAG is 'team--name'.",
        "title": "A name for people, shown in lists. Default: the name.",
        "description": "What the job is for, as Markdown; shown in Airflow too.",
        "owner": "Who the job runs for and who hears of its failures.",
        "as_team": (
            "Whether it executes as the team's own account, as the team's server does, instead of"
            " as its owner's."
        ),
        "snapshot_id": "The stored copy of the project that the notebooks are taken from.",
        "environment": (
            "The environment of the notebooks, instead of what is found beside each: a file or"
            " directory in the project, or the name of a shared environment; with a variant as"
            " 'path[gpu]'."
        ),
        "size": "The named amount of cpu, memory and gpu that each run gets.",
        "schedule": "When the job fires. Without one, it runs only when somebody triggers it.",
        "catch_up": (
            "What happens to fires that came due while nothing could run them: 'none' skips them,"
            " 'latest' runs the last one, 'all' runs every one."
        ),
        "max_active": "How many fires of this job may run at the same time.",
        "paused": "A paused job does not fire; it can still be triggered.",
        "tasks": "The notebooks to run, with what each needs.",
    },
    "JobTask": {
        "name": "The task's name, by which others need it.",
        "notebook": "Path of the notebook inside the project, with '/'.",
        "parameters": (
            "Values for the notebook's parameters cell. A text may hold {{ ds }},"
            " {{ logical_date }} or {{ run_id }}."
        ),
        "inputs": "Parameters taken from what another task recorded: 'task:name'.",
        "needs": "Tasks that must have succeeded first.",
        "kernel": "Name of the kernel. Default: the one that the notebook names.",
        "allow_extra_parameters": "Whether names that the notebook does not have may be given.",
        "retries": "How often Airflow tries again after a failure.",
        "retry_delay_seconds": "Seconds between two tries.",
        "time_limit_seconds": "Longest duration of a run, in seconds.",
        "cell_time_limit_seconds": "Longest duration of one cell, in seconds.",
        "pool": "Airflow's pool that limits how many such tasks run at once.",
    },
    "Cron": {
        "kind": "Fires whenever the wall clock matches an expression.",
        "expression": "Five fields (minute hour day month weekday), or hourly, daily, weekdays,"
        " weekly, monthly.",
        "timezone": "Name of the time zone whose wall clock counts, such as Europe/Berlin.",
        "start": "No fires before this instant.",
        "end": "No fires after this instant.",
    },
    "Once": {"kind": "Fires at one instant.", "at": "The instant, with its time zone."},
    "OnAsset": {
        "kind": "Fires when other jobs have succeeded again.",
        "jobs": "The jobs to wait for, each as 'team/name'.",
    },
}

__all__ = [
    "FILE_BYTES",
    "FileInvalid",
    "JobFile",
    "JobFormat",
    "JobStore",
    "Metadata",
    "Saved",
    "changed_fields",
    "document",
    "job_schema",
    "kept_pins",
    "metadata_document",
    "nearest",
    "parse",
    "scheduled_since",
]
