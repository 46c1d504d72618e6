"""The quotas as rows of a table: each limit with whose it is, its window, and who set it when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from element_jupyter.core.quotas.checking import in_words
from element_jupyter.core.quotas.policies import PastVersion, limit_in_words
from element_jupyter.core.quotas.rules import Kind, Quotas, Resource

TITLES: Final = {
    Resource.CPU: "Cores",
    Resource.MEMORY: "Memory",
    Resource.GPU: "GPUs",
    Resource.SERVERS: "Servers",
    Resource.RUNS: "Runs",
    Resource.CPU_HOURS: "CPU-hours",
    Resource.GIB_HOURS: "GiB-hours",
    Resource.GPU_HOURS: "GPU-hours",
    Resource.MONEY: "Cost",
    Resource.STORAGE: "Storage",
}
OF_KIND: Final = {
    Kind.LARGEST: (Resource.CPU, Resource.MEMORY, Resource.GPU),
    Kind.AT_ONCE: (
        Resource.CPU,
        Resource.MEMORY,
        Resource.GPU,
        Resource.SERVERS,
        Resource.RUNS,
    ),
    Kind.BUDGET: (
        Resource.CPU_HOURS,
        Resource.GIB_HOURS,
        Resource.GPU_HOURS,
        Resource.MONEY,
    ),
    Kind.STORAGE: (Resource.STORAGE,),
}
KINDS: Final = {
    Kind.LARGEST: "of one server or run",
    Kind.AT_ONCE: "at once",
    Kind.BUDGET: "over a window",
    Kind.STORAGE: "of files",
}
_IN_GIB: Final = frozenset({Resource.MEMORY, Resource.STORAGE})
_GIB: Final = 1 << 30


@dataclass(frozen=True)
class Row:
    """One limit."""

    who: str
    kind: Kind
    resource: Resource
    amount: float | None
    """None: no limit, which takes away what a wider one says."""
    per: str | None
    zone: str | None
    until: date | None
    reason: str
    stops_after: str | None = None
    """How long after a budget is used up what runs is stopped; None: it goes on."""
    by: str = ""
    at: datetime | None = None

    @property
    def title(self) -> str:
        return TITLES[self.resource]

    @property
    def window(self) -> str:
        match self.kind:
            case Kind.BUDGET:
                zone = f" ({self.zone})" if self.zone else ""
                return f"per {self.per}{zone}"
            case Kind.STORAGE:
                return "–"
            case _:
                return KINDS[self.kind]

    @property
    def then(self) -> str:
        """What happens once a budget is used up; empty for what is no budget."""
        if self.kind is not Kind.BUDGET or self.amount is None:
            return ""
        if self.stops_after is None:
            return "then new starts are refused"
        return f"then what runs is stopped after {self.stops_after}"

    @property
    def words(self) -> str:
        return "no limit" if self.amount is None else in_words(self.resource, self.amount)

    @property
    def typed(self) -> str:
        """The amount as it is typed: memory and storage in GiB."""
        if self.amount is None:
            return ""
        amount = self.amount / _GIB if self.resource in _IN_GIB else self.amount
        return f"{amount:g}" if amount < 1e6 else f"{amount:.0f}"

    @property
    def unit(self) -> str:
        return "GiB" if self.resource in _IN_GIB else ""

    @property
    def name(self) -> str:
        """What it is called where it stands alone."""
        return f"{self.title} {self.window}, {self.who}"

    @property
    def said(self) -> str:
        """How the history says that it was set."""
        what = limit_in_words(self.kind, self.resource, self.amount, self.per, self.stops_after)
        if self.zone is not None:
            what += f" in {self.zone}"
        if self.until is not None:
            what += f" through {self.until}"
        return f"{self.who}: {what} ({self.reason})" if self.reason else f"{self.who}: {what}"

    def has(self, search: str) -> bool:
        wanted = search.lower().split()
        text = f"{self.who} {self.title} {self.window} {self.reason}".lower()
        return all(each in text for each in wanted)


def rows(quotas: Quotas) -> list[Row]:
    """Return all limits in their order."""
    return [
        Row(
            who=quota.who,
            kind=kind,
            resource=resource,
            amount=amount,
            per=budget.per if budget else None,
            zone=budget.timezone if budget else None,
            until=quota.until,
            reason=quota.reason,
            stops_after=budget.stops_after if budget else None,
        )
        for quota in quotas.quotas
        for kind, resource, amount, budget in quota.amounts()
    ]


def with_origin(found: Iterable[Row], history: Iterable[PastVersion]) -> list[Row]:
    """Return limits with who set them when; what no version in `history` has set is nobody's."""
    settings = _settings(history)
    return [
        replace(row, by=version.by, at=version.at)
        if (version := settings.get(row.said)) is not None
        else row
        for row in found
    ]


def _settings(history: Iterable[PastVersion]) -> dict[str, PastVersion]:
    """Return which version has set what, by how it says so; the newest counts."""
    found: dict[str, PastVersion] = {}
    for version in history:
        for sentence in version.changes:
            said = sentence.removesuffix(", new.").partition(", was ")[0]
            found.setdefault(said, version)
    return found
