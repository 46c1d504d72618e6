"""Which runs may start, and with what: pure rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from element_jupyter.core.errors import Conflict, Invalid, NotFound
from element_jupyter.core.jobs import JobTask
from element_jupyter.core.progress import RunRecord
from element_jupyter.core.quotas.checking import Refusal
from element_jupyter.core.runs import FireRecord
from element_jupyter.core.schedules import Cron, Schedule

_VARIABLE: Final = re.compile(r"\{\{\s*(ds|logical_date|run_id)\s*\}\}")


def render(
    parameters: Mapping[str, JsonValue],
    *,
    run_id: str,
    logical_date: datetime,
    schedule: Schedule | None = None,
) -> dict[str, JsonValue]:
    """Put `{{ ds }}`, `{{ logical_date }}` and `{{ run_id }}` into every text, however deep.

    `ds` is the date on the schedule's own wall clock, else in UTC. Other braces stay as they are.
    """
    zone = ZoneInfo(schedule.timezone if isinstance(schedule, Cron) else "UTC")
    values = {
        "ds": logical_date.astimezone(zone).date().isoformat(),
        "logical_date": logical_date.isoformat(),
        "run_id": run_id,
    }

    def put(value: JsonValue) -> JsonValue:
        match value:
            case str():
                return _VARIABLE.sub(lambda match: values[match[1]], value)
            case list():
                return [put(item) for item in value]
            case dict():
                return {key: put(item) for key, item in value.items()}
            case _:
                return value

    return {name: put(value) for name, value in parameters.items()}


def inputs(
    task: JobTask, recorded: Mapping[str, Mapping[str, JsonValue] | None]
) -> dict[str, JsonValue]:
    """Look up a task's inputs in what the tasks before it recorded (None: not succeeded).

    Raises:
        Conflict: a needed task has not succeeded, or did not record the value.
    """
    found: dict[str, JsonValue] = {}
    for parameter, reference in task.inputs.items():
        source, _, name = reference.partition(":")
        values = recorded.get(source)
        if values is None:
            raise Conflict(
                f"Task '{task.name}' takes '{parameter}' from task '{source}', "
                "which has not succeeded in this run of the job.",
                f"Run '{source}' first, with the same dag_run_id.",
            )
        if name not in values:
            had = ", ".join(sorted(values)) or "nothing"
            raise Conflict(
                f"Task '{task.name}' takes '{parameter}' from '{reference}', "
                f"but that run recorded no '{name}'.",
                f"It recorded: {had}. A notebook records with element_jupyter.record({name}=…).",
            )
        found[parameter] = values[name]
    return found


# ------------------------------------------------------------------------------------ the queue


@dataclass(frozen=True)
class Created:
    """What a request for a run came to: `record` is None when its fire was refused."""

    record: RunRecord | None
    created: bool = False
    refused: FireRecord | None = None


@dataclass(frozen=True)
class Admitted:
    """What starts now, and why what would start next does not fit within its limits."""

    records: Sequence[RunRecord] = ()
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """By the ids of runs."""


@dataclass(frozen=True)
class Waiting:
    """A run as the queue sees it; runs of one `group` (a DAG run) are one activity of their job."""

    run_id: str
    job: str | None = None
    group: str = ""
    max_active: int | None = None


@dataclass(frozen=True)
class Queue:
    """The runs that wait, the next first, and what runs meanwhile."""

    waiting: Sequence[Waiting]
    executing: int
    active: Mapping[str, Collection[str]]
    """Groups of each job that execute."""

    def place(self, position: int, capacity: int) -> str:
        """Say why the run at a position (1 is next) waits."""
        waiting = self.waiting[position - 1]
        groups = self.active.get(waiting.job, ()) if waiting.job is not None else ()
        limit = waiting.max_active if held(waiting, groups) else None
        return queue_reason(position - 1, self.executing, capacity, max_active=limit)


@dataclass(frozen=True)
class Turn:
    """Where a run stands in the queue, and why it waits."""

    place: int
    reason: str
    fits: bool
    """Whether its limits have room for it, so that it waits for its turn only."""
    frees_at: datetime | None = None
    """When the limit that keeps it has room, where that can be known."""


@dataclass(frozen=True)
class Queued:
    """The turns of all that wait, by the ids of runs."""

    turns: Mapping[str, Turn]
    executing: int
    capacity: int


def admit(
    queue: Sequence[Waiting],
    places: int,
    active: Mapping[str, Collection[str]],
    fits: Callable[[str], bool] = lambda _: True,
) -> list[str]:
    """Choose what starts now: the oldest first, passing over those whose job is busy enough.

    `places` is how many more may run; `active` names each job's groups that run already; `fits`
    is asked of each run that would start, and takes what that run needs.
    """
    busy = {job: set(groups) for job, groups in active.items()}
    chosen: list[str] = []
    for waiting in queue:
        if len(chosen) >= places:
            break
        if waiting.job is not None:
            groups = busy.setdefault(waiting.job, set())
            if held(waiting, groups) or not fits(waiting.run_id):
                continue
            groups.add(waiting.group)
        elif not fits(waiting.run_id):
            continue
        chosen.append(waiting.run_id)
    return chosen


def held(waiting: Waiting, groups: Collection[str]) -> bool:
    """Tell whether the job's own limit keeps a run waiting."""
    return (
        waiting.max_active is not None
        and waiting.group not in groups
        and len(groups) >= waiting.max_active
    )


def queue_reason(ahead: int, taken: int, capacity: int, *, max_active: int | None = None) -> str:
    """Say why a run waits; `max_active` when it is its own job that keeps it waiting."""
    if max_active is not None:
        others = "another run" if max_active == 1 else f"{max_active} other runs"
        return f"{others.capitalize()} of this job must end first (max_active is {max_active})."
    runs = {0: "It is next", 1: "1 run is ahead"}.get(ahead, f"{ahead} runs are ahead")
    return f"{runs}; {taken} of {capacity} places are taken."


def told(position: int) -> bool:
    """Tell whether reaching a place is worth an event: the first ten are, then every tenth."""
    return position <= 10 or position % 10 == 0


def refuse_control_characters(values: Mapping[str, str | None]) -> None:
    """Return when no value holds characters that no database, header or log line should see.

    Raises:
        Invalid: the first that does; `field` is its name.
    """
    for name, value in values.items():
        if value is not None and not value.isprintable():
            raise Invalid(f"{name}: it holds characters that cannot be shown.", field=name)


def unknown_run(run_id: str) -> NotFound:
    """Make the error for a run that is not there."""
    return NotFound(f"There is no run '{run_id}'.", "`element runs list` shows those there are.")
