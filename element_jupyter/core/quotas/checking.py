"""Whether something still fits within the limits that count for it, and when it will."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from element_jupyter.core.quotas.rules import Bound, Kind, Quotas, Resource, Scope
from element_jupyter.core.quotas.windows import rolling_days, window
from element_jupyter.core.resources.words import memory_in_words

_ENOUGH: Final = 1e-9
"""Sums of parts of hours are not exact."""


class Amounts(NamedTuple):
    """What something has, or what several have together."""

    cpu: float = 0.0
    memory_bytes: int = 0
    gpu: int = 0
    servers: int = 0
    runs: int = 0

    def plus(self, other: Amounts) -> Amounts:
        """Return both together."""
        return Amounts(
            self.cpu + other.cpu,
            self.memory_bytes + other.memory_bytes,
            self.gpu + other.gpu,
            self.servers + other.servers,
            self.runs + other.runs,
        )

    def of(self, resource: Resource) -> float:
        return float(getattr(self, resource.value))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that something does not fit in."""

    bound: Bound
    used: float
    wanted: float
    frees_at: datetime | None = None
    """When it will fit at the latest, where that can be known."""
    never: bool = False
    """Whether it would not fit either if nothing else ran."""
    where: str = ""
    """Of storage: in which places it is."""

    @property
    def sentence(self) -> str:
        """Say which limit, how much of it is used, and of what."""
        limit = self.bound.limit
        amount = limit.amount or 0.0
        if self.never and limit.kind is not Kind.BUDGET:
            most = in_words(limit.resource, amount)
            together = " at once" if limit.kind is Kind.AT_ONCE else ""
            return (
                f"At most {most}{together} can be had here ({limit.subject.words});"
                f" this needs {in_words(limit.resource, self.wanted)}."
            )
        said = used_in_words(self.bound, self.used)
        if limit.kind is Kind.AT_ONCE:
            return f"{said} This needs {in_words(limit.resource, self.wanted)} more."
        if limit.kind is Kind.STORAGE and self.where:
            return f"{said} It is: {self.where}."
        return said

    def hint(self, quotas: Quotas) -> str:
        """Say when it frees and whom to ask."""
        limit = self.bound.limit
        ask = f"Ask {quotas.contact} for more."
        if self.bound.scope.person is None:
            ask = f"Ask a lead of the team '{self.bound.scope.team}', or {quotas.contact}."
        if self.never:
            smaller = "Choose a smaller size. " if limit.kind is not Kind.BUDGET else ""
            return smaller + ask
        if self.frees_at is not None:
            return f"It frees at {_when(self.frees_at, quotas.timezone)}. {ask}"
        if limit.kind is Kind.AT_ONCE:
            return f"It frees when something of that ends. {ask}"
        if limit.kind is Kind.STORAGE:
            return (
                "Delete files that nobody needs; while this waits, it is measured again every few"
                f" minutes. {ask}"
            )
        return ask


def used_in_words(bound: Bound, used: float) -> str:
    """Say how much of a limit is used: `ada has used 3.5 of 20 GPU-hours per 7 days (…).`."""
    limit = bound.limit
    amount = in_words(limit.resource, limit.amount or 0.0)
    match limit.kind:
        case Kind.LARGEST:
            return f"At most {amount} ({limit.subject.words})."
        case Kind.STORAGE:
            has = f"keeps {in_words(limit.resource, used)} of {amount}"
        case Kind.AT_ONCE:
            has = f"has {in_words(limit.resource, used, unit=False)} of {amount} in use"
        case Kind.BUDGET:
            each = f"in this {limit.per}" if rolling_days(limit.per or "") is None else ""
            each = each or f"per {limit.per}"
            has = f"has used {in_words(limit.resource, used, unit=False)} of {amount} {each}"
    return f"{bound.scope.words} {has} ({limit.subject.words})."


_UNITS: Final = {
    Resource.CPU: ("core", "cores"),
    Resource.GPU: ("GPU", "GPUs"),
    Resource.SERVERS: ("server", "servers"),
    Resource.RUNS: ("run", "runs"),
    Resource.CPU_HOURS: ("CPU-hour", "CPU-hours"),
    Resource.GIB_HOURS: ("GiB-hour", "GiB-hours"),
    Resource.GPU_HOURS: ("GPU-hour", "GPU-hours"),
    Resource.MONEY: ("", ""),
}


def unit_of(resource: Resource) -> str:
    """Return the unit of a resource's amounts."""
    return _UNITS[resource][1] if resource in _UNITS else "bytes"


