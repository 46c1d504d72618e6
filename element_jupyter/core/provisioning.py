"""What starts, finds and ends the process of a run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Protocol

from pydantic import Field

from element_jupyter.core.runs import Artifact, RunSpec
from element_jupyter.core.values import Name, Value


class ProcessRef(Value):
    """One process: of this machine, or a server of the Hub."""

    pid: int = 0
    started_ticks: int = 0
    """The pair stays unique when its pid is used again."""
    server: str | None = None
    """`person/server` of the Hub; pid and start are its own business then."""


class ProcessExit(Value):
    """How a process ended; both None when nobody saw it."""

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    """Whether the limit of its size has killed it, or a part of it."""

    @property
    def words(self) -> str:
        """Say it in a word or two, for a list."""
        if self.out_of_memory:
            return "out of memory"
        if self.signal is not None:
            return f"signal {self.signal}"
        return "ended" if not self.code else f"exit code {self.code}"

    @property
    def sentence(self) -> str | None:
        """What happened to a runner that ended so, or None when that is not known."""
        if self.out_of_memory and (self.signal is not None or self.code):
            return "The run needed more memory than its size has, and was killed."
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            return f"The runner was killed (signal {self.signal}, {name})."
        if self.code is not None:
            return f"The runner ended with exit code {self.code} before it told an outcome."
        return None


class Provisioner(Protocol):
    """Runs the processes of runs; they outlive whoever asked for them."""

    async def start(self, spec: RunSpec, directory: Path) -> ProcessRef:
        """Start the run's process in its directory, or find the one that was started there already.

        Raises:
            ElementError: it cannot be started, and why.
        """
        ...

    def alive(self, process: ProcessRef) -> bool: ...

    async def wait(self, process: ProcessRef) -> ProcessExit:
        """Return when the process has ended; the exit is empty when this is not its parent."""
        ...

    def stop(self, process: ProcessRef) -> bool:
        """Ask the process to stop (SIGTERM); False when it is gone."""
        ...

    def kill(self, process: ProcessRef | None, run_id: str) -> None:
        """End the process, its group, and everything else that the run started."""
        ...

    def artifacts(self, directory: Path) -> tuple[Artifact, ...]:
        """List what the run left in its output directory."""
        ...

    async def clean(self, directory: Path) -> None:
        """Remove what only a live run needs; what it left is kept."""
        ...


class Launch(Value):
    """What a single-use ticket is worth: the process of one run, and as whom to start it."""

    owner: str
    """As whom."""
    team: Name
    size: Name
    environment: dict[str, str] = Field(default_factory=dict, repr=False)
    """On top of what every server is given; it holds the run's token."""
    command: tuple[str, ...]


class Launcher(Protocol):
    """The control plane, to whoever starts the processes of runs for it."""

    async def redeem(self, run_id: str, ticket: str, person: str) -> Launch:
        """Take a ticket, which is worth nothing from then on.

        Raises:
            Forbidden: it is none of this run, is used up, or the run is not this person's.
            Unavailable: the control plane does not answer; the ticket may still be good.
        """
        ...

    async def ended(self, run_id: str, how: ProcessExit, *, out_of_memory: bool) -> None:
        """Tell at once how the process of a run ended; `out_of_memory`: its limit killed it.

        Raises:
            Unavailable: the control plane does not answer; to be told again.
        """
        ...
