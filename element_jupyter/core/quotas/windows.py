"""Windows of budgets: the last N days, or a day, week or month of somebody's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, StringConstraints


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone '{name}'; one is 'Europe/Zurich'") from None
    return name


def _per(text: str) -> str:
    words = text.split()
    calendar = len(words) == 2 and words[0] == "calendar" and words[1] in {"day", "week", "month"}
    rolling = (
        len(words) == 2
        and words[0].isdecimal()
        and 1 <= int(words[0]) <= 366
        and words[1] in {"day", "days"}
    )
    if not (calendar or rolling):
        raise ValueError("it must be such as '30 days', 'calendar week' or 'calendar month'")
    return text


Zone = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(_zone)]
Per = Annotated[str, StringConstraints(max_length=20, strip_whitespace=True), AfterValidator(_per)]
"""`7 days`: so many times 24 hours up to now; `calendar month`: the one that it is now."""


class Window(NamedTuple):
    """A stretch of time, in UTC: from `since` until just before `until`."""

    since: datetime
    until: datetime | None
    """When the next one begins; None: this one moves along."""


def rolling_days(per: str) -> int | None:
    """Return the length of a window that moves along; None for one of the calendar."""
    first = per.split(maxsplit=1)[0]
    return int(first) if first.isdecimal() else None


def window(per: str, zone: str, now: datetime) -> Window:
    """Return the window that a moment is in; a calendar's days begin at midnight in `zone`."""
    days = rolling_days(per)
    if days is not None:
        return Window(now - timedelta(days=days), None)
    place = ZoneInfo(zone)
    today = now.astimezone(place).date()
    match per.split()[1]:
        case "day":
            first, following = today, today + timedelta(days=1)
        case "week":
            first = today - timedelta(days=today.weekday())
            following = first + timedelta(days=7)
        case _:
            first = today.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
    return Window(midnight(first, place), midnight(following, place))


def midnight(day: date, place: ZoneInfo) -> datetime:
    """Return when a day begins somewhere, in UTC; where clocks skip midnight, when they do."""
    return datetime.combine(day, time(), place).astimezone(UTC)
