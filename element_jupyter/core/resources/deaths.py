"""Why a kernel has ended, from what is left to be seen of it."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from typing import Final

from element_jupyter.core.resources.samples import DeathCode
from element_jupyter.core.resources.words import memory_in_words, of_limit

_CRASHES: Final = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT),
    *(signal.SIGILL, signal.SIGFPE, signal.SIGTRAP),
}

NEARLY_FULL: Final = 0.95

LATELY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a process that has ended."""

    exit_code: int | None
    """As `subprocess` tells it: a signal is negative. A sandbox tells one by 128 and more."""
    group_kills: int = 0
    """How many kills for want of memory its control group has counted lately, …"""
    machine_kills: int = 0
    """… and the whole machine."""
    kills_told: bool = True
    """Whether the system tells of such kills at all."""
    memory_bytes: int | None = None
    """What it used when it was last measured."""
    server_memory_bytes: int | None = None
    """What the whole server used then, …"""
    group_peak_bytes: int | None = None
    """… and the most that its control group has counted, if the system remembers that."""
    memory_limit_bytes: int | None = None
    limit_source: str = ""


class KillCounts:
    """What the system's counters of kills for want of memory say of the last minute.

    A kill that explains one death explains no other.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int | None, int | None]] = deque()

    def note(self, at_seconds: float, group: int | None, machine: int | None) -> None:
        """Keep what the counters say now; to be told before any death, too."""
        self._seen.append((at_seconds, group, machine))
        # one that is older says how it was when the minute began
        while len(self._seen) > 1 and self._seen[1][0] <= at_seconds - LATELY_SECONDS:
            self._seen.popleft()

    def lately(self) -> tuple[int | None, int | None]:
        """Return how many have not explained anything yet, in the group and on the machine."""
        first, last = self._seen[0], self._seen[-1]
        return _grown(first[1], last[1]), _grown(first[2], last[2])

    def explain(self) -> None:
        """Take one for a death."""
        self._seen = deque(
            (at, _one_more(group, self._seen[-1][1]), _one_more(machine, self._seen[-1][2]))
            for at, group, machine in self._seen
        )


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else max(0, now - before)


def _one_more(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else min(before + 1, now)


def judge(seen: Evidence) -> tuple[DeathCode, str]:
    """Return the reason, and a sentence about it."""
    number = _signal(seen.exit_code)
    if number == signal.SIGKILL:
        if seen.group_kills:
            return DeathCode.OUT_OF_MEMORY, _out_of_memory(seen, "was killed: memory ran out")
        if seen.machine_kills or (not seen.kills_told and _was_nearly_full(seen)):
            words = "was killed, probably because memory ran out"
            return DeathCode.OUT_OF_MEMORY, _out_of_memory(seen, words)
    if number is not None:
        name = _name(number)
        if number in _CRASHES:
            return DeathCode.CRASHED, f"The kernel crashed ({name})."
        if number == signal.SIGKILL:
            why = (
                "not for want of memory" if seen.kills_told else "nothing says that memory ran out"
            )
            return DeathCode.KILLED, f"The kernel was killed ({name}), and {why}."
        return DeathCode.KILLED, f"The kernel was ended by a signal ({name})."
    if seen.exit_code is not None:
        return DeathCode.EXITED, f"The kernel ended itself, with exit code {seen.exit_code}."
    return DeathCode.UNKNOWN, "The kernel has ended, and nothing tells why."


def _signal(code: int | None) -> int | None:
    if code is None:
        return None
    if code < 0:
        return -code
    try:
        return signal.Signals(code - 128)
    except ValueError:
        return None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _was_nearly_full(seen: Evidence) -> bool:
    used, limit = seen.server_memory_bytes, seen.memory_limit_bytes
    return bool(used and limit and used >= NEARLY_FULL * limit)


def _out_of_memory(seen: Evidence, words: str) -> str:
    # what is killed for the group has filled it, though no measurement came in time to see that
    server = (seen.group_peak_bytes if seen.group_kills else None) or seen.server_memory_bytes
    if seen.machine_kills and not seen.group_kills:
        server = None  # it was the machine's that ran out
    numbers = ""
    if server is not None and seen.memory_limit_bytes is not None:
        numbers = f" ({of_limit(server, seen.memory_limit_bytes)}, {seen.limit_source})"
    sentence = f"The kernel {words}{numbers}."
    if seen.memory_bytes is not None:
        sentence += f" When last measured it used {memory_in_words(seen.memory_bytes)} itself."
    return sentence
