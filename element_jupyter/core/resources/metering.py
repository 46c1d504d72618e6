"""From counters that only grow to cores that are kept busy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from element_jupyter.core.resources.processes import Process

LEAST_SECONDS: Final = 0.2
"""Counters move in hundredths of a second; over less time than this they tell nothing."""


class CpuMeter:
    """The cores that a group of processes keeps busy, from one reading to the next.

    Times are of a clock that never jumps. What the clock and the counters say may be absurd all the
    same, such as after a pause of the machine; the answer is then within what is possible.
    """

    def __init__(self, most_cores: float) -> None:
        self._most_cores = most_cores
        self._at: float | None = None
        self._before: dict[tuple[int, int], Process] = {}
        self._cores = 0.0

    def cores(self, processes: Iterable[Process], at_seconds: float, since: float | None) -> float:
        """Return the mean since the last reading; or, at the first, since the moment given.

        The first reading of processes that may be older than that tells nothing: `since` is None.
        """
        begin = self._at if self._at is not None else since
        elapsed_seconds = 0.0 if begin is None else at_seconds - begin
        if self._at is not None and 0 <= elapsed_seconds < LEAST_SECONDS:
            return self._cores
        now = {process.identity: process for process in processes}
        if elapsed_seconds > 0:
            self._cores = min(self._used_seconds(now) / elapsed_seconds, self._most_cores)
        self._at, self._before = at_seconds, now
        return self._cores

    def _used_seconds(self, now: dict[tuple[int, int], Process]) -> float:
        before = self._before
        # what a child has used moves to its parent when that has waited for it, …
        total = sum(each.cpu_seconds for each in now.values())
        total -= sum(each.cpu_seconds for each in before.values())
        # … and is lost when nobody does
        own = sum(
            max(0.0, each.own_cpu_seconds - (before[key].own_cpu_seconds if key in before else 0))
            for key, each in now.items()
        )
        return max(total, own)


class CounterMeter:
    """The same of one counter, such as a control group has."""

    def __init__(self, most_cores: float) -> None:
        self._most_cores = most_cores
        self._before: tuple[float, float] | None = None
        self._cores = 0.0

    def cores(self, cpu_seconds: float, at_seconds: float) -> float:
        """Return the mean since the last reading, 0 at the first."""
        if self._before is not None:
            elapsed_seconds = at_seconds - self._before[0]
            if 0 <= elapsed_seconds < LEAST_SECONDS:
                return self._cores
            if elapsed_seconds > 0:
                used_seconds = max(0.0, cpu_seconds - self._before[1])
                self._cores = min(used_seconds / elapsed_seconds, self._most_cores)
        self._before = (at_seconds, cpu_seconds)
        return self._cores
