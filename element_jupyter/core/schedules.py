"""When a job fires: schedules as values, and the fires they produce.

A schedule is one of `Cron` (an expression read on a wall clock), `Once` (one instant) and `OnAsset`
(another job's output). Fires are instants in UTC.

Daylight saving: an expression whose hours are fixed fires once for each of them whatever the clock
does. A wall time that the clock skips fires at the first instant after the gap (`shifted`; several
such are one fire); one that occurs twice fires the first time only (`repeated`). An expression
whose hour varies follows real time: it fires in both passes of a repeated hour (both `repeated`)
and not at all in a skipped one. The hour varies when its field has a `*`, a range or a step (`*`,
`*/2`, `9-17`); it is fixed when the field is a number or a list of numbers (`6`, `6,18`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Annotated, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, StringConstraints

from element_jupyter.core.cron_fields import parse
from element_jupyter.core.cron_words import in_words
from element_jupyter.core.errors import Invalid
from element_jupyter.core.values import Name, UtcTime, Value

PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 6 * * *",
    "weekdays": "0 6 * * 1-5",
    "weekly": "0 6 * * 1",
    "monthly": "0 6 1 * *",
}


CRON_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""What crontab(5) means by these; the presets are ours, and in the morning."""


class Cron(Value):
    """Fires when the wall clock of `timezone` matches `expression` (five fields, or a preset)."""

    kind: Literal["cron"] = "cron"
    expression: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "UTC"
    start: UtcTime | None = None
    end: UtcTime | None = None


class Once(Value):
    """Fires at one instant."""

    kind: Literal["once"] = "once"
    at: UtcTime


class OnAsset(Value):
    """Fires when every named job (`team/name`) has succeeded again."""

    kind: Literal["asset"] = "asset"
    jobs: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]


Schedule = Annotated[Cron | Once | OnAsset, Field(discriminator="kind")]


class Fire(Value):
    """One instant at which a schedule fires; `dst` says how the clock bent it."""

    at: UtcTime
    wall_time: str
    """What the clock of the zone shows then, with its offset: `2026-03-29T03:00+02:00`."""
    dst: Literal["shifted", "repeated"] | None = None


class Preview(Value):
    """What a schedule will do, in words and in instants."""

    sentence: str
    fires: tuple[Fire, ...]


class WallClock(Protocol):
    """Reads five-field cron expressions on a clock without a time zone."""

    def next_after(self, expression: str, wall: datetime) -> datetime | None:
        """Return the first match strictly after `wall`; None when none comes."""
        ...

    def check(self, expression: str) -> None:
        """Raise `Invalid`, naming the field at fault, for what is no expression or never fires."""
        ...


def expression_of(schedule: Cron) -> str:
    """Return the five fields, a preset (`daily`) or a macro of cron (`@daily`) replaced by its own.

    Raises:
        Invalid: a word that is neither.
    """
    text = schedule.expression.strip()
    if not re.fullmatch(r"@?[A-Za-z]+", text):
        return text
    word = text.lower()
    if word in CRON_MACROS:
        return CRON_MACROS[word]
    if word not in PRESETS:
        near = difflib.get_close_matches(word, [*PRESETS, *CRON_MACROS], 1)
        raise Invalid(
            f"The schedule does not work: '{text}' is not a preset.",
            f"Did you mean '{near[0]}'?" if near else f"The presets are {', '.join(PRESETS)}.",
            field="schedule.expression",
        )
    return PRESETS[word]


def check(schedule: Schedule, cron: WallClock, now: datetime) -> None:
    """Refuse a schedule that cannot do what its author wants; call it when one is new or changed.

    Raises:
        Invalid: malformed, never fires (again), an unknown time zone, or a start after its end.
    """
    match schedule:
        case Cron():
            _check_cron(schedule, cron, now)
        case Once():
            if schedule.at <= now:
                raise Invalid(
                    f"The schedule never fires: {_when(schedule.at)} has passed.",
                    "Give a time in the future.",
                    field="schedule.at",
                )
        case OnAsset():
            name = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
            for job in schedule.jobs:
                if not re.fullmatch(f"{name}/{name}", job):
                    raise Invalid(
                        f"The schedule does not work: '{job}' is not a job.",
                        "Write it as team/name.",
                        field="schedule.jobs",
                    )


