"""How the record of a run changes: by what its runner tells, and by what becomes of its process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Invalid
from element_jupyter.core.provisioning import ProcessExit, ProcessRef
from element_jupyter.core.runs import (
    NEXT,
    CellFinished,
    Event,
    NotebookSaved,
    Recorded,
    Run,
    RunFinished,
    RunStarted,
    RunState,
    StateChanged,
    Usage,
)
from element_jupyter.core.values import UtcTime, Value


class TokenRecord(Value):
    """What decides whether a run's token is good."""

    sha256: str | None
    started_at: UtcTime | None
    finished_at: UtcTime | None
    time_limit_seconds: float


class RunRecord(Value):
    """A run with what only the control plane keeps about it."""

    run: Run
    due_at: UtcTime | None = None
    max_active: int | None = None
    """How many fires of its job may be active, as the job said when this run was made."""
    token_sha256: str | None = None
    process: ProcessRef | None = None
    lease_until: UtcTime | None = None
    """Until when it must have begun (while starting), or be heard of (while running)."""
    reported: int = 0
    """The last of the runner's sequence numbers that this record contains."""

    def changed(self, **changes: Any) -> RunRecord:
        """Return a copy in which the run has these values."""
        return self.model_copy(update={"run": self.run.model_copy(update=changes)})


def check_report(events: Sequence[Event]) -> None:
    """Return when a runner may tell these events.

    Raises:
        Invalid: a sequence number is missing, or it tells what only the control plane can know.
    """
    for index, event in enumerate(events):
        if event.sequence < 1 or (index and event.sequence != events[index - 1].sequence + 1):
            raise Invalid(
                "The events' sequence numbers must be 1, 2, 3 … without gaps.",
                field=f"events.{index}.sequence",
            )
        if isinstance(event, StateChanged):
            raise Invalid("Only the control plane tells this event.", field=f"events.{index}.kind")
        if isinstance(event, RunFinished) and event.state not in _OUTCOMES:
            raise Invalid(f"A run cannot finish as {event.state}.", field=f"events.{index}.state")


_OUTCOMES = NEXT[RunState.RUNNING] - {RunState.LOST}


def advance(record: RunRecord, events: Sequence[Event]) -> RunRecord:
    """Put a runner's events into the record.

    Those that it contains already are passed over, and so is everything after a gap. A run that
    has ended stays as it is.
    """
    run, reported = record.run, record.reported
    if run.state.ended:
        return record
    changes: dict[str, Any] = {
        "cells_done": run.cells_done,
        "recorded": dict(run.recorded),
        "peak_memory_bytes": run.peak_memory_bytes,
    }
    for event in events:
        if event.sequence == reported + 1:
            reported = event.sequence
            changes |= _change(changes, event)
    if run.stop_requested_at and changes.get("state") in {RunState.RUNNING, RunState.STOPPED}:
        # the runner knows that it was told to stop, the record knows why
        changes["reason"] = run.reason
    return record.changed(**changes).model_copy(update={"reported": reported})


def _change(known: dict[str, Any], event: Event) -> dict[str, Any]:
    match event:
        case RunStarted():
            started: dict[str, Any] = {
                "state": RunState.RUNNING,
                "reason": "",
                "started_at": event.at,
                "cells_total": event.cells_total,
                "kernel": event.kernel,
            }
            return started | pinned(event.pin)
        case CellFinished():
            return {"cells_done": known["cells_done"] + 1} | _peak(known, event.peak_memory_bytes)
        case Usage():
            return _peak(known, event.memory_bytes)
        case Recorded():
            return {"recorded": {**known["recorded"], event.name: event.value}}
        case NotebookSaved():
            return {"output_path": event.path}
        case RunFinished():
            finished: dict[str, Any] = {
                "state": event.state,
                "reason": event.reason,
                "finished_at": event.at,
                "failing_cell": event.failing_cell,
                "artifacts": event.artifacts,
                "recorded": {**known["recorded"], **event.recorded},
            }
            finished |= {name: used for name in _USED if (used := getattr(event, name)) is not None}
            return finished | ({"output_path": event.output_path} if event.output_path else {})
        case _:
            return {}


def _peak(known: dict[str, Any], memory_bytes: int | None) -> dict[str, Any]:
    # told on the way, so that a run that is lost has one too
    seen = max(known["peak_memory_bytes"] or 0, memory_bytes or 0)
    return {"peak_memory_bytes": seen or None}


_USED: Final = (
    "cpu_seconds",
    "peak_memory_bytes",
    "gpu_seconds",
    "peak_gpu_memory_bytes",
    "memory_limit_bytes",
    "out_of_memory",
)
"""Fields of a run that say what it used: what is known of it stays known."""


def pinned(pin: Pin | None) -> dict[str, Any]:
    """Return the fields of a run that say which environment it has."""
    if pin is None:
        return {}
    return {
        "environment_id": pin.environment_id,
        "lock_id": pin.lock_id,
        "definition": pin.definition,
        "python": pin.python,
    }


def ended(record: RunRecord, state: RunState, reason: str, at: datetime) -> RunRecord:
    """End the run, unless it has ended already."""
    if state not in NEXT[record.run.state]:
        return record
    return record.changed(state=state, reason=reason, finished_at=at, queue_position=None)


def past_limit(run: Run, overrun_seconds: float | None, now: datetime) -> bool:
    """Whether a run goes on so long after its time limit; its runner does not end it, then."""
    if overrun_seconds is None or run.started_at is None:
        return False
    return now >= run.started_at + timedelta(seconds=run.time_limit_seconds + overrun_seconds)


def ended_silently(
    record: RunRecord, exit_: ProcessExit, at: datetime, *, killed: bool
) -> RunRecord:
    """End a run whose process is gone without an outcome; `killed` when that was our doing."""
    if record.run.stop_requested_at is not None:
        how = "It was killed, since it had not stopped by itself." if killed else ""
        return ended(record, RunState.STOPPED, how or "It was stopped.", at)
    if exit_.sentence is not None:
        record = record.changed(out_of_memory=record.run.out_of_memory or exit_.out_of_memory)
        return ended(record, RunState.FAILED, exit_.sentence, at)
    return ended(
        record,
        RunState.LOST,
        "The runner's process is gone, and nobody saw how it ended.",
        at,
    )
