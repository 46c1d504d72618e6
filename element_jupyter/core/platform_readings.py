"""How full the platform is: what Prometheus is told of teams, queue, budgets and what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from element_jupyter.core.quotas.rules import Bound, Claimant, Kind, Quotas, bounds
from element_jupyter.core.quotas.use import Use
from element_jupyter.core.storage import Place
from element_jupyter.core.team_servers import team_of_account

SHARES: Final = (0.8, 1.0)
"""Of a budget: those who have used so much of one are counted."""


class Reserved(NamedTuple):
    """What is given to a team now."""

    team: str
    """Empty: what people have for themselves, all together."""
    cpu: float
    memory_bytes: int
    gpu: int
    servers: int
    runs: int
    price_per_hour: float


@dataclass(frozen=True, slots=True)
class Readings:
    """What is open and what waits."""

    reserved: tuple[Reserved, ...]
    queued: int
    longest_wait_seconds: float
    kept: Mapping[Place, int]
    """In bytes, as it was last measured."""
    measured_at: datetime | None


@dataclass(frozen=True, slots=True)
class BudgetsUsed:
    """How much of their budgets is used up."""

    teams: Mapping[tuple[str, str, str], float]
    """The share, by team, resource and window."""
    people: Mapping[float, int]
    """How many have used at least such a share of a budget of theirs."""


def budgets_used(quotas: Quotas, use: Use) -> BudgetsUsed:
    """Add up what budgets are used; limits of roles are left out, which the Hub alone knows."""
    teams: dict[tuple[str, str, str], float] = {}
    most: dict[str, float] = {}
    shared = {team for person, team in use.holders if person != team}
    for team in shared:
        for bound in _budgets(quotas, Claimant(None, team), use.now):
            limit = bound.limit
            teams[team, limit.resource.value, limit.per or ""] = _share(bound, use)
    for person, team in use.holders:
        if team_of_account(person) is None:
            found = [
                _share(bound, use)
                for bound in _budgets(quotas, Claimant(person, team), use.now)
                if bound.scope.person is not None
            ]
            most[person] = max([most.get(person, 0.0), *found])
    people = {share: sum(used >= share for used in most.values()) for share in SHARES}
    return BudgetsUsed(teams, people)


def _budgets(quotas: Quotas, who: Claimant, now: datetime) -> list[Bound]:
    return [bound for bound in bounds(quotas, who, now) if bound.limit.kind is Kind.BUDGET]


def _share(bound: Bound, use: Use) -> float:
    amount, used = bound.limit.amount or 0.0, use.of(bound) or 0.0
    return used / amount if amount else float(used > 0)
