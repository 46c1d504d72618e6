"""Budgets that are nearly or wholly used up: who is told, and what is stopped after a grace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from element_jupyter.core.care.idleness import in_words
from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.core.care.standing import BY_BUDGET, Standing, called
from element_jupyter.core.quotas.allocations import Allocation
from element_jupyter.core.quotas.checking import draws_on, used_in_words
from element_jupyter.core.quotas.rules import Bound, Claimant, Kind, Quotas, Resource, bounds
from element_jupyter.core.quotas.use import Levels, Use
from element_jupyter.core.quotas.windows import rolling_days, window
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.teams import Level

NEAR: Final = 0.8
"""From this part of a budget on, people are told."""
NEAR_NO_MORE: Final = 0.75
"""Below this part it is over: what a window that moves along sways by is not told each time."""
TOLD: Final = (NoticeKind.BUDGET_NEAR, NoticeKind.BUDGET_SPENT, NoticeKind.BUDGET_STOP)

People = Mapping[str, Levels]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A budget that somebody has drawn on, in the window that it is now."""

    bound: Bound
    used: float
    since: datetime
    until: datetime | None
    """When the next window begins; None: this one moves along."""

    @property
    def share(self) -> float:
        amount = self.bound.limit.amount or 0.0
        return self.used / amount if amount > 0 else float(self.used > 0)

    @property
    def about(self) -> str:
        scope, limit = self.bound.scope, self.bound.limit
        whose = f"{scope.person or ''}/{scope.team or ''}"
        return f"budget {whose} {limit.resource} {limit.per} {limit.zone} {limit.subject}"


def drawn(quotas: Quotas, use: Use, people: People, now: datetime) -> list[Drawn]:
    """Return the budgets that anything was drawn on, and which count now."""
    found: dict[Bound, Drawn] = {}
    for person, team in use.holders:
        for bound in bounds(quotas, _claimant(people, person, team), now):
            limit = bound.limit
            if limit.kind is not Kind.BUDGET or limit.per is None or bound in found:
                continue
            then = window(limit.per, limit.zone, use.now)
            if then.until is None or now < then.until:
                used = use.of(bound) or 0.0
                found[bound] = Drawn(bound, used, then.since, then.until)
    return list(found.values())


def _claimant(people: People, person: str, team: str) -> Claimant:
    if team_of_account(person) is not None:
        return Claimant(None, team)
    return Claimant(person, team, people.get(person, {}).get(team))


# ---------------------------------------------------------------------------------------- telling


def to_tell(
    quotas: Quotas, found: Iterable[Drawn], people: People, told: Sequence[Told], now: datetime
) -> tuple[list[Told], set[tuple[str, str, NoticeKind]]]:
    """Return what is to be told anew, and the person, subject and kind of what is so now."""
    leads = _leads(people)
    known = {(each.person, each.about, each.kind) for each in told}
    new, so = [], set()
    for each in found:
        scope = each.bound.scope
        whom = leads.get(scope.team or "", ()) if scope.person is None else (scope.person,)
        for person in whom:
            near = (person, each.about, NoticeKind.BUDGET_NEAR)
            spent = (person, each.about, NoticeKind.BUDGET_SPENT)
            if each.share >= 1:
                thing = spent
            elif each.share >= NEAR or (near in known and each.share >= NEAR_NO_MORE):
                thing = near
            else:
                continue
            so.add(thing)
            if thing not in known:
                new.append(_notice(quotas, each, person, thing[2], now))
    return new, so


def _leads(people: People) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for person, levels in people.items():
        for team, level in levels.items():
            if level is Level.LEAD:
                found.setdefault(team, []).append(person)
    return found


