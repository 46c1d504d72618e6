"""What all people and teams use at one moment, and who a change of the quotas would be felt by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from element_jupyter.core.quotas.checking import Amounts, used_in_words
from element_jupyter.core.quotas.policies import changes
from element_jupyter.core.quotas.rules import (
    Bound,
    Claimant,
    Kind,
    Quotas,
    Resource,
    Scope,
    bounds,
)
from element_jupyter.core.quotas.windows import window
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value

BUDGETED: Final = (Resource.CPU_HOURS, Resource.GIB_HOURS, Resource.GPU_HOURS, Resource.MONEY)
"""What sums of use are of, in their order."""
Sums = tuple[float, float, float, float]
Levels = Mapping[Name, Level]
_NOTHING: Final[Sums] = (0.0, 0.0, 0.0, 0.0)


class Held(NamedTuple):
    """What one server or run has that has not ended."""

    person: str
    """Of a team's own server, the Hub's user that the team has."""
    team: str
    has: Amounts


class Use:
    """What is used, by whom: now, and since the beginnings of the windows that were asked for."""

    def __init__(
        self,
        now: datetime,
        held: Sequence[Held],
        spent: Mapping[datetime, Iterable[tuple[str, str, Sums]]],
    ) -> None:
        self.now = now
        self.held = held
        self._in_use: dict[Scope, Amounts] = defaultdict(Amounts)
        for each in held:
            for scope in _scopes(each.person, each.team):
                self._in_use[scope] = self._in_use[scope].plus(each.has)
        self._spent: dict[tuple[Scope, datetime], Sums] = {}
        self._since: dict[tuple[str, str], datetime] = {}
        self.holders = {(each.person, each.team) for each in held}
        """Who uses something, or has, and for which team."""
        for since, rows in spent.items():
            for person, team, sums in rows:
                self.holders.add((person, team))
                for scope in _scopes(person, team):
                    known = self._spent.get((scope, since), _NOTHING)
                    self._spent[scope, since] = (
                        known[0] + sums[0],
                        known[1] + sums[1],
                        known[2] + sums[2],
                        known[3] + sums[3],
                    )

        self.teams_of: dict[str, set[str]] = defaultdict(set)
        """The same, by person."""
        for person, team in self.holders:
            if team_of_account(person) is None:
                self.teams_of[person].add(team)

    def of(self, bound: Bound) -> float | None:
        """Return how much of a limit is used; None where nothing adds up."""
        limit = bound.limit
        if limit.kind is Kind.AT_ONCE:
            return self._in_use[bound.scope].of(limit.resource)
        if limit.kind is not Kind.BUDGET:
            return None
        per = limit.per or "1 day", limit.zone
        since = self._since.get(per)
        if since is None:
            since = self._since[per] = window(*per, self.now).since
        sums = self._spent.get((bound.scope, since), _NOTHING)
        return sums[BUDGETED.index(limit.resource)]


def _scopes(person: str, team: str) -> tuple[Scope, Scope, Scope]:
    return Scope(person), Scope(team=team), Scope(person, team)


def beginnings(policies: Iterable[Quotas], now: datetime) -> set[datetime]:
    """Return when the windows of all budgets began."""
    return {
        window(limit.per, limit.zone, now).since
        for quotas in policies
        for limits in quotas.by_subject.values()
        for limit in limits
        if limit.per is not None
    }


# ---------------------------------------------------------------------------- what a change does


class Over(Value):
    """Somebody who uses more than a limit that is new to them."""

    person: Name | None
    team: Name | None
    sentence: str


class Affected(Value):
    """How many a changed limit counts for, or counted for."""

    subject: str
    people: int
    above: int
    """How many of them use more than that already."""
    sentence: str


class Effects(Value):
    """What a change of the quotas would do; what runs goes on in any case."""

    changes: tuple[str, ...]
    over: tuple[Over, ...]
    over_count: int
    """Servers and runs that go on, and would not be started any more."""
    sentence: str
    affected: tuple[Affected, ...]


@dataclass(frozen=True, slots=True)
class _Felt:
    people: set[str]
    above: set[str]


def effects(before: Quotas, after: Quotas, people: Mapping[str, Levels], use: Use) -> Effects:
    """Return what would change for the people, by what they use."""
    over: dict[Bound, Over] = {}
    felt: dict[str, _Felt] = defaultdict(lambda: _Felt(set(), set()))
    hit = [False] * len(use.held)
    held: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, each in enumerate(use.held):
        held[each.person, each.team].append(number)
    for person, who in _claimants(people, use.holders):
        was, is_now = set(bounds(before, who, use.now)), bounds(after, who, use.now)
        for bound in was.symmetric_difference(is_now):
            felt[str(bound.limit.subject)].people.add(person)
        for bound in is_now:
            if bound in was:
                continue
            numbers = held[person, who.team]
            largest = [number for number in numbers if _exceeds(bound, use.held[number].has)]
            used = use.of(bound)
            if not largest and not _is_over(bound, used):
                continue
            felt[str(bound.limit.subject)].above.add(person)
            sentence = used_in_words(bound, used or 0.0)
            over.setdefault(
                bound,
                Over(person=bound.scope.person or None, team=bound.scope.team, sentence=sentence)
                if not largest
                else Over(person=who.person, team=who.team, sentence=sentence),
            )
            for number in largest or numbers:
                hit[number] = hit[number] or bool(largest) or _draws(bound, use.held[number].has)
    return Effects(
        changes=changes(before, after),
        over=tuple(over.values()),
        over_count=sum(hit),
        sentence=_running(sum(hit)),
        affected=tuple(
            Affected(
                subject=subject,
                people=len(each.people),
                above=len(each.above),
                sentence=_affects(subject, len(each.people), len(each.above)),
            )
            for subject, each in sorted(felt.items())
        ),
    )


def _claimants(
    people: Mapping[str, Levels], holders: Collection[tuple[str, str]]
) -> Iterator[tuple[str, Claimant]]:
    for person, levels in people.items():
        for team, level in levels.items():
            yield person, Claimant(person, team, level)
    for person, team in sorted(holders):
        if team_of_account(person) is not None:
            yield person, Claimant(None, team)
        elif team not in people.get(person, {}):
            yield person, Claimant(person, team)


def _exceeds(bound: Bound, has: Amounts) -> bool:
    limit = bound.limit
    return limit.kind is Kind.LARGEST and has.of(limit.resource) > (limit.amount or 0.0)


def _is_over(bound: Bound, used: float | None) -> bool:
    return used is not None and used > (bound.limit.amount or 0.0)


def _draws(bound: Bound, has: Amounts) -> bool:
    return bound.limit.kind is Kind.AT_ONCE and has.of(bound.limit.resource) > 0


def _running(count: int) -> str:
    if not count:
        return "Nothing that runs now would be over."
    what = "server or run" if count == 1 else "servers and runs"
    return f"{count} {what} now running would be over; what runs goes on, new starts are refused."


def _affects(subject: str, people: int, above: int) -> str:
    said = f"{subject}: affects {people} {'person' if people == 1 else 'people'}"
    if above:
        said += f"; {above} {'is' if above == 1 else 'are'} already above it"
    return f"{said}."