def in_words(resource: Resource, amount: float, *, unit: bool = True) -> str:
    """Return an amount as people read it."""
    if resource not in _UNITS:
        return memory_in_words(int(amount))
    # never rounded up to what is not used yet
    number = f"{int(amount * 100 + _ENOUGH) / 100:.2f}".rstrip("0").rstrip(".")
    word = _UNITS[resource][0 if amount == 1 else 1]
    return f"{number} {word}".strip() if unit else number


def _when(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")


# ---------------------------------------------------------------------------------------- checking


def refused_ever(bounds: Iterable[Bound], wanted: Amounts) -> Refusal | None:
    """Return the limit in which something never fits, whatever else runs."""
    for bound in bounds:
        limit, amount = bound.limit, bound.limit.amount
        if amount is None:
            continue
        if limit.kind in {Kind.LARGEST, Kind.AT_ONCE}:
            asked = wanted.of(limit.resource)
            if asked > amount + _ENOUGH:
                return Refusal(bound, 0.0, asked, never=True)
        elif limit.kind is Kind.BUDGET and amount <= 0 and draws_on(limit.resource, wanted):
            return Refusal(bound, 0.0, 0.0, never=True)
    return None


def refused_now(
    bounds: Iterable[Bound],
    wanted: Amounts,
    in_use: Callable[[Scope], Amounts],
    spent: Callable[[Bound], float],
    kept: Callable[[Scope], tuple[float, str]] = lambda _: (0.0, ""),
) -> Refusal | None:
    """Return the first limit in which something does not fit now.

    `in_use` says what runs now, `spent` what of a budget is used up, `kept` how many bytes are kept
    and where. A budget lets things start until it is used up. What is kept keeps runs from
    starting, but no server: in it, files are deleted.
    """
    bounds = tuple(bounds)
    never = refused_ever(bounds, wanted)
    if never is not None:
        return never
    for bound in bounds:
        limit, amount = bound.limit, bound.limit.amount or 0.0
        if limit.kind is Kind.AT_ONCE:
            asked, used = wanted.of(limit.resource), in_use(bound.scope).of(limit.resource)
            if asked > 0 and used + asked > amount + _ENOUGH:
                return Refusal(bound, used, asked)
        elif limit.kind is Kind.BUDGET and draws_on(limit.resource, wanted):
            used = spent(bound)
            if used >= amount - _ENOUGH:
                return Refusal(bound, used, 0.0)
        elif limit.kind is Kind.STORAGE and wanted.runs > 0:
            used, where = kept(bound.scope)
            if used > amount:
                return Refusal(bound, used, 0.0, where=where)
    return None


def draws_on(resource: Resource, wanted: Amounts) -> bool:
    """Whether something uses up a budget at all: without a GPU, no GPU-hours."""
    return resource is not Resource.GPU_HOURS or wanted.gpu > 0


# -------------------------------------------------------------------------------- when it frees


class Used(NamedTuple):
    """What was given from when to when, and how much of a budget an hour of it is."""

    begun_at: datetime
    ended_at: datetime
    per_hour: float


def budget_frees_at(bound: Bound, used: Sequence[Used], now: datetime) -> datetime | None:
    """Return when a budget that is used up has room again, if nothing more is used; else None."""
    limit, amount = bound.limit, bound.limit.amount
    if limit.per is None or not amount or amount <= 0:
        return None
    days = rolling_days(limit.per)
    if days is None:
        return window(limit.per, limit.zone, now).until
    since = now - timedelta(days=days)
    steps: list[tuple[datetime, float]] = []
    total = 0.0
    for each in used:
        begun, ended = max(each.begun_at, since), min(each.ended_at, now)
        if begun < ended:
            total += each.per_hour * (ended - begun).total_seconds() / 3600
            steps += [(begun, each.per_hour), (ended, -each.per_hour)]
    surplus = total - amount
    if surplus < -_ENOUGH:
        return now
    rate, at = 0.0, since
    for moment, change in sorted(steps):
        seconds = (moment - at).total_seconds()
        if rate > _ENOUGH and rate * seconds / 3600 > surplus + _ENOUGH:
            break
        surplus -= rate * seconds / 3600
        rate, at = rate + change, moment
    needed = max(0.0, surplus) / rate * 3600 if rate > _ENOUGH else 0.0
    left = at + timedelta(seconds=needed + 1)  # when less than all of it is used
    return (left + timedelta(days=days)).astimezone(UTC)