def _check_cron(schedule: Cron, cron: WallClock, now: datetime) -> None:
    cron.check(expression_of(schedule))
    zone(schedule.timezone)
    start, end = schedule.start, schedule.end
    if start and end and start >= end:
        raise Invalid(
            f"The schedule never fires: it ends ({_when(end)}) before it starts ({_when(start)}).",
            "Swap them, or leave one out.",
            field="schedule.end",
        )
    if end and end <= now:
        raise Invalid(
            f"The schedule never fires: its end ({_when(end)}) has passed.",
            "Give a later end, or leave it out.",
            field="schedule.end",
        )
    if next_fire(schedule, cron, now) is None:
        since = _when(start) if start and start > now else "now"
        raise Invalid(
            f"The schedule never fires: no time between {since} and {_when(end or now)} matches.",
            "Give a later end, or leave it out.",
            field="schedule.end",
        )


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the time zone of that IANA name.

    Raises:
        Invalid: there is none; the hint names the nearest.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {known.lower(): known for known in available_timezones()}
        near = known.get(name.lower()) or next(
            (known[match] for match in difflib.get_close_matches(name.lower(), known, 1)), None
        )
        raise Invalid(
            f"There is no time zone '{name}'.",
            f"Did you mean '{near}'?" if near else "Give an IANA name, such as 'Europe/Zurich'.",
            field="schedule.timezone",
        ) from error


# ------------------------------------------------------------------------------------------- fires


def next_fire(schedule: Schedule, cron: WallClock, after: datetime) -> Fire | None:
    """Return the first fire strictly after an instant; None when none comes, or none is by time."""
    match schedule:
        case Once():
            return _fire(schedule.at, UTC) if schedule.at > after else None
        case OnAsset():
            return None
    # `start` itself may be a fire
    if schedule.start and schedule.start > after:
        after = schedule.start - timedelta(microseconds=1)
    expression = expression_of(schedule)
    follow = _next_in_real_time if hour_varies(expression) else _next_on_the_clock
    fire = follow(expression, zone(schedule.timezone), cron, after.astimezone(UTC))
    return None if fire is None or (schedule.end and fire.at > schedule.end) else fire


def fires(
    schedule: Schedule, cron: WallClock, after: datetime, until: datetime | None = None
) -> Iterator[Fire]:
    """Yield the fires after one instant (exclusive) until another (inclusive), in order."""
    while (fire := next_fire(schedule, cron, after)) and (until is None or fire.at <= until):
        yield fire
        after = fire.at


def latest_fire(
    schedule: Schedule, cron: WallClock, until: datetime, since: datetime
) -> Fire | None:
    """Return the last fire after `since` (exclusive) until `until` (inclusive).

    It halves the span, so years of minutely fires cost some thirty look-ups.
    """
    found = next_fire(schedule, cron, since)
    if found is None or found.at > until:
        return None
    low, high = found.at, until
    # no two fires are closer than that
    while high - low >= timedelta(seconds=1):
        middle = low + (high - low) / 2
        fire = next_fire(schedule, cron, middle)
        if fire and fire.at <= high:
            found, low = fire, fire.at
        else:
            high = middle
    return found


def preview(schedule: Schedule, cron: WallClock, now: datetime, count: int) -> Preview:
    """Say what a schedule will do: in words, and its next `count` fires.

    Raises:
        Invalid: as `check`.
    """
    check(schedule, cron, now)
    return Preview(
        sentence=describe(schedule), fires=tuple(islice(fires(schedule, cron, now), count))
    )


