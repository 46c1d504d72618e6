"""Counting: what was given and used since the last look, laid into the hours of UTC it belongs to.

What is given follows from when an allocation began and ended, and nothing else. What is used comes
from readings of a meter, whose counters go on whoever else is killed: a reading says how much it is
so far, so that one that is told twice, or after a later one, adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from element_jupyter.core.quotas.allocations import AllocationId
from element_jupyter.core.values import UtcTime, Value

_US: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1)
_Seconds = Annotated[float, Field(ge=0, le=1e12)]
_Bytes = Annotated[int, Field(ge=0, lt=1 << 62)]


class Reading(Value):
    """What a meter says of one allocation at a moment; None is what it does not measure."""

    allocation_id: AllocationId
    at: UtcTime
    cpu_seconds: _Seconds | None = None
    """Since it began."""
    memory_bytes: _Bytes | None = None
    """Now, without what the system keeps for speed alone."""
    peak_memory_bytes: _Bytes | None = None
    """Counts for the whole time where nobody has said what it was on the way."""
    gpu_seconds: _Seconds | None = None
    """Since this meter began to count."""
    meter: Annotated[str, StringConstraints(max_length=100)] = ""
    """Which one; another one has begun to count anew."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an allocation is counted."""

    allocation_id: str
    begun_at: datetime
    given_until: datetime
    ended_at: datetime | None = None
    read_at: datetime | None = None
    meter: str = ""
    cpu_us: int | None = None
    memory_bytes: int | None = None
    gpu_us: int | None = None
    settled: bool = False
    """Whether all that was given is counted; what was used may still be told."""


@dataclass(slots=True)
class HourPart:
    """What is to be added to one hour of an allocation; None: nothing has measured it."""

    given_us: int = 0
    taken_back_us: int = 0
    """Of what was counted as given before anybody said that it had ended."""
    cpu_us: int | None = None
    memory_kib_s: int | None = None
    gpu_us: int | None = None


@dataclass(slots=True)
class Counted:
    """Where counting has come to, and what there is to add, by hour."""

    mark: Mark
    hours: dict[datetime, HourPart] = field(default_factory=dict)

    def hour(self, at: datetime) -> HourPart:
        return self.hours.setdefault(at, HourPart())


def hour_of(at: datetime) -> datetime:
    """Return the beginning of an hour of UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def spread(amount: int, since: datetime, until: datetime) -> Iterator[tuple[datetime, int]]:
    """Lay an amount evenly into the hours between two moments; the parts are exactly the whole.

    An hour that is only touched at its end or beginning has none; all is in the last one where no
    time has passed.
    """
    span_us = (until - since) // _US
    if span_us <= 0:
        yield hour_of(until), amount
        return
    hour, laid = hour_of(since), 0
    while hour < until:
        end = min(hour + _HOUR, until)
        so_far = amount * ((end - since) // _US) // span_us
        yield hour, so_far - laid
        laid, hour = so_far, hour + _HOUR


def advance(mark: Mark, now: datetime, readings: Iterable[Reading] = ()) -> Counted:
    """Count what was given up to now, and what readings of this allocation say was used."""
    counted = Counted(mark)
    _give(counted, now)
    for reading in sorted(readings, key=lambda each: each.at):
        before = counted.mark.read_at
        if before is None or reading.at > before:
            _use(counted, reading, now)
    return counted


def _give(counted: Counted, now: datetime) -> None:
    mark = counted.mark
    ended_at, since = mark.ended_at, mark.given_until
    until = max(now, since) if ended_at is None else ended_at
    if until < since:
        for hour, part in spread((since - until) // _US, until, since):
            counted.hour(hour).taken_back_us += part
    elif until > since or (ended_at is not None and not mark.settled):
        for hour, part in spread((until - since) // _US, since, until):
            counted.hour(hour).given_us += part
    counted.mark = replace(mark, given_until=until, settled=ended_at is not None)


def _use(counted: Counted, reading: Reading, now: datetime) -> None:
    mark = counted.mark
    at = min(reading.at, now)  # a clock elsewhere may be ahead
    since, until = mark.read_at or mark.begun_at, at
    if until < since:
        return
    if mark.ended_at is not None:
        since, until = min(since, mark.ended_at), min(until, mark.ended_at)
    updated = replace(mark, read_at=at)
    if reading.cpu_seconds is not None:
        now_us, before_us = round(reading.cpu_seconds * 1e6), mark.cpu_us or 0
        for hour, part in spread(max(0, now_us - before_us), since, until):
            counted.hour(hour).cpu_us = (counted.hour(hour).cpu_us or 0) + part
        # one that has lost sight of processes that ended says less; they are counted already
        updated = replace(updated, cpu_us=now_us)
    if reading.gpu_seconds is not None:
        now_us = round(reading.gpu_seconds * 1e6)
        before_us = (mark.gpu_us or 0) if reading.meter == mark.meter else 0
        for hour, part in spread(max(0, now_us - before_us), since, until):
            counted.hour(hour).gpu_us = (counted.hour(hour).gpu_us or 0) + part
        updated = replace(updated, gpu_us=now_us, meter=reading.meter)
    memory_bytes = _mean_memory(mark, reading)
    if memory_bytes is not None:
        kib_s = memory_bytes * ((until - since) // _US) // (1024 * 1_000_000)
        for hour, part in spread(kib_s, since, until):
            counted.hour(hour).memory_kib_s = (counted.hour(hour).memory_kib_s or 0) + part
        updated = replace(updated, memory_bytes=reading.memory_bytes or mark.memory_bytes)
    counted.mark = updated


def _mean_memory(mark: Mark, reading: Reading) -> int | None:
    """Return what it used between two readings, of which the last may be of its end."""
    if reading.memory_bytes is None:
        return mark.memory_bytes if mark.memory_bytes is not None else reading.peak_memory_bytes
    if mark.memory_bytes is None:
        return reading.memory_bytes
    return (mark.memory_bytes + reading.memory_bytes) // 2
