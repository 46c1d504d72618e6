"""What becomes of a fire that came due: the catch-up policy, and the sentences of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from element_jupyter.core.jobs import CatchUp
from element_jupyter.core.runs import FireRecord, FireState
from element_jupyter.core.schedules import Fire

GRACE_SECONDS: Final = 120.0
"""A fire asked for within this time of its instant is on time, whatever the policy."""

PATIENCE_SECONDS: Final = 600.0
"""A fire that nobody asked for within this time was missed."""

PAUSED: Final = "The job is paused."

MAX_CATCH_UP: Final = 1000
"""Rows that one catch-up of one job may write."""


def decide(
    policy: CatchUp,
    due_at: datetime,
    now: datetime,
    next_due: datetime | None,
    grace_seconds: float = GRACE_SECONDS,
) -> str | None:
    """Apply the catch-up policy to a fire that is asked for at `now`: why it is missed, or None.

    `next_due` is the instant of the fire that follows it, None when there is none.
    """
    late = now - due_at
    if policy is CatchUp.ALL or late <= timedelta(seconds=grace_seconds):
        return None
    if policy is CatchUp.NONE:
        return (
            f"It was asked for {_duration(late)} after it came due, "
            "and the catch-up policy is none."
        )
    if next_due is not None and next_due <= now:
        return (
            f"A later fire, of {_at(next_due)}, has come due, "
            "and the catch-up policy runs only the latest."
        )
    return None


@dataclass(frozen=True)
class Ask:
    """A fire that a run is asked for, under the rules of its job."""

    job: str
    due_at: datetime
    policy: CatchUp
    max_active: int
    next_due: datetime | None
    paused: bool = False

    def skipped(self, reason: str) -> FireRecord:
        """Return what becomes of the fire when it is not to run."""
        return FireRecord(job=self.job, at=self.due_at, state=FireState.SKIPPED, reason=reason)


@dataclass(frozen=True)
class Known:
    """What the record says when a run is asked for a fire."""

    state: FireState | None = None
    active: Sequence[str] = ()
    """Other activities of the job (DAG runs) that have not ended."""
    overlapping: str | None = None
    """A run of an earlier fire that was active when this one came due."""


def refusal(
    ask: Ask, known: Known, now: datetime, grace_seconds: float = GRACE_SECONDS
) -> FireRecord | None:
    """Say what a fire that is asked for becomes instead of a run, or None when it runs.

    A fire that has run may run again: its other tasks, and tries after a failure, are its.
    """
    if known.state is FireState.RAN:
        return None
    if ask.paused:
        return ask.skipped(PAUSED)
    if missed := decide(ask.policy, ask.due_at, now, ask.next_due, grace_seconds):
        if known.overlapping is None:
            return FireRecord(job=ask.job, at=ask.due_at, state=FireState.MISSED, reason=missed)
        reason = f"The previous run, {known.overlapping}, was still active. {missed}"
        return FireRecord(job=ask.job, at=ask.due_at, state=FireState.SKIPPED, reason=reason)
    if ask.policy is not CatchUp.ALL and len(known.active) >= ask.max_active:
        who = "The previous run is" if ask.max_active == 1 else f"{len(known.active)} runs are"
        reason = f"{who} still active, and max_active is {ask.max_active}."
        return FireRecord(job=ask.job, at=ask.due_at, state=FireState.SKIPPED, reason=reason)
    return None


# ---------------------------------------------------------------------------------- catching up


@dataclass(frozen=True)
class Downtime:
    """When nothing watched the schedules."""

    start: datetime
    end: datetime

    @property
    def sentence(self) -> str:
        return f"Element was not running from {_at(self.start)} to {_at(self.end)}"


def catch_up(
    job: str,
    policy: CatchUp,
    since: datetime,
    now: datetime,
    next_fire: Callable[[datetime], Fire | None],
    *,
    paused: bool = False,
    downtime: Downtime | None = None,
    grace_seconds: float = GRACE_SECONDS,
    limit: int = MAX_CATCH_UP,
) -> list[FireRecord]:
    """List the rows of a job's fires after `since` and until `now`, oldest first.

    Of fires that came due since, Airflow asks for the newest only, unless the policy is all: those
    before it are missed, be they within the grace. The newest `limit - 1` fires have a row each;
    the oldest row then stands for all before them.
    """
    fires, complete = _newest(since, now, next_fire, limit)
    if not fires:
        return []
    rows = []
    for at, later in zip(fires, [*fires[1:], None], strict=True):
        state, reason = FireState.DUE, ""
        if paused:
            state, reason = FireState.SKIPPED, PAUSED
        elif (later is not None and policy is not CatchUp.ALL) or decide(
            policy, at, now, later, grace_seconds
        ):
            state, reason = FireState.MISSED, _unattended(policy, at, now, downtime)
        rows.append(FireRecord(job=job, at=at, state=state, reason=reason))
    oldest = None if complete else next_fire(since)
    if oldest is None:
        return rows
    reason = (
        f"This row stands for every fire from {_at(oldest.at)} until {_at(fires[0])}: "
        f"a catch-up writes at most {limit} rows."
    )
    return [FireRecord(job=job, at=oldest.at, state=FireState.MISSED, reason=reason), *rows]


def _newest(
    since: datetime, now: datetime, next_fire: Callable[[datetime], Fire | None], limit: int
) -> tuple[list[datetime], bool]:
    """Find the fires in (since, now], or the newest of them, without walking through all.

    The window grows backwards from now until it holds enough, so that the work is bounded by the
    limit and not by how long nothing ran.
    """
    span = timedelta(minutes=limit)
    while True:
        start = max(since, now - span)
        fires: list[datetime] = []
        fire = next_fire(start)
        while fire is not None and fire.at <= now:
            fires.append(fire.at)
            fire = next_fire(fire.at)
        if start == since and len(fires) <= limit:
            return fires, True
        if len(fires) >= limit:
            return fires[-(limit - 1) :], False
        span *= 2


def _unattended(policy: CatchUp, at: datetime, now: datetime, downtime: Downtime | None) -> str:
    why = f"Element did not get to it before {_at(now)}"
    if downtime is not None and downtime.start <= at <= downtime.end:
        why = downtime.sentence
    what = "is none" if policy is CatchUp.NONE else "runs only the latest"
    return f"{why}, and the catch-up policy {what}."


def unasked(patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Say that nobody asked for a fire in time."""
    return f"Airflow did not ask for it within {_duration(timedelta(seconds=patience_seconds))}."


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _duration(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (unit == "minute" and seconds >= length):
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
