"""What `quotas.yaml` says: limits, whom each is for, and which of them count for somebody."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from element_jupyter.core.quotas.windows import Per, Zone, midnight
from element_jupyter.core.sizes import parse_bytes
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value, parse_seconds, slug

RULE: Final = (
    "A person's own limit counts, else the one that they alone have in the team, else the smallest"
    " of those for their role and their membership, else everyone's; what is said of a named team"
    " replaces what is said of each team, and what a team uses together must always stay within its"
    " own limit as well."
)
"""The whole rule by which limits combine; pages show it."""


class Kind(StrEnum):
    """Limits of different kinds have nothing to do with one another."""

    LARGEST = "largest"
    """What one server or run may have."""
    AT_ONCE = "at_once"
    """What all that run at the same time may have together."""
    BUDGET = "budget"
    """What may be used up over a window."""
    STORAGE = "storage"


class Resource(StrEnum):
    """What a limit is about, in the unit of its amount."""

    CPU = "cpu"
    MEMORY = "memory_bytes"
    GPU = "gpu"
    SERVERS = "servers"
    RUNS = "runs"
    CPU_HOURS = "cpu_hours"
    GIB_HOURS = "gib_hours"
    GPU_HOURS = "gpu_hours"
    MONEY = "money"
    STORAGE = "storage_bytes"


# ------------------------------------------------------------------------------------- subjects

_EACH: Final = "*"
_SUBJECT: Final = re.compile(r"everyone|(role|team|member|person):(.+)")


class Subject(NamedTuple):
    """Whom a limit is for."""

    what: str
    """`everyone`, `role`, `team`, `member` or `person`."""
    name: str = ""
    """Of the role, team or person; `*`: each team; `TEAM/PERSON`: one member alone."""

    def __str__(self) -> str:
        return f"{self.what}:{self.name}" if self.name else self.what

    @property
    def words(self) -> str:
        """Say whose limit it is."""
        match self.what, self.name:
            case "everyone", _:
                return "everyone's limit"
            case "role", role:
                return f"the limit of a {role}"
            case "team", name:
                return "each team's limit" if name == _EACH else f"the team's limit ({name})"
            case "member", name if "/" in name:
                team, _, person = name.partition("/")
                return f"{person}'s own limit in the team '{team}'"
            case "member", name:
                of = "any team" if name == _EACH else f"the team '{name}'"
                return f"the limit of a member of {of}"
            case _, name:
                return f"{name}'s own limit"


def _subject(text: str) -> str:
    match = _SUBJECT.fullmatch(text)
    what, name = (match[1], match[2] or "") if match else (None, "")
    if match and what is None:
        return text
    named = _is_name(name)
    if what == "role" and name in set(Level):
        return text
    if what in {"team", "member"} and (named or name == _EACH):
        return text
    team, alone, person = name.partition("/")
    if what == "member" and alone and _is_name(team) and _is_name(person):
        return text
    if what == "person" and named:
        return text
    raise ValueError(
        "it must be everyone, role:viewer, role:member, role:lead, team:NAME, team:*, member:NAME,"
        " member:*, member:TEAM/PERSON or person:NAME"
    )


def _is_name(text: str) -> bool:
    return bool(text) and slug(text, "") == text


def subject_of(text: str) -> Subject:
    """Read a subject as it is written in the file."""
    what, _, name = text.partition(":")
    return Subject(what, name)


SubjectText = Annotated[str, StringConstraints(max_length=140), AfterValidator(_subject)]


# --------------------------------------------------------------------------------------- the file


def _grace(said: Any) -> Any:
    if isinstance(said, int | float):
        said = f"{said:g} s"
    seconds = parse_seconds(said)
    if not isinstance(seconds, float) or not 0 < seconds <= _LONGEST_GRACE_SECONDS:
        raise ValueError("it must be a length of time up to 30 days, such as '2 h' or '30 min'")
    return said


_LONGEST_GRACE_SECONDS: Final = 30 * 86_400
_GRACE: Final = "2 h"
Grace = Annotated[str, StringConstraints(max_length=30), BeforeValidator(_grace)]
Unlimited = Literal["unlimited"]
_Number = Annotated[float, Field(ge=0, le=1e15)]
Amount = _Number | Unlimited | None
Whole = Annotated[int, Field(ge=0, le=1_000_000)] | Unlimited | None
Memory = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0)] | Unlimited | None
"""`unlimited` takes away what a wider limit says; what is left out says nothing."""


class Largest(Value):
    """What one server or run may have."""

    cpu: Amount = None
    """Cores."""
    memory_bytes: Memory = None
    gpu: Whole = None


class AtOnce(Largest):
    """What all that run at the same time may have together."""

    servers: Whole = None
    """Editors, and servers of teams."""
    runs: Whole = None


class Budget(Value):
    """What may be used up over a window, by what was given, whether it was used or not."""

    per: Per
    timezone: Zone | None = None
    """Of a calendar's window; else that of the file."""
    cpu_hours: Amount = None
    gib_hours: Amount = None
    """Of memory."""
    gpu_hours: Amount = None
    money: Amount = None
    """In the currency of `sizes.yaml`, at the prices when each server or run began."""
    then: Literal["refuse", "stop"] | None = None
    """Once it is used up nothing more is started; with `stop`, what runs is stopped as well, …"""
    grace: Grace | None = None
    """… so long after people were told; 2 hours when nothing is said."""

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if not any(self._said()):
            raise ValueError("it must limit cpu_hours, gib_hours, gpu_hours or money")
        if self.grace is not None and self.then != "stop":
            raise ValueError("a grace is for a budget with 'then: stop'")
        return self

    @property
    def stops_after(self) -> str | None:
        """How long after it is used up what runs is stopped; None: it goes on."""
        return (self.grace or _GRACE) if self.then == "stop" else None

    def _said(self) -> list[object]:
        amounts = (self.cpu_hours, self.gib_hours, self.gpu_hours, self.money)
        return [True for amount in amounts if amount is not None]


