"""Prices, as `prices.yaml` lists them by the day from which they hold, and what is billed.

The ledger has no money in it: it is priced whenever it is read, so that a price that was wrong is
put right by correcting the table. Amounts of money are decimal throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from element_jupyter.core.quotas.windows import Zone
from element_jupyter.core.values import Name, Value

Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]
_FREE: Final = Decimal(0)


class Billing(StrEnum):
    """What is paid for."""

    REQUESTED = "requested"
    """What was given."""
    USED = "used"
    """What was used; where nothing has measured that, what was given."""
    LARGEST = "largest"
    """The larger of both, hour by hour."""


class TeamBilling(Value):
    """What one team is billed."""

    billing: Billing


class PriceEntry(Value):
    """The prices from one day on, until the next entry's; an hour of each."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: Annotated[date, Field(alias="from")]
    cpu_hour: Money | None = None
    gib_hour: Money | None = None
    gpu_hour: Money | dict[Name, Money] | None = None
    """Of every size, or of those that are named, and `default` for the others."""
    sizes: dict[Name, Money] = Field(default_factory=dict)
    """An hour of a whole size, in place of what is in it."""

    @model_validator(mode="after")
    def _says_something(self) -> PriceEntry:
        if not self.sizes and (self.cpu_hour, self.gib_hour, self.gpu_hour) == (None, None, None):
            raise ValueError("it must name a price: cpu_hour, gib_hour, gpu_hour or sizes")
        return self


@dataclass(frozen=True, slots=True)
class Rates:
    """What an hour costs: of the whole, and of each thing in it."""

    whole: Decimal = _FREE
    cpu: Decimal = _FREE
    gib: Decimal = _FREE
    gpu: Decimal = _FREE


def _in_order(entries: tuple[PriceEntry, ...]) -> tuple[PriceEntry, ...]:
    days = [entry.from_ for entry in entries]
    if twice := next((day for day in days if days.count(day) > 1), None):
        raise ValueError(f"two lists of prices hold from {twice}")
    return tuple(sorted(entries, key=lambda entry: entry.from_))


class Prices(Value):
    """What `prices.yaml` says."""

    currency: Annotated[str, StringConstraints(min_length=1, max_length=10)] | None = None
    """None: that of `sizes.yaml`."""
    timezone: Zone = "UTC"
    """Of the days and months of reports, and of those from which prices hold."""
    billing: Billing = Billing.LARGEST
    teams: dict[Name, TeamBilling] = Field(default_factory=dict)
    """Teams that are billed otherwise."""
    prices: Annotated[
        tuple[PriceEntry, ...], Field(max_length=1000), AfterValidator(_in_order)
    ] = ()

    @property
    def days(self) -> tuple[date, ...]:
        """The days from which another list holds, in order."""
        return tuple(entry.from_ for entry in self.prices)

    def billing_of(self, team: str | None) -> Billing:
        """Return what a team is billed; None: one that no entry names."""
        named = self.teams.get(team) if team is not None else None
        return named.billing if named is not None else self.billing

    def rates(self, period: int, size: str, recorded: Decimal | None) -> Rates:
        """Return what an hour of a size cost; `period` is how many of `days` had begun.

        Where the table says nothing of it, the price counts that was recorded when it began.
        """
        entry = self.prices[period - 1] if period > 0 else None
        if entry is not None and size in entry.sizes:
            return Rates(whole=entry.sizes[size])
        resources = entry and (entry.cpu_hour, entry.gib_hour, entry.gpu_hour)
        if entry is None or resources == (None, None, None):
            return Rates(whole=recorded or _FREE)
        gpu = entry.gpu_hour
        if isinstance(gpu, Mapping):
            gpu = gpu.get(size, gpu.get("default"))
        return Rates(_FREE, entry.cpu_hour or _FREE, entry.gib_hour or _FREE, gpu or _FREE)
