"""Whether a server is idle: by what is done in it, not by whether somebody looks at it.

A kernel that computes is at work, for however long and whether a browser is open or not. A kernel
that is busy and uses nothing (it waits for an input, for another machine, or for ever) is idle
after a longer time. An open page alone is nothing. What a server says of itself is believed for
itself only, and only until it is as old as one may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from element_jupyter.core.care.notices import Notice, NoticeKind
from element_jupyter.core.care.policy import Editors
from element_jupyter.core.values import Value

BUSY_CORES: Final = 0.05
"""A busy kernel that uses so much of a core is at work; so is a terminal's command."""
OTHER_CORES: Final = 0.25
"""What else a server has started counts as work from here on: workers that wait use a little."""
GPU_PART: Final = 0.05
BY_AGE: Final = "as old as a server may be"
"""How the reason begins why a server was stopped that has run for long enough."""
SILENT_REPORTS: Final = 3
"""After so many reports that did not come, nothing is known."""

_Cores = Annotated[float, Field(ge=0, le=100_000)]
_Count = Annotated[int, Field(ge=0, le=100_000)]


class ActivityReport(Value):
    """What a server has done since its last report, as it says itself."""

    server: Annotated[str, StringConstraints(max_length=100)] = ""
    """Its name at the Hub; empty for somebody's editor."""
    input_seconds_ago: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """When somebody last executed, saved or typed something; null when nobody has."""
    busy_kernels: _Count = 0
    busy_cores: _Cores = 0.0
    """The most that busy kernels used together."""
    other_cores: _Cores = 0.0
    """The most that all else did, but for the server itself."""
    terminals: _Count = 0
    connections: _Count = 0
    """Pages that are connected to kernels; they are told, and count for nothing."""
    gpu: Annotated[float, Field(ge=0, le=1)] | None = None
    """The part of the time in which its processes used a GPU; null where that cannot be told."""

    @property
    def working(self) -> bool:
        """Whether something computes."""
        other = BUSY_CORES if self.terminals else OTHER_CORES
        return (
            (self.busy_kernels > 0 and self.busy_cores >= BUSY_CORES)
            or self.other_cores >= other
            or (self.gpu or 0.0) >= GPU_PART
        )


class ActivityAnswer(Value):
    """What a server is told when it has reported."""

    notices: tuple[Notice, ...] = ()
    report_every_seconds: float | None = None
    """None: nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a server's activity."""

    active_at: datetime
    """When somebody or something last did anything in it."""
    reported_at: datetime | None = None
    working: bool = False
    busy: bool = False
    """Whether a kernel is busy without using anything."""
    connections: int = 0
    gpu_active_at: datetime | None = None
    """When it last used a GPU; None where that cannot be told."""
    kept_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What of an allocation matters here."""

    begun_at: datetime
    gpu: int = 0


def after_report(
    before: Seen | None, report: ActivityReport, holding: Holding, now: datetime
) -> Seen:
    """Return what is known once a server has reported."""
    active_at = before.active_at if before is not None else holding.begun_at
    if report.working:
        active_at = now
    elif report.input_seconds_ago is not None:
        seconds = min(report.input_seconds_ago, (now - holding.begun_at).total_seconds())
        active_at = max(active_at, now - timedelta(seconds=max(0.0, seconds)))
    gpu_active_at = None
    if report.gpu is not None:
        gpu_active_at = before.gpu_active_at if before is not None else None
        if report.gpu >= GPU_PART or gpu_active_at is None:
            gpu_active_at = now
    return Seen(
        active_at=active_at,
        reported_at=now,
        working=report.working,
        busy=report.busy_kernels > 0 and not report.working,
        connections=report.connections,
        gpu_active_at=gpu_active_at,
        kept_until=before.kept_until if before is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Due:
    """That a server is to be stopped, when and why."""

    at: datetime
    kind: NoticeKind
    since: datetime
    """Since when it has been so."""
    keep_limit: datetime | None = None

    def why(self, now: datetime) -> str:
        """Say why, as the end of an allocation does: `idle for 2 h 10 min`."""
        lasted = in_words((now - self.since).total_seconds())
        match self.kind:
            case NoticeKind.MAX_AGE:
                return f"{BY_AGE}: {lasted}"
            case NoticeKind.GPU_IDLE:
                return f"its GPU not used for {lasted}"
            case _:
                return f"idle for {lasted}"


def due(said: Editors, holding: Holding, seen: Seen, fresh: timedelta, now: datetime) -> Due | None:
    """Return when a server is to be stopped as things are; None: not for what is known.

    What was reported is good for as long as `fresh`.
    """
    found = []
    oldest = None
    if said.max_age is not None:
        oldest = holding.begun_at + timedelta(seconds=said.max_age)
        found.append(Due(oldest, NoticeKind.MAX_AGE, holding.begun_at))
    reported = seen.reported_at is not None and now - seen.reported_at <= fresh
    idle = _idle_seconds(said, holding, seen, reported=reported) if said.stop_idle else None
    if idle is not None:
        at = _after(seen.active_at, idle)
        found.append(_kept(Due(at, NoticeKind.IDLE, seen.active_at), seen))
    if said.gpu_unused_then == "stop" and reported:
        unused_at = gpu_unused_at(said, holding, seen)
        if unused_at is not None and seen.gpu_active_at is not None:
            found.append(_kept(Due(unused_at, NoticeKind.GPU_IDLE, seen.gpu_active_at), seen))
    if not found:
        return None
    first = min(found, key=lambda each: each.at)
    return Due(first.at, first.kind, first.since, oldest)


def gpu_unused_at(said: Editors, holding: Holding, seen: Seen) -> datetime | None:
    """Return when a GPU that is held will have been unused for as long as the policy says."""
    if not holding.gpu or said.gpu_unused is None or seen.gpu_active_at is None:
        return None
    return _after(seen.gpu_active_at, said.gpu_unused)


def _idle_seconds(said: Editors, holding: Holding, seen: Seen, *, reported: bool) -> float | None:
    if not reported:
        # a computation may go on in it, which only the server itself knows
        longest = max(said.idle, said.busy_without_work)
        return None if said.unreported is None else max(said.unreported, longest)
    if seen.working:
        return None
    idle = said.idle_with_gpu if holding.gpu else said.idle
    return max(idle, said.busy_without_work) if seen.busy else idle


def _kept(found: Due, seen: Seen) -> Due:
    if seen.kept_until is None or seen.kept_until <= found.at:
        return found
    return Due(seen.kept_until, found.kind, found.since)


def _after(at: datetime, seconds: float) -> datetime:
    return at + timedelta(seconds=seconds)


def in_words(seconds: float) -> str:
    """Say how long something has lasted: `2 h 10 min`, `3 days 4 h`, `40 s`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        parts = [f"{days} day{'s' if days > 1 else ''}", f"{hours} h" if hours else ""]
    elif hours:
        parts = [f"{hours} h", f"{minutes} min" if minutes else ""]
    elif minutes:
        parts = [f"{minutes} min"]
    else:
        parts = [f"{whole} s"]
    return " ".join(part for part in parts if part)
