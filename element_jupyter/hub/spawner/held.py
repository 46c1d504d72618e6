"""What the spawner of a server knows of it, from before its start until after its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from element_jupyter.core.confinement import Free, Spent
from element_jupyter.core.provisioning import Launcher, ProcessExit
from element_jupyter.core.quotas.allocations import Allocation, Reservations, server_allocation
from element_jupyter.core.sizes import Size, Sizes
from element_jupyter.core.values import Name, UtcTime, Value
from element_jupyter.hub.spawner.metering import Meter


class Held(Value):
    """What a server was given; kept in the Hub's database, so no secret is in it."""

    owner: Name
    server: str
    """The server's name; empty for a person's editor."""
    team: Name
    size: Size
    run_id: str | None = None
    since: UtcTime
    gpus: tuple[str, ...] = ()

    @property
    def allocation_id(self) -> str:
        """The id of what it was given; of a run, the run's own."""
        return self.run_id or self.allocation.id

    @property
    def allocation(self) -> Allocation:
        """What the books say of a server; a run's is the control plane's own to write."""
        return server_allocation(self.owner, self.server, self.team, self.size, self.since)


class Released(Value):
    """What a server was given, from when to when, and what it used of it."""

    held: Held
    until: UtcTime
    spent: Spent
    how: ProcessExit


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition hands to every spawner."""

    sizes: Callable[[], Sizes]
    launcher: Launcher | None = None
    url: str = ""
    """The control plane's, as servers and runs reach it."""
    free: Callable[[], Free | None] = lambda: None
    gpus: tuple[str, ...] = ()
    """Of this machine, by the names that CUDA_VISIBLE_DEVICES takes."""
    released: Callable[[Released], Awaitable[None]] | None = None
    """Called for each server that has ended, also for one that ended while the Hub did not run.
    A second time only when the Hub was killed just then; owner, server and `since` are the same."""
    reservations: Reservations | None = None
    """What decides by quotas whether a server may start; None: nothing does."""
    meter: Meter | None = None
    """What reads how much servers and runs use; None: nothing does."""
    collaboration_dir: str = ""
    """Where what only the servers of teams load is installed."""
