"""How a server stands: what it was given, what it does, and what its person has been told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from element_jupyter.core.care.idleness import Due, Holding, Seen, in_words
from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.core.care.policy import Editors
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind

BY_BUDGET: Final = "a budget is used up"
"""How the reason begins why something was stopped that ran on it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One server that runs."""

    allocation: Allocation
    seen: Seen
    warned_at: datetime | None = None
    deadline: datetime | None = None
    """When its person was told that it is stopped."""

    @property
    def holding(self) -> Holding:
        return Holding(self.allocation.begun_at, self.allocation.gpu)


@dataclass(frozen=True, slots=True)
class Ending:
    """One that was stopped, and why."""

    allocation: Allocation
    why: str
    active_at: datetime


class ActivityStore(Protocol):
    """Where what servers do is kept; see `adapters.sql.activity_store`."""

    def alone(self) -> AbstractAsyncContextManager[bool]: ...
    async def report(
        self, person: str, server: str, after: Callable[[Allocation, Seen | None], Seen]
    ) -> bool: ...
    async def standing(self, *, runs: bool = False) -> list[Standing]: ...
    async def warn(self, standing: Standing, at: datetime, deadline: datetime) -> None: ...
    async def calm(self, allocation_id: str) -> None: ...
    async def end(self, standing: Standing, why: str) -> bool: ...
    async def stopped(self) -> list[Ending]: ...
    async def forget(self, allocation_id: str) -> None: ...
    async def forget_ended(self) -> list[str]: ...


def called(allocation: Allocation) -> str:
    """Name a server or a run to its person."""
    if allocation.kind is AllocationKind.RUN:
        return f"Your run of '{allocation.job or allocation.notebook or allocation.id}'"
    if allocation.kind is AllocationKind.TEAM_SERVER:
        return f"The server of the team '{allocation.team}'"
    return f"Your server '{allocation.server}'" if allocation.server else "Your server"


def warning(standing: Standing, found: Due, deadline: datetime, said: Editors) -> Told:
    """Return what the person of a server is told before it is stopped."""
    allocation = standing.allocation
    name, lasted = called(allocation), in_words(deadline.timestamp() - found.since.timestamp())
    keeps = found.kind is not NoticeKind.MAX_AGE
    match found.kind:
        case NoticeKind.MAX_AGE:
            sentence = f"{name} is stopped soon: none may run for longer than {lasted}."
            hint = "Save what you need, and start it anew."
        case NoticeKind.GPU_IDLE:
            sentence = f"{name} is stopped soon: it holds a GPU that nothing uses."
            hint = "Use it, keep it for a while, or start a server without."
        case _:
            sentence = f"{name} is stopped soon: nobody works in it, and nothing computes."
            hint = "Go on working, or keep it for a while. What is saved stays."
    return Told(
        id=notice_id(allocation.person, found.kind, allocation.id, deadline.isoformat()),
        person=allocation.person,
        kind=found.kind,
        about=allocation.id,
        sentence=sentence,
        hint=hint,
        at=deadline - timedelta(seconds=said.warning),
        deadline=deadline,
        keep_seconds=int(said.keep) if keeps else None,
        keep_limit=found.keep_limit,
    )


def gpu_unused(standing: Standing, now: datetime) -> Told:
    """Return what the person of a server is told whose GPU is not used, and nothing is done."""
    allocation, since = standing.allocation, standing.seen.gpu_active_at or now
    lasted = in_words((now - since).total_seconds())
    return Told(
        id=notice_id(
            allocation.person, NoticeKind.GPU_IDLE, allocation.id, since.isoformat() + " tell"
        ),
        person=allocation.person,
        kind=NoticeKind.GPU_IDLE,
        about=allocation.id,
        sentence=f"{called(allocation)} holds a GPU that nothing has used for {lasted}.",
        hint="Others may wait for it: stop the server, or start one without, if you need it not.",
        at=now,
    )


def stopped(ending: Ending, now: datetime) -> Told:
    """Return what the person of something is told that was stopped."""
    allocation = ending.allocation
    hint = "What was saved is there; what kernels had in memory is gone."
    if allocation.kind is AllocationKind.RUN:
        hint = "What it had done until then is kept with the run."
    return Told(
        id=notice_id(allocation.person, NoticeKind.STOPPED, allocation.id),
        person=allocation.person,
        kind=NoticeKind.STOPPED,
        about=allocation.id,
        sentence=f"{called(allocation)} was stopped: {ending.why}.",
        hint=hint,
        at=allocation.ended_at or now,
    )
