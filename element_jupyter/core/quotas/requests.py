"""What people ask for beyond their limits, until when, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from element_jupyter.core.quotas.policies import Reason, limit_in_words
from element_jupyter.core.quotas.rules import BUDGETS_OWN, Kind, Quota, Quotas, Resource
from element_jupyter.core.quotas.windows import Per
from element_jupyter.core.sizes import parse_bytes
from element_jupyter.core.values import Name, UtcTime, Value


class RequestState(StrEnum):
    """What became of a request."""

    OPEN = "open"
    APPROVED = "approved"
    DECLINED = "declined"


class Wanted(Value):
    """One limit that somebody would like to have for a while."""

    team: Name
    """For which; one's own name is for oneself."""
    kind: Kind
    resource: Resource
    amount: Annotated[float, BeforeValidator(parse_bytes), Field(gt=0, le=1e15)]
    per: Per | None = None
    """The window of a budget, such as `7 days`."""
    until: date
    """The last day."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]

    @model_validator(mode="after")
    def _is_a_limit(self) -> Wanted:
        if (self.per is None) == (self.kind is Kind.BUDGET):
            raise ValueError("a budget, and nothing else, has a window ('per')")
        try:
            self.exception(f"person:{self.team}")
        except ValidationError:
            raise ValueError(
                f"there is no limit of {self.amount:g} {self.resource.value} ({self.kind.value})"
            ) from None
        return self

    def exception(self, who: str, reason: str = "") -> Quota:
        """Return it as an exception of the quotas, for a subject."""
        said: dict[str, Any] = {"who": who, "until": self.until, "reason": reason}
        one = {self.resource.value: self.amount}
        match self.kind:
            case Kind.LARGEST | Kind.AT_ONCE:
                said[self.kind.value] = one
            case Kind.BUDGET:
                said["budgets"] = [{"per": self.per, **one}]
            case Kind.STORAGE:
                said |= one
        return Quota.model_validate(said)

    @property
    def words(self) -> str:
        """Say what is wanted: `4 GPUs at once for the team 'ml' through 2026-12-31`."""
        what = limit_in_words(self.kind, self.resource, self.amount, self.per)
        return f"{what} for the team '{self.team}' through {self.until}"


class QuotaRequest(Wanted):
    """What somebody has asked for."""

    id: Annotated[int, Field(ge=1)]
    person: Name
    at: UtcTime
    state: RequestState
    decided_by: str | None
    decided_at: UtcTime | None
    answer: Reason
    """What whoever decided says to it."""
    granted_to: str | None
    """The subject of the exception."""
    version: int | None
    """Of the quotas, that it made."""
    sentence: str = ""


def with_exception(quotas: Quotas, exception: Quota, today: date) -> Quotas:
    """Return the quotas with one exception more.

    It takes the place of an exception of the same thing for the same subject, of which those that
    are over are left out.
    """
    things = {
        (kind, resource, budget.per if budget else None)
        for kind, resource, _, budget in exception.amounts()
    }
    kept: list[Quota] = []
    for quota in quotas.quotas:
        if quota.who != exception.who or quota.until is None:
            kept.append(quota)
        elif quota.until >= today:
            kept += _without(quota, things)
    return Quotas(timezone=quotas.timezone, contact=quotas.contact, quotas=(*kept, exception))


def _without(quota: Quota, things: set[tuple[Kind, Resource, str | None]]) -> Iterator[Quota]:
    said = quota.model_dump(exclude_none=True)
    for kind, resource, per in things:
        name = resource.value
        match kind:
            case Kind.LARGEST | Kind.AT_ONCE:
                said.get(kind.value, {}).pop(name, None)
            case Kind.BUDGET:
                for budget in said.get("budgets", ()):
                    if budget["per"] == per:
                        budget.pop(name, None)
            case Kind.STORAGE:
                said.pop(name, None)
    said["budgets"] = [budget for budget in said["budgets"] if set(budget) - BUDGETS_OWN]
    left = Quota.model_validate(said)
    if any(left.amounts()):
        yield left
