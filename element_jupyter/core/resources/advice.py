"""How large the next run should be, from what those before it needed. Advice: nothing follows it.

Those that count have succeeded, or were killed for want of memory: one that failed or was stopped
on the way has not shown what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from element_jupyter.core.values import UtcTime, Value

LOOKED_AT: Final = 20
LEAST: Final = 3
MARGIN: Final = 1.15
AFTER_OOM: Final = 1.5
_SHARE: Final = 0.95
_MIB: Final = 2**20
_GIB: Final = 2**30


class Shown(Protocol):
    """What something needed that has ended; see `Need`."""

    @property
    def at(self) -> datetime: ...
    @property
    def peak_memory_bytes(self) -> int: ...
    @property
    def cpu_cores(self) -> float | None: ...
    @property
    def out_of_memory(self) -> bool: ...
    @property
    def memory_limit_bytes(self) -> int | None: ...


class Need(Value):
    """What one run that has ended used."""

    at: UtcTime
    """When it ended."""
    peak_memory_bytes: int
    cpu_cores: float | None = None
    """On average, over the whole run."""
    out_of_memory: bool = False
    memory_limit_bytes: int | None = None


class Evidence(Value):
    """What an advice stands on."""

    runs: int
    peak_p95_bytes: int
    oom_kills: int
    since: UtcTime
    until: UtcTime


class Advice(Value):
    """What is enough for the next run; null with the reason when that cannot be said."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None
    evidence: Evidence | None = None
    reason: str = ""


def advise(needs: Sequence[Shown]) -> Advice:
    """Return what is enough for a run like these; they may come in any order."""
    needs = sorted(needs, key=lambda need: need.at)[-LOOKED_AT:]
    if len(needs) < LEAST:
        known = {0: "No run", 1: "One run"}.get(len(needs), f"{len(needs)} runs")
        has = "have" if len(needs) > 1 else "has"
        return Advice(
            reason=f"{known} like this {has} shown what it needs; advice takes {LEAST} of them."
        )
    killed = [_after_oom(need) for need in needs if need.out_of_memory]
    peaks = [need.peak_memory_bytes for need in needs]
    # a kill is never an outlier
    wanted = max([_high(peaks), *killed]) * MARGIN
    cores = [need.cpu_cores for need in needs if need.cpu_cores is not None]
    return Advice(
        memory_bytes=_rounded_up(wanted),
        cpu_cores=max(0.1, math.ceil(_high(cores) * MARGIN * 10) / 10) if cores else None,
        evidence=Evidence(
            runs=len(needs),
            peak_p95_bytes=round(_high(peaks)),
            oom_kills=len(killed),
            since=needs[0].at,
            until=needs[-1].at,
        ),
    )


def _high(values: Sequence[float]) -> float:
    """Return the value that 95 % do not exceed."""
    return sorted(values)[math.ceil(_SHARE * len(values)) - 1]


def _after_oom(need: Shown) -> float:
    limit = need.memory_limit_bytes
    # a limit that it was far from was used up by others
    reached = limit if limit and need.peak_memory_bytes >= limit / 2 else need.peak_memory_bytes
    return reached * AFTER_OOM


def _rounded_up(wanted_bytes: float) -> int:
    """Return a size that people ask for, and that reads as no less than it is."""
    if wanted_bytes <= _GIB:
        return math.ceil(wanted_bytes / (64 * _MIB)) * 64 * _MIB
    parts = 10 if wanted_bytes <= 9.9 * _GIB else 1
    return math.ceil(math.ceil(wanted_bytes / _GIB * parts) * _GIB / parts)