BUDGETS_OWN: Final = frozenset({"per", "timezone", "then", "grace"})
"""What a budget says besides its limits."""


class Quota(Value):
    """The limits of one subject."""

    who: SubjectText
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    until: date | None = None
    """The last day, in the time zone of the file, on which they replace the subject's others."""
    largest: Largest | None = None
    at_once: AtOnce | None = None
    budgets: Annotated[tuple[Budget, ...], Field(max_length=20)] = ()
    storage_bytes: Memory = None

    def amounts(self) -> Iterator[tuple[Kind, Resource, float | None, Budget | None]]:
        """Yield what is limited; None is unlimited."""
        for kind, said in ((Kind.LARGEST, self.largest), (Kind.AT_ONCE, self.at_once)):
            if said is not None:
                for name, amount in _given(said):
                    yield kind, Resource(name), amount, None
        for budget in self.budgets:
            for name, amount in _given(budget):
                yield Kind.BUDGET, Resource(name), amount, budget
        if self.storage_bytes is not None:
            yield Kind.STORAGE, Resource.STORAGE, _number(self.storage_bytes), None


def _given(said: Value) -> Iterator[tuple[str, float | None]]:
    names = set(Resource)
    for name, value in said:
        if name in names and value is not None:
            yield name, _number(value)


def _number(value: Any) -> float | None:
    return None if value == "unlimited" else float(value)


@dataclass(frozen=True, slots=True)
class Limit:
    """One number of the file."""

    subject: Subject
    kind: Kind
    resource: Resource
    amount: float | None
    """None: unlimited."""
    per: str | None = None
    zone: str = "UTC"
    until: datetime | None = None
    """When an exception ends."""
    reason: str = ""
    grace_seconds: float | None = None
    """How long after a budget is used up what runs is stopped; None: it goes on."""


class Quotas(Value):
    """What `quotas.yaml` says; without limits, everybody may use what the machines have."""

    timezone: Zone = "UTC"
    """Of calendar windows, and of the days on which exceptions end."""
    contact: Annotated[str, StringConstraints(max_length=200)] = "an administrator of this Hub"
    """Whom refusals name to be asked."""
    quotas: Annotated[tuple[Quota, ...], Field(max_length=20_000)] = ()

    @model_validator(mode="after")
    def _says_each_thing_once(self) -> Quotas:
        seen = set()
        for quota in self.quotas:
            for kind, resource, _, budget in quota.amounts():
                thing = (quota.who, kind, resource, budget and budget.per, quota.until is None)
                if thing in seen:
                    raise ValueError(
                        f"'{quota.who}' has two limits of {resource.value} ({kind.value});"
                        " besides one there may be one with an end ('until')"
                    )
                seen.add(thing)
        return self

    @cached_property
    def by_subject(self) -> dict[Subject, tuple[Limit, ...]]:
        """The limits, by whom they are for."""
        found: dict[Subject, list[Limit]] = {}
        for quota in self.quotas:
            subject = subject_of(quota.who)
            until = None
            if quota.until is not None:
                until = midnight(quota.until + timedelta(days=1), ZoneInfo(self.timezone))
            for kind, resource, amount, budget in quota.amounts():
                found.setdefault(subject, []).append(
                    Limit(
                        subject,
                        kind,
                        resource,
                        amount,
                        per=budget.per if budget else None,
                        zone=(budget and budget.timezone) or self.timezone,
                        until=until,
                        reason=quota.reason,
                        grace_seconds=parse_seconds(budget.stops_after) if budget else None,
                    )
                )
        return {subject: tuple(limits) for subject, limits in found.items()}

    @cached_property
    def asks_for_roles(self) -> bool:
        """Whether any limit is for a role, which has then to be asked for."""
        return any(subject.what == "role" for subject in self.by_subject)