def _notice(quotas: Quotas, drawn_: Drawn, person: str, kind: NoticeKind, now: datetime) -> Told:
    limit = drawn_.bound.limit
    # once in a calendar's window; one that moves along begins anew when it was over
    which = drawn_.since.isoformat() if rolling_days(limit.per or "") is None else now.isoformat()
    stops = f" What runs on it is stopped {_grace(limit.grace_seconds)} after that."
    if kind is NoticeKind.BUDGET_NEAR:
        hint = "Once it is used up, nothing that draws on it is started."
    else:
        hint = "Nothing that draws on it is started until it frees."
        stops = " What runs on it is stopped; its people are told when."
    if limit.grace_seconds is not None:
        hint += stops
    if drawn_.until is not None:
        zone = ZoneInfo(quotas.timezone)
        hint += f" It begins anew at {drawn_.until.astimezone(zone):%Y-%m-%d %H:%M %Z}."
    return Told(
        id=notice_id(person, kind, drawn_.about, f"{which} {limit.amount}"),
        person=person,
        kind=kind,
        about=drawn_.about,
        sentence=used_in_words(drawn_.bound, drawn_.used),
        hint=f"{hint} Ask {quotas.contact} for more.",
        at=now,
    )


def _grace(seconds: float | None) -> str:
    return in_words(seconds or 0.0)


# --------------------------------------------------------------------------------------- stopping


@dataclass(frozen=True, slots=True)
class Stop:
    """Something that runs on a budget that is used up, which then stops it."""

    standing: Standing
    drawn: Drawn

    @property
    def allocation(self) -> Allocation:
        return self.standing.allocation

    @property
    def why(self) -> str:
        """Say why, as the end of an allocation does."""
        said = used_in_words(self.drawn.bound, self.drawn.used).removesuffix(".")
        return f"{BY_BUDGET}: {said}"[:500]


def stops(found: Iterable[Drawn]) -> list[Drawn]:
    """Return the budgets that are used up and stop what runs on them."""
    return [
        each for each in found if each.share >= 1 and each.bound.limit.grace_seconds is not None
    ]


def to_stop(
    quotas: Quotas,
    spent: Iterable[Drawn],
    running: Iterable[Standing],
    people: People,
    now: datetime,
) -> list[Stop]:
    """Return what runs on these budgets: what has been idle for longest first."""
    by_bound = {each.bound: each for each in spent}
    found = []
    for standing in running:
        at_work = list(_stopped_by(quotas, by_bound, standing.allocation, people, now))
        if at_work:
            shortest = min(at_work, key=lambda each: each.bound.limit.grace_seconds or 0.0)
            found.append(Stop(standing, shortest))
    return sorted(
        found, key=lambda each: (each.standing.seen.working, each.standing.seen.active_at)
    )


def _stopped_by(
    quotas: Quotas,
    spent: Mapping[Bound, Drawn],
    allocation: Allocation,
    people: People,
    now: datetime,
) -> Iterator[Drawn]:
    who = allocation.claimant(people.get(allocation.person, {}).get(allocation.team))
    for bound in bounds(quotas, who, now):
        free = bound.limit.resource is Resource.MONEY and not allocation.price_per_hour
        if bound in spent and draws_on(bound.limit.resource, allocation.wanted) and not free:
            yield spent[bound]


def stop_notice(stop: Stop, now: datetime) -> Told:
    """Return what the person of something is told before it is stopped."""
    allocation, limit = stop.allocation, stop.drawn.bound.limit
    deadline = now.astimezone(UTC) + timedelta(seconds=limit.grace_seconds or 0.0)
    used = used_in_words(stop.drawn.bound, stop.drawn.used)
    return Told(
        id=notice_id(
            allocation.person, NoticeKind.BUDGET_STOP, allocation.id, deadline.isoformat()
        ),
        person=allocation.person,
        kind=NoticeKind.BUDGET_STOP,
        about=allocation.id,
        sentence=f"{called(allocation)} is stopped soon: a budget is used up. {used}",
        hint="Save what you need, and let it end; what is saved stays.",
        at=now,
        deadline=deadline,
    )
