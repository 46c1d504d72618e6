"""Reports of the ledger: by whom or what, over some days, in amounts and money."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from element_jupyter.core.errors import Invalid
from element_jupyter.core.ledger.amounts import KIB_S_PER_GIB_HOUR, MONEY, US_PER_HOUR, Sums
from element_jupyter.core.ledger.prices import Billing, Prices
from element_jupyter.core.values import UtcTime, Value

FORECAST_DAYS: Final = 28
_LONGEST: Final = timedelta(days=3660)
_ZERO: Final = Decimal(0)


class By(StrEnum):
    """What the rows of a report are told apart by."""

    PERSON = "person"
    TEAM = "team"
    JOB = "job"
    NOTEBOOK = "notebook"
    SIZE = "size"
    KIND = "kind"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Question:
    """Which part of the ledger, and how it is divided; `until` is the first day after it."""

    by: tuple[By, ...]
    since: date
    until: date
    team: str | None = None
    person: str | None = None
    job: str | None = None
    notebook: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Sums that share a row of the report and a price."""

    key: tuple[str | None, ...]
    """In the order of `Question.by`; days as 2026-11-22, months as 2026-11."""
    period: int
    """How many of the table's days had begun."""
    size: str
    recorded: Decimal | None
    team: str | None
    """None where no team is billed otherwise."""
    sums: Sums


class UsageSums(Value):
    """What was given, what was used of it, and what it costs."""

    count: int
    """Servers and runs that began in that time."""
    allocated_cpu_hours: float
    used_cpu_hours: float
    allocated_gib_hours: float
    used_gib_hours: float
    allocated_gpu_hours: float
    used_gpu_hours: float
    idle_share: float | None
    """Of the time given, the part in which even the thing most used was not; None: not measured."""
    cost: Decimal
    idle_cost: Decimal
    """Of what was given and not used."""


class UsageRow(UsageSums):
    """One row; what it is not told apart by is None."""

    person: str | None = None
    team: str | None = None
    job: str | None = None
    notebook: str | None = None
    size: str | None = None
    kind: str | None = None
    day: date | None = None
    month: str | None = None
    """As 2026-11."""


class UsageReport(Value):
    """The ledger's answer."""

    currency: str
    timezone: str
    """Of its days and months."""
    billing: Billing
    by: tuple[By, ...]
    since: date
    until: date
    """The first day that is not in it."""
    counted_until: UtcTime
    """What is going on is in it up to this moment."""
    rows: tuple[UsageRow, ...]
    total: UsageSums
    forecast: Decimal | None = None
    """What the whole month will cost; None unless it is asked for just the month that it is."""


def dimensions(text: str) -> tuple[By, ...]:
    """Read `team,day`.

    Raises:
        Invalid: a word is none of `By`, or is there twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = {each.value for each in By}
    if unknown := next((word for word in words if word not in known), None):
        raise Invalid(
            f"by: '{unknown[:40]}' is nothing that usage is told apart by.",
            f"There are: {', '.join(each.value for each in By)}.",
            field="by",
        )
    if len(set(words)) != len(words):
        raise Invalid("by: the same is there twice.", field="by")
    return tuple(map(By, words))


def month_of(now: datetime, zone: str) -> tuple[date, date]:
    """Return the first days of the month that it is somewhere, and of the one after."""
    first = now.astimezone(ZoneInfo(zone)).date().replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def check_span(since: date, until: date) -> None:
    """Return when it is one.

    Raises:
        Invalid: it ends before it begins, or is too long.
    """
    if until <= since:
        raise Invalid(
            f"until: {until} is not after {since}.",
            "It is the first day that is not asked for.",
            field="until",
        )
    if until - since > _LONGEST:
        raise Invalid("since: at most ten years can be asked for at once.", field="since")


def rows(parts: Iterable[Part], by: Sequence[By], prices: Prices) -> Iterator[UsageRow]:
    """Price the parts and join those of one row; they come in the order of their keys."""
    for key, same in groupby(parts, key=attrgetter("key")):
        named: dict[str, Any] = dict(zip(by, key, strict=True))
        yield UsageRow(**named, **_priced(same, prices))


def _priced(parts: Iterable[Part], prices: Prices) -> dict[str, Any]:
    sums, cost, idle_cost = Sums(), _ZERO, _ZERO
    for part in parts:
        rates = prices.rates(part.period, part.size, part.recorded)
        cost += part.sums.billed(prices.billing_of(part.team)).cost(rates)
        idle_cost += part.sums.idle.cost(rates)
        sums = sums.plus(part.sums)
    return {
        "count": sums.begun,
        "allocated_cpu_hours": sums.allocated.cpu_us / US_PER_HOUR,
        "used_cpu_hours": sums.used.cpu_us / US_PER_HOUR,
        "allocated_gib_hours": sums.allocated.memory_kib_s / KIB_S_PER_GIB_HOUR,
        "used_gib_hours": sums.used.memory_kib_s / KIB_S_PER_GIB_HOUR,
        "allocated_gpu_hours": sums.allocated.gpu_us / US_PER_HOUR,
        "used_gpu_hours": sums.used.gpu_us / US_PER_HOUR,
        "idle_share": sums.idle.time_us / sums.metered_us if sums.metered_us else None,
        "cost": cost.quantize(MONEY),
        "idle_cost": idle_cost.quantize(MONEY),
    }


def total(found: Iterable[UsageRow], parts: Iterable[Part]) -> UsageSums:
    """Add up: money from the rows as they are shown, so that they add up; the rest exactly."""
    sums = Sums()
    for part in parts:
        sums = sums.plus(part.sums)
    listed = list(found)
    amounts = _priced([Part((), 0, "", None, None, sums)], Prices())
    return UsageSums(
        **amounts
        | {
            "cost": sum((row.cost for row in listed), _ZERO).quantize(MONEY),
            "idle_cost": sum((row.idle_cost for row in listed), _ZERO).quantize(MONEY),
        }
    )


def forecast(
    so_far: Decimal, by_day: Mapping[date, Decimal], until: date, now: datetime, zone: str
) -> Decimal:
    """Return what a month will have cost: so far, and what its remaining days usually cost.

    A day to come costs the mean of that weekday over the last four weeks, in `by_day` (days that
    are missing cost nothing); of today, the part that is left. Where the first of them is less than
    three weeks back, every day costs the mean of the days since then.
    """
    here = now.astimezone(ZoneInfo(zone))
    today = here.date()
    known = sorted(day for day in by_day if today - timedelta(days=FORECAST_DAYS) <= day < today)
    if not known:
        return so_far.quantize(MONEY)
    length = (today - known[0]).days
    overall = sum((by_day[day] for day in known), _ZERO) / length
    weeks = FORECAST_DAYS // 7

    def usual(day: date) -> Decimal:
        if length <= FORECAST_DAYS - 7:
            return overall
        same = (today - timedelta(days=back) for back in range(1, FORECAST_DAYS + 1))
        days = [each for each in same if each.weekday() == day.weekday()]
        return sum((by_day.get(each, _ZERO) for each in days), _ZERO) / weeks

    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    left = 1 - Decimal((here - midnight) / timedelta(days=1)).quantize(MONEY)
    to_come = usual(today) * max(_ZERO, left)
    day = today + timedelta(days=1)
    while day < until:
        to_come += usual(day)
        day += timedelta(days=1)
    return (so_far + to_come).quantize(MONEY)
