"""What runs now and what waits, as those see it who look after it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from element_jupyter.core.access import Action, Person, Visitor, may, of_team
from element_jupyter.core.quotas.allocations import AllocationId, AllocationKind
from element_jupyter.core.runs import RunId
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, UtcTime, Value


class RunningThing(Value):
    """An editor, the server of a team, or a run that has something now."""

    id: AllocationId
    kind: AllocationKind
    person: Name
    """Whose it is; of a team's own server, the Hub's user that the team has."""
    team: Name
    server: str
    """Its name at the Hub; empty for somebody's editor."""
    run_id: RunId | None = None
    job: str | None = None
    notebook: str | None = None
    size: Name
    cpu: float
    memory_bytes: int
    gpu: int
    since: UtcTime
    cost: Decimal | None = None
    """Up to now, in the currency of the sizes; None where its size has no price."""
    working: bool | None = None
    """Whether it really does something; None where nothing has told it."""
    idle_since: UtcTime | None = None
    stops_at: UtcTime | None = None
    """When it is stopped, if it does nothing until then."""
    stopping: bool = False
    """Whether it was told to stop already."""


class RunningOrder(StrEnum):
    """By what a list of what runs is ordered; the longest, dearest and first name come first."""

    SINCE = "since"
    NEWEST = "newest"
    COST = "cost"
    PERSON = "person"
    TEAM = "team"
    SIZE = "size"


class RunningFilter(NamedTuple):
    """What of all that runs is asked for, and in which order; None filters nothing."""

    team: str | None = None
    person: str | None = None
    kind: AllocationKind | None = None
    size: str | None = None
    search: str = ""
    """Part of any of its names."""
    order: RunningOrder = RunningOrder.SINCE
    idle: bool = False
    """Only what is known to do nothing."""


class QueueFilter(NamedTuple):
    """What of the queue is asked for; None filters nothing."""

    team: str | None = None
    person: str | None = None
    search: str = ""


class RunningTotals(Value):
    """What is listed, taken together."""

    editors: int = 0
    team_servers: int = 0
    runs: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0
    gpu: int = 0
    cost: Decimal = Decimal(0)


class RunningPage(Value):
    """Part of what runs; `totals` are of all that the filters let through."""

    items: tuple[RunningThing, ...]
    next_cursor: str | None = None
    totals: RunningTotals
    currency: str
    at: UtcTime


class Stopped(Value):
    """What became of a wish to stop something."""

    id: AllocationId
    ended: bool
    """False while it is still saving and closing what it has open."""


class WaitingRun(Value):
    """A run in the queue."""

    run_id: RunId
    place: Annotated[int, Field(ge=1)]
    """1 is next, among everybody's."""
    reason: str
    """Why it waits, in a sentence."""
    fits: bool
    """Whether its limits have room for it, so that it waits for its turn only."""
    starts_about: UtcTime | None = None
    """When a limit frees that keeps it; None where nobody can know."""
    job: str | None = None
    task: str
    notebook: str
    person: Name
    team: Name
    size: Name | None = None
    since: UtcTime


class QueuePage(Value):
    """Part of the queue; the numbers are of all that the filters let through."""

    items: tuple[WaitingRun, ...]
    next_cursor: str | None = None
    count: int
    waited_seconds: float
    """By all of them together."""
    longest_seconds: float
    executing: int
    """Of everybody."""
    capacity: int
    at: UtcTime


class Seen(NamedTuple):
    """What somebody may see of what runs and waits; `everything` goes before the others."""

    everything: bool
    person: str = ""
    teams: frozenset[str] = frozenset()

    def covers(self, person: str, team: str) -> bool:
        return self.everything or person == self.person or team in self.teams


def seen_by(who: Person) -> Seen:
    """Return what somebody sees: their own; a lead, their team's; an administrator, everything."""
    if who.admin:
        return Seen(everything=True)
    if isinstance(who, Visitor):
        # any member may be who asks: what others of the team have is not for all of them
        return Seen(everything=False, person=who.holder)
    led = (team for team, level in who.levels.items() if level.covers(Level.LEAD))
    return Seen(everything=False, person=who.name, teams=frozenset(led))


def may_stop(who: Person, thing: RunningThing) -> None:
    """Return when somebody may stop this: their own; a lead, their team's; an administrator.

    Raises:
        Forbidden: it is not theirs; the hint says who can.
    """
    if thing.person != who.holder or isinstance(who, Visitor):
        may(who, Action.MANAGE, of_team(thing.team))
