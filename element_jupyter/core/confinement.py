"""Keeping a server or a run within its size: what it may use and has used, and as whom it runs."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from element_jupyter.core.values import Name, Value


class Account(Value):
    """A person's account of the operating system."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All of its groups, `gid` among them."""
    home: str
    shell: str


class Accounts(Protocol):
    """The accounts that people's servers run as."""

    def ensure(self, person: Name) -> Account:
        """Return the person's account, which is made or unlocked where it must be.

        Raises:
            Forbidden: an account of that name belongs to somebody else, or cannot be had.
            Unavailable: the system makes none.
        """
        ...

    def lock(self, person: Name) -> bool:
        """Let nothing be started as this person, and end what runs; False: there is no account.

        Raises:
            Forbidden: the account of that name is not one of ours; it is left alone.
            Unavailable: the system does not lock it, or its processes do not end.
        """
        ...


class Allowance(Value):
    """What the processes of one server may use together."""

    memory_bytes: int
    cpu: float
    """Cores."""
    processes: Annotated[int, Field(ge=16)] = 4096
    """Processes and threads."""


class Spent(Value):
    """What they used; None where nothing counts it."""

    peak_memory_bytes: int | None = None
    """With the files that the system kept in memory for them, where control groups count."""
    cpu_seconds: float | None = None
    memory_kills: int = 0
    """How many processes were killed for want of memory."""


class Free(Value):
    """What nobody has been given of a machine."""

    cpu: float
    memory_bytes: int
    gpu: int = 0

    def holds(self, cpu: float, memory_bytes: int, gpu: int) -> bool:
        return self.cpu >= cpu and self.memory_bytes >= memory_bytes and self.gpu >= gpu


class Confinement(Protocol):
    """Where the processes of one server are."""

    @property
    def entrances(self) -> tuple[str, ...]:
        """Files; a process that writes `0` into each of them, as who made them, is inside."""
        ...

    def entered(self, pid: int) -> None:
        """Take note of the first process inside."""
        ...

    def spent(self) -> Spent: ...

    def memory_bytes(self) -> int | None:
        """Return what is used now, without files kept for speed alone; None: nothing says so."""
        ...

    def end(self) -> Spent:
        """Kill what is still inside, and take all away. What it used is the last reading."""
        ...


class Limiter(Protocol):
    """A way to hold processes to an allowance."""

    @property
    def method(self) -> str:
        """What does it, for people: `control groups, version 2`."""
        ...

    def confine(self, name: str, allowance: Allowance) -> Confinement:
        """Make room for a server; what an earlier one of that name left behind is ended.

        Raises:
            Unavailable: the system refuses, and why.
        """
        ...

    def find(self, name: str) -> Confinement | None:
        """Return the room of a server that another process of ours has made."""
        ...

    def granted(self) -> tuple[Allowance, ...]:
        """Return the allowances that are in force now."""
        ...
