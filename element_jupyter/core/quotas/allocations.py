"""Allocations: what was given to whom, from when to when, and what was used of it.

They are facts and stay as they were written: the price is that of the moment when they began, and
an end is written once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import Field, StringConstraints

from element_jupyter.core.confinement import Spent
from element_jupyter.core.quotas.checking import Amounts
from element_jupyter.core.quotas.rules import Bound, Claimant
from element_jupyter.core.sizes import Size
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, UtcTime, Value

AllocationId = Annotated[str, StringConstraints(pattern=r"^[rs]-[0-9a-z]{26}$")]
"""Of a run, the run's own id; of a server, made of whose it is and when it began."""


class AllocationKind(StrEnum):
    """What was given something."""

    EDITOR = "editor"
    TEAM_SERVER = "team-server"
    RUN = "run"


class Allocation(Value):
    """What one server or run was given."""

    id: AllocationId
    kind: AllocationKind
    person: Name
    """Whose server it is; of a team's own server, the Hub's user that the team has."""
    server: Annotated[str, StringConstraints(max_length=100)] = ""
    """Its name at the Hub; empty for somebody's editor."""
    run_id: str | None = None
    job: str | None = None
    notebook: str | None = None
    team: Name
    """For which it was started, and which pays."""
    size: Name
    cpu: Annotated[float, Field(ge=0, le=1024)]
    memory_bytes: Annotated[int, Field(ge=0, lt=1 << 62)]
    gpu: Annotated[int, Field(ge=0, le=64)]
    price_per_hour: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)] | None = None
    """When it began."""
    begun_at: UtcTime
    ended_at: UtcTime | None = None
    ended_how: Annotated[str, StringConstraints(max_length=500)] = ""
    cpu_seconds: float | None = None
    """Used; None where nothing has counted it, as of the two below."""
    peak_memory_bytes: int | None = None
    gpu_seconds: float | None = None

    @property
    def wanted(self) -> Amounts:
        """Return what it has, as limits count it."""
        run = self.kind is AllocationKind.RUN
        return Amounts(self.cpu, self.memory_bytes, self.gpu, int(not run), int(run))

    def claimant(self, level: Level | None = None) -> Claimant:
        """Return for whom it is."""
        person = None if team_of_account(self.person) is not None else self.person
        return Claimant(person, self.team, level)


def server_allocation(
    person: Name, server: str, team: Name, size: Size, begun_at: datetime
) -> Allocation:
    """Return what a server of the Hub is to be given; the same server has the same id."""
    whose = f"{person}/{server}@{begun_at.timestamp():.6f}"
    digest = hashlib.blake2b(whose.encode(), digest_size=13).hexdigest()
    of_team = team_of_account(person) is not None
    return Allocation(
        id=f"s-{digest}",
        kind=AllocationKind.TEAM_SERVER if of_team else AllocationKind.EDITOR,
        person=person,
        server=server,
        team=team,
        size=size.name,
        cpu=size.cpu,
        memory_bytes=size.memory_bytes,
        gpu=size.gpu,
        price_per_hour=size.price_per_hour,
        begun_at=begun_at,
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """An allocation that is asked for, and the limits that count for it."""

    allocation: Allocation
    bounds: tuple[Bound, ...] = ()


class Ended(Value):
    """How an allocation ended, and what was used of it."""

    ended_at: UtcTime
    how: Annotated[str, StringConstraints(max_length=500)] = ""
    spent: Spent = Spent()


class Reservations(Protocol):
    """Whoever decides whether a server of the Hub may start, and is told that it has ended."""

    async def reserve(self, allocation: Allocation, level: Level | None) -> None:
        """Take what a server needs, or find that it was taken for it already.

        Raises:
            OverQuota: it does not fit now; says when it will, and whom to ask.
            Forbidden: it never fits.
            Unavailable: nobody can say, and a limit might forbid it.
        """
        ...

    async def release(self, id_: str, ended: Ended) -> None:
        """Give back what a server or a run had, by the allocation's id; does not wait for it."""
        ...
