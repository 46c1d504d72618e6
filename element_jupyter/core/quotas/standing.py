"""How somebody stands towards the limits that count for them, as pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from element_jupyter.core.quotas.checking import Refusal, unit_of, used_in_words
from element_jupyter.core.quotas.rules import RULE, Bound, Kind, Quotas, Resource
from element_jupyter.core.values import Name, UtcTime, Value


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is used."""

    bound: Bound
    used: float | None
    """None where nothing adds up: of the largest size."""
    frees_at: datetime | None = None


class ShownLimit(Value):
    """A limit that counts for the one who asks."""

    subject: str
    """Whose limit it is, as `quotas.yaml` says it."""
    kind: Kind
    resource: Resource
    limit: float
    used: float | None
    """None where nothing adds up: of the largest size."""
    unit: str
    window: str | None
    """Of a budget, such as `7 days`, which move along, or `calendar month`."""
    frees_at: UtcTime | None
    """When a budget that is used up has room again."""
    until: UtcTime | None
    """When it ends, where it is an exception."""
    sentence: str


class ShownQuota(Value):
    """What the one who asks may use for a team, and whether something more fits now."""

    rule: str
    team: Name
    limits: tuple[ShownLimit, ...]
    fits: bool | None
    """Whether the size that was asked about fits now; None when none was."""
    never: bool
    """Whether it would not fit either if nothing else ran."""
    sentence: str
    """Why it does not fit."""
    hint: str
    """When it will, and whom to ask."""


def shown(
    quotas: Quotas,
    team: Name,
    standings: tuple[Standing, ...],
    refusal: Refusal | None,
    *,
    asked: bool,
) -> ShownQuota:
    """Put it into words; `asked`: it was about something that is to be started."""
    refused = refusal if asked else None
    return ShownQuota(
        rule=RULE,
        team=team,
        limits=tuple(_limit(each) for each in standings),
        fits=refused is None if asked else None,
        never=refused is not None and refused.never,
        sentence=refused.sentence if refused else "",
        hint=refused.hint(quotas) if refused else "",
    )


def _limit(standing: Standing) -> ShownLimit:
    bound = standing.bound
    limit = bound.limit
    return ShownLimit(
        subject=str(limit.subject),
        kind=limit.kind,
        resource=limit.resource,
        limit=limit.amount or 0.0,
        used=standing.used,
        unit=unit_of(limit.resource),
        window=limit.per,
        frees_at=standing.frees_at,
        until=limit.until,
        sentence=used_in_words(bound, standing.used or 0.0),
    )
