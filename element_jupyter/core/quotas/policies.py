"""Versions of the quotas: what each said, who made it, and how one differs from another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, StringConstraints

from element_jupyter.core.quotas.checking import in_words, unit_of
from element_jupyter.core.quotas.rules import Kind, Quotas, Resource
from element_jupyter.core.values import UtcTime, Value

THE_FILE: Final = "quotas.yaml"
"""Who has made the versions that the file has said."""

Reason = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)]


class Origin(StrEnum):
    """Where a version comes from."""

    FILE = "file"
    """`quotas.yaml`, which counts for as long as nobody has changed quotas in another way."""
    PAGE = "page"
    """A page, REST, or a request that was approved."""
    APPLY = "apply"
    """`element quota apply` and `undo`."""


class QuotasVersion(Value):
    """What the quotas were from one change to the next; it never changes itself."""

    number: Annotated[int, Field(ge=1)]
    document: Quotas
    by: str
    at: UtcTime
    origin: Origin
    reason: Reason = ""
    changes: tuple[str, ...] = ()
    """What it changed of the version before it, as sentences."""


class PastVersion(Value):
    """A version, without all that it says."""

    version: int
    by: str
    at: UtcTime
    source: Origin
    reason: str
    changes: tuple[str, ...]


def plain(quotas: Quotas) -> dict[str, Any]:
    """Return the quotas as `quotas.yaml` would say them, without what is left out."""
    said = quotas.model_dump(mode="json", exclude_none=True)
    for quota in said["quotas"]:
        for name in ("reason", "budgets"):
            if not quota[name]:
                del quota[name]
    return said


# ------------------------------------------------------------------------------- what changes


class _Thing(NamedTuple):
    """What can be said once; an exception stands beside what it excepts."""

    who: str
    kind: Kind
    resource: Resource
    per: str | None
    excepts: bool


class _Said(NamedTuple):
    amount: float | None
    until: date | None
    zone: str | None
    reason: str
    stops_after: str | None


def changes(before: Quotas, after: Quotas) -> tuple[str, ...]:
    """Say how two versions differ, a sentence for each limit; none when they mean the same."""
    return tuple(_changes(before, after))


def _changes(before: Quotas, after: Quotas) -> Iterator[str]:
    if before.timezone != after.timezone:
        yield f"The time zone is {after.timezone}, was {before.timezone}."
    if before.contact != after.contact:
        yield f"Refusals name {after.contact}, named {before.contact}."
    was, is_now = _things(before), _things(after)
    for thing, said in is_now.items():
        known = was.get(thing)
        if known is None:
            yield f"{thing.who}: {_words(thing, said)}, new."
        elif known != said:
            yield f"{thing.who}: {_words(thing, said)}, was {_words(thing, known)}."
    for thing, said in was.items():
        if thing not in is_now:
            yield f"{thing.who}: {_words(thing, said)}, taken away."


def _things(quotas: Quotas) -> dict[_Thing, _Said]:
    return {
        _Thing(
            quota.who, kind, resource, budget.per if budget else None, quota.until is not None
        ): _Said(
            amount,
            quota.until,
            budget.timezone if budget else None,
            quota.reason,
            budget.stops_after if budget else None,
        )
        for quota in quotas.quotas
        for kind, resource, amount, budget in quota.amounts()
    }


def _words(thing: _Thing, said: _Said) -> str:
    what = limit_in_words(thing.kind, thing.resource, said.amount, thing.per, said.stops_after)
    if said.zone is not None:
        what += f" in {said.zone}"
    if said.until is not None:
        what += f" through {said.until}"
    return f"{what} ({said.reason})" if said.reason else what


def limit_in_words(
    kind: Kind,
    resource: Resource,
    amount: float | None,
    per: str | None = None,
    stops_after: str | None = None,
) -> str:
    """Say a limit without whose it is: `8 GPUs at once`, `500 CPU-hours per 30 days`."""
    bytes_of = {Resource.MEMORY: "memory", Resource.STORAGE: "storage"}.get(resource)
    if amount is None:
        cost = "cost" if resource is Resource.MONEY else unit_of(resource)
        most = f"unlimited {bytes_of or cost}"
    elif resource is Resource.MONEY:
        most = f"a cost of {in_words(resource, amount)}"
    else:
        most = in_words(resource, amount) + (f" of {bytes_of}" if bytes_of else "")
    match kind:
        case Kind.LARGEST:
            return f"{most} for one server or run"
        case Kind.AT_ONCE:
            return f"{most} at once"
        case Kind.BUDGET:
            then = f", then stopped after {stops_after}" if stops_after is not None else ""
            return f"{most} per {per}{then}"
        case Kind.STORAGE:
            return most
