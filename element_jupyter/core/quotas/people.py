"""How all people and teams stand towards their limits, and where each limit comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from element_jupyter.core.quotas.checking import unit_of, used_in_words
from element_jupyter.core.quotas.rules import (
    Bound,
    Claimant,
    Kind,
    Limit,
    Quotas,
    Resource,
    Subject,
    bounds,
    in_force,
)
from element_jupyter.core.quotas.use import Levels, Use
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, UtcTime, Value

_EACH: Final = "*"


class HeldLimit(Value):
    """A limit that counts for somebody, and how much of it is used."""

    subject: str
    """Whose limit it is, as `quotas.yaml` says it."""
    comes_from: str
    """In words, such as `from the limit of a member of the team 'ml', 2 others are larger`."""
    team: Name | None
    """Where it counts for one team alone."""
    kind: Kind
    resource: Resource
    limit: float
    used: float | None
    """None where nothing adds up, and where it is none of the asker's business."""
    fraction: float | None
    """Used of the limit; 1 is all of it."""
    unit: str
    window: str | None
    until: UtcTime | None
    sentence: str


class PersonStanding(Value):
    """How one person stands."""

    person: str
    teams: dict[Name, Level]
    """Empty for who is suspended, or not known to the Hub any more."""
    fraction: float | None
    """The largest of the limits; None: nothing that adds up is limited."""
    limits: tuple[HeldLimit, ...]


class TeamStanding(Value):
    """How one team stands together."""

    team: str
    people: int
    fraction: float | None
    limits: tuple[HeldLimit, ...]


def person_standing(
    quotas: Quotas,
    use: Use,
    person: str,
    levels: Levels,
    *,
    only: Collection[Name] | None = None,
) -> PersonStanding:
    """Return how somebody stands; `only`: for one who may know of these teams and no more."""
    found: dict[Bound, HeldLimit] = {}
    for who in _claims(use, person, levels):
        if only is not None and who.team not in only:
            continue
        for bound in bounds(quotas, who, use.now):
            if bound.scope.person is None or bound in found:
                continue
            hidden = only is not None and bound.scope.team is None
            comes_from = _comes_from(_others(quotas, who, bound, use), bound)
            found[bound] = _held(bound, None if hidden else use.of(bound), comes_from)
    limits = tuple(found.values())
    shown = levels if only is None else {team: levels[team] for team in only if team in levels}
    return PersonStanding(
        person=person, teams=dict(shown), fraction=_largest(limits), limits=limits
    )


def person_fraction(
    quotas: Quotas, use: Use, person: str, levels: Levels, *, only: Collection[Name] | None = None
) -> float:
    """Return the largest part of a limit that somebody uses; 0 where nothing is limited."""
    largest = 0.0
    for who in _claims(use, person, levels):
        if only is not None and who.team not in only:
            continue
        for bound in bounds(quotas, who, use.now):
            if bound.scope.person is None or (only is not None and bound.scope.team is None):
                continue
            largest = max(largest, _fraction(bound, use.of(bound)) or 0.0)
    return largest


def team_standing(quotas: Quotas, use: Use, team: str, people: int) -> TeamStanding:
    """Return how a team stands with what it uses together."""
    limits = tuple(
        _held(bound, use.of(bound), f"from {bound.limit.subject.words}")
        for bound in bounds(quotas, Claimant(None, team), use.now)
    )
    return TeamStanding(team=team, people=people, fraction=_largest(limits), limits=limits)


def _claims(use: Use, person: str, levels: Levels) -> Iterator[Claimant]:
    for team, level in levels.items():
        yield Claimant(person, team, level)
    for team in use.teams_of.get(person, ()):
        if team not in levels:
            yield Claimant(person, team)


def _held(bound: Bound, used: float | None, comes_from: str) -> HeldLimit:
    limit = bound.limit
    return HeldLimit(
        subject=str(limit.subject),
        comes_from=comes_from,
        team=bound.scope.team,
        kind=limit.kind,
        resource=limit.resource,
        limit=limit.amount or 0.0,
        used=used,
        fraction=_fraction(bound, used),
        unit=unit_of(limit.resource),
        window=limit.per,
        until=limit.until,
        sentence=used_in_words(bound, used or 0.0),
    )


def _fraction(bound: Bound, used: float | None) -> float | None:
    if used is None:
        return None
    amount = bound.limit.amount or 0.0
    if amount <= 0:
        return 1.0 if used > 0 else 0.0
    return used / amount


def _largest(limits: Iterable[HeldLimit]) -> float | None:
    return max((each.fraction for each in limits if each.fraction is not None), default=None)


def _others(quotas: Quotas, who: Claimant, bound: Bound, use: Use) -> Iterator[Limit]:
    subjects = [Subject("person", who.person or ""), Subject("everyone")]
    if not who.alone:
        names = (f"{who.team}/{who.person}", who.team, _EACH)
        subjects += [Subject("member", name) for name in names]
        subjects += [Subject("role", who.level.value)] if who.level else []
    one = bound.limit
    for subject in subjects:
        for limit in in_force(quotas.by_subject.get(subject, ()), use.now):
            same = (limit.kind, limit.resource, limit.per) == (one.kind, one.resource, one.per)
            if same and limit is not one:
                yield limit


def _comes_from(others: Iterable[Limit], bound: Bound) -> str:
    amount = bound.limit.amount or 0.0
    said = list(others)
    larger = sum(each.amount is None or each.amount > amount for each in said)
    smaller = sum(each.amount is not None and each.amount < amount for each in said)
    words = f"from {bound.limit.subject.words}"
    if larger:
        words += f", {larger} {'other is' if larger == 1 else 'others are'} larger"
    if smaller:
        words += f", {smaller} {'other is' if smaller == 1 else 'others are'} smaller"
    return words


def members(people: Mapping[str, Levels]) -> dict[str, int]:
    """Return how many are in each team, besides the teams of one."""
    found: dict[str, int] = {}
    for person, levels in people.items():
        for team in levels:
            if team != person:
                found[team] = found.get(team, 0) + 1
    return found