# --------------------------------------------------------------------------------- combining them


class Scope(NamedTuple):
    """Whose use counts: of one person, of one team, or of one person for one team."""

    person: str | None = None
    team: str | None = None

    @property
    def words(self) -> str:
        match self.person, self.team:
            case None, team:
                return f"The team '{team}'"
            case person, None:
                return str(person)
            case person, team:
                return f"{person}, for the team '{team}',"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that counts for somebody, and whose use counts towards it."""

    limit: Limit
    scope: Scope


class Claimant(NamedTuple):
    """For whom something is to be started: a person (None: a team's own server), for a team."""

    person: Name | None
    team: Name
    level: Level | None = None
    """What the person is to the team, where it is known."""

    @property
    def alone(self) -> bool:
        """Whether the team is the person's own, which nobody shares."""
        return self.person == self.team


_Thing = tuple[Kind, Resource]


def bounds(quotas: Quotas, who: Claimant, now: datetime) -> tuple[Bound, ...]:
    """Return the limits that count for somebody, by `RULE`; those that are unlimited are not there.

    What everyone and a person may use is counted over all teams; what a role or a membership
    grants, for the team that the thing is started for.
    """
    said = quotas.by_subject
    found: list[Bound] = []
    pool = [Subject("team", who.team)]
    if not who.alone:
        pool.append(Subject("team", _EACH))
    of_team = Scope(team=who.team)
    taken: set[_Thing] = set()
    for subject in pool:
        limits = in_force(said.get(subject, ()), now)
        new = [each for each in limits if (each.kind, each.resource) not in taken]
        found += [Bound(limit, of_team) for limit in new]
        taken |= {(limit.kind, limit.resource) for limit in new}
    if who.person is not None:
        found += _personal(said, who, now)
    return tuple(bound for bound in found if bound.limit.amount is not None)


def _personal(
    said: dict[Subject, tuple[Limit, ...]], who: Claimant, now: datetime
) -> Iterator[Bound]:
    own = in_force(said.get(Subject("person", who.person or ""), ()), now)
    everyone = in_force(said.get(Subject("everyone"), ()), now)
    groups = [] if who.alone else _of_groups(said, who, now)
    of_person, of_both = Scope(person=who.person), Scope(who.person, who.team)
    taken: set[_Thing] = set()
    for limits, scope in ((own, of_person), (groups, of_both), (everyone, of_person)):
        new = [each for each in limits if (each.kind, each.resource) not in taken]
        for limit in new:
            yield Bound(limit, scope)
        taken |= {(limit.kind, limit.resource) for limit in new}


def _of_groups(said: dict[Subject, tuple[Limit, ...]], who: Claimant, now: datetime) -> list[Limit]:
    """Return the smallest of each: budgets over different windows are different."""
    alone = in_force(said.get(Subject("member", f"{who.team}/{who.person}"), ()), now)
    own = {(limit.kind, limit.resource) for limit in alone}
    named = in_force(said.get(Subject("member", who.team), ()), now)
    replaced = {(limit.kind, limit.resource) for limit in named}
    each = [
        limit
        for limit in in_force(said.get(Subject("member", _EACH), ()), now)
        if (limit.kind, limit.resource) not in replaced
    ]
    role = said.get(Subject("role", who.level.value), ()) if who.level else ()
    smallest: dict[tuple[Kind, Resource, str | None, str], Limit] = {}
    for limit in (*named, *each, *in_force(role, now)):
        if (limit.kind, limit.resource) in own:
            continue
        thing = (limit.kind, limit.resource, limit.per, limit.zone)
        known = smallest.get(thing)
        if known is None or _less(limit.amount, known.amount):
            smallest[thing] = limit
    return [*alone, *smallest.values()]


def _less(amount: float | None, other: float | None) -> bool:
    return amount is not None and (other is None or amount < other)


def in_force(limits: Collection[Limit], now: datetime) -> list[Limit]:
    """Return what counts at a moment: an exception, while it lasts, instead of what it excepts."""
    if not limits:
        return []
    now = now.astimezone(UTC)
    lasting = [limit for limit in limits if limit.until is None or now < limit.until]
    excepted = {(limit.kind, limit.resource) for limit in lasting if limit.until is not None}
    return [
        limit
        for limit in lasting
        if limit.until is not None or (limit.kind, limit.resource) not in excepted
    ]
