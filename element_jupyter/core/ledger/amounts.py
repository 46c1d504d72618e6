"""Amounts of the ledger, which are whole numbers so that sums of them are exact, and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from element_jupyter.core.ledger.prices import Billing, Rates

US_PER_HOUR: Final = 3_600_000_000
KIB_S_PER_GIB_HOUR: Final = 3600 << 20
MONEY: Final = Decimal("0.000001")
"""To which costs are rounded, row by row; a total is the sum of the rounded rows."""


class Four(NamedTuple):
    """One measure of a server or run and of the three things in it."""

    time_us: int = 0
    """Of the whole: where it is used, as much as of the thing in it that was used most."""
    cpu_us: int = 0
    memory_kib_s: int = 0
    gpu_us: int = 0

    def plus(self, other: Four) -> Four:
        return Four(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: Four) -> Four:
        return Four(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def cost(self, rates: Rates) -> Decimal:
        """Return what it costs, not rounded."""
        return (
            (self.time_us * rates.whole + self.cpu_us * rates.cpu + self.gpu_us * rates.gpu)
            / US_PER_HOUR
        ) + self.memory_kib_s * rates.gib / KIB_S_PER_GIB_HOUR


NOTHING: Final = Four()


@dataclass(frozen=True, slots=True)
class Sums:
    """What was given and used of some allocations in some time."""

    begun: int = 0
    """How many of the allocations began in that time."""
    metered_us: int = 0
    """For how long they were given where something has measured what they used."""
    allocated: Four = NOTHING
    used: Four = NOTHING
    """Nothing where nothing has measured it."""
    largest: Four = NOTHING
    """The larger of both, hour by hour."""
    idle: Four = NOTHING
    """Given and not used, hour by hour; nothing where nothing has measured it."""

    def plus(self, other: Sums) -> Sums:
        return Sums(
            self.begun + other.begun,
            self.metered_us + other.metered_us,
            self.allocated.plus(other.allocated),
            self.used.plus(other.used),
            self.largest.plus(other.largest),
            self.idle.plus(other.idle),
        )

    def billed(self, billing: Billing) -> Four:
        """Return what is paid for."""
        match billing:
            case Billing.REQUESTED:
                return self.allocated
            case Billing.USED:
                return self.largest.minus(self.idle)
            case Billing.LARGEST:
                return self.largest
