"""Processes as they were read once, and which of them belong to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as it was when it was read."""

    pid: int
    parent: int
    session: int
    """The pid of the process that began its session; 0 where that cannot be told."""
    started_ticks: int
    """When it started, in a unit of the system's; pid and this are never those of two processes."""
    zombie: bool
    """Whether it has ended, and nobody has waited for it."""
    own_cpu_seconds: float
    cpu_seconds: float
    """With the processor time of those of its children that it has waited for."""
    memory_bytes: int
    """Resident; pages that processes share count in each."""
    threads: int

    @property
    def identity(self) -> tuple[int, int]:
        """What no later process has, even one of the same pid."""
        return self.pid, self.started_ticks


class ProcessReader(Protocol):
    """Reads the machine's processes. One that vanishes while it is read is left out."""

    def pids(self) -> set[int]: ...

    def one(self, pid: int) -> Process | None: ...

    def some(self, pids: Iterable[int]) -> list[Process]: ...

    def pss_bytes(self, pid: int) -> int | None:
        """Return its memory with shared pages counted in part; slow, None where unknown."""

    def name(self, pid: int) -> str | None: ...


class Belonging:
    """Remembers to whom processes belong.

    A process belongs to whom a root's owner is when it descends from that root (the nearest
    counts), or is in a session that one of the owner's processes has begun; and it belongs to them
    for good, though its parent ends.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}
        self._sessions: dict[int, str] = {}

    def sort(self, processes: Iterable[Process], roots: Mapping[int, str]) -> dict[int, str]:
        """Return the owner of each process that has one, by pid. All processes are to be given."""
        there = {process.pid: process for process in processes}
        sessions = {process.session for process in there.values()}
        self._sessions = {
            session: owner for session, owner in self._sessions.items() if session in sessions
        }
        while True:
            found = self._pass(there, roots)
            begun = {
                pid: owner
                for pid, owner in found.items()
                if there[pid].session == pid and self._sessions.get(pid) != owner
            }
            if not begun:
                break
            self._sessions |= begun
        self._known = {there[pid].identity: owner for pid, owner in found.items()}
        return found

    def _pass(self, there: Mapping[int, Process], roots: Mapping[int, str]) -> dict[int, str]:
        found: dict[int, str | None] = {}
        for pid in there:
            trail: list[int] = []
            answer: str | None = None
            at = pid
            while at in there and at not in found:
                process = there[at]
                trail.append(at)
                found[at] = None  # no loop, should two readings contradict each other
                answer = (
                    roots.get(at)
                    or self._sessions.get(process.session)
                    or self._known.get(process.identity)
                )
                if answer is not None:
                    break
                at = process.parent
            else:
                answer = found.get(at)
            for each in trail:
                found[each] = answer
        return {pid: answer for pid, answer in found.items() if answer is not None}