def describe(schedule: Schedule) -> str:
    """Return a schedule in words: `Weekdays at 06:00 Europe/Zurich`.

    Raises:
        Invalid: malformed.
    """
    match schedule:
        case Once():
            return f"Once on {_when(schedule.at)}"
        case OnAsset():
            *others, last = schedule.jobs
            listed = f"{', '.join(others)} and {last}" if others else last
            return f"After {listed} {'have' if others else 'has'} succeeded"
    sentence = in_words(parse(expression_of(schedule)), schedule.timezone)
    if schedule.start:
        sentence += f", from {_when(schedule.start)}"
    if schedule.end:
        sentence += f", until {_when(schedule.end)}"
    return sentence


@lru_cache(maxsize=4096)
def hour_varies(expression: str) -> bool:
    """Say which daylight-saving rule five fields follow; the module's text defines it."""
    return not all(item.single for item in parse(expression).hour)


def _next_on_the_clock(
    expression: str, tz: ZoneInfo, cron: WallClock, after: datetime
) -> Fire | None:
    """One fire per matching wall time: after a gap when skipped, in the first pass when doubled."""
    wall: datetime | None = _wall(after, tz)
    while wall and (wall := cron.next_after(expression, wall)):
        first, second = _passes(wall, tz)
        at = _turn(second, first, tz) if first > second else first
        # the wall times of a second pass, and all but one of a gap, lie behind
        if at > after:
            return _fire(at, tz, _bent(first, second))
    return None


def _next_in_real_time(
    expression: str, tz: ZoneInfo, cron: WallClock, after: datetime
) -> Fire | None:
    """Every instant whose wall time matches."""
    wall: datetime | None = _wall(after, tz)
    first, second = _passes(_wall(after, tz), tz)
    # in the first of two passes, the clock will turn back over times that lie behind already
    back = _turn(first, second, tz) if first <= after < second else None
    while wall and (wall := cron.next_after(expression, wall)):
        first, second = _passes(wall, tz)
        if first > second:
            wall = _wall(_turn(second, first, tz), tz) - _MICROSECOND
            continue
        at = first if first > after else second
        if back and at >= back:
            wall, after, back = _wall(back, tz) - _MICROSECOND, back - _MICROSECOND, None
        elif at > after:
            return _fire(at, tz, _bent(first, second))
    return None


_MICROSECOND = timedelta(microseconds=1)


def _wall(at: datetime, tz: ZoneInfo) -> datetime:
    return at.astimezone(tz).replace(tzinfo=None, fold=0)


def _passes(wall: datetime, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the instants before and after a turn of the clock that a wall time may mean.

    They differ for a doubled time, and the first is the later one for a skipped time (PEP 495).
    """
    local = wall.replace(tzinfo=tz)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def _turn(low: datetime, high: datetime, tz: ZoneInfo) -> datetime:
    """Return the first instant of (low, high] at which the offset is no longer that of `low`."""
    before = low.astimezone(tz).utcoffset()
    while high - low > _MICROSECOND:
        middle = low + (high - low) / 2
        if middle.astimezone(tz).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _bent(first: datetime, second: datetime) -> Literal["shifted", "repeated"] | None:
    if first == second:
        return None
    return "shifted" if first > second else "repeated"


def _fire(at: datetime, tz: tzinfo, dst: Literal["shifted", "repeated"] | None = None) -> Fire:
    local = at.astimezone(tz)
    wall_time = local.isoformat(timespec="seconds" if local.second else "minutes")
    return Fire(at=at, wall_time=wall_time, dst=dst)


def _when(at: datetime) -> str:
    clock = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return f"{at.day} {at:%B %Y} at {clock} UTC"


__all__ = [
    "PRESETS",
    "Cron",
    "Fire",
    "Name",
    "OnAsset",
    "Once",
    "Preview",
    "Schedule",
    "WallClock",
    "check",
    "describe",
    "expression_of",
    "fires",
    "hour_varies",
    "latest_fire",
    "next_fire",
    "preview",
    "zone",
]
