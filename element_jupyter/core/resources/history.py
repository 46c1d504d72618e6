"""What was used: an hour as it was measured, and a day with a point a minute, in bounded memory.

Times are kept as seconds of a clock that never jumps; they become times of day when they are read.
So a clock that is set moves the whole history, and a pause of the machine is a gap in it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from element_jupyter.core.resources.samples import Point

HOUR_POINTS: Final = 3600
DAY_POINTS: Final = 24 * 60
_WIDTH: Final = 4


class Measured(NamedTuple):
    """What one subject used at one moment of the clock."""

    at_seconds: float
    cpu_cores: float
    memory_bytes: float
    gpu_memory_bytes: float | None = None


class _Ring:
    """The last so many, 32 bytes each; it grows as it is filled."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = array("d")
        self._oldest = 0

    def append(self, each: Measured) -> None:
        gpu = math.nan if each.gpu_memory_bytes is None else each.gpu_memory_bytes
        row = array("d", (each.at_seconds, each.cpu_cores, each.memory_bytes, gpu))
        if len(self._data) < self._most * _WIDTH:
            self._data.extend(row)
        else:
            self._data[self._oldest : self._oldest + _WIDTH] = row
            self._oldest = (self._oldest + _WIDTH) % len(self._data)

    def __iter__(self) -> Iterator[Measured]:
        data = self._data[self._oldest :] + self._data[: self._oldest]
        for place in range(0, len(data), _WIDTH):
            at, cpu, memory, gpu = data[place : place + _WIDTH]
            yield Measured(at, cpu, memory, None if math.isnan(gpu) else gpu)


class Series:
    """The history of one subject. Written by one thread, it may be read by another."""

    def __init__(self) -> None:
        self._hour = _Ring(HOUR_POINTS)
        self._day = _Ring(DAY_POINTS)
        self._minute: list[Measured] = []

    def add(self, measured: Measured) -> None:
        """Keep what was measured now."""
        self._hour.append(measured)
        if self._minute and measured.at_seconds // 60 != self._minute[0].at_seconds // 60:
            self._day.append(_together(self._minute))
            self._minute = []
        self._minute.append(measured)

    def last(self, seconds: float, now_seconds: float, *, every_seconds: float) -> list[Measured]:
        """Return what was measured in the last so many seconds, with one point in each so many.

        The mean of the cores is told, and the most of the memory.
        """
        kept = self._day if seconds > 3600 else self._hour
        wanted = [each for each in kept if each.at_seconds > now_seconds - seconds]
        if kept is self._day and self._minute:
            wanted.append(_together(self._minute))
        if not every_seconds:
            return wanted
        thinned: list[Measured] = []
        step: list[Measured] = []
        for each in wanted:
            if step and each.at_seconds // every_seconds != step[0].at_seconds // every_seconds:
                thinned.append(_together(step))
                step = []
            step.append(each)
        return [*thinned, *([_together(step)] if step else [])]


def _together(some: list[Measured]) -> Measured:
    if len(some) == 1:
        return some[0]
    gpu = [each.gpu_memory_bytes for each in some if each.gpu_memory_bytes is not None]
    return Measured(
        some[-1].at_seconds,
        sum(each.cpu_cores for each in some) / len(some),
        max(each.memory_bytes for each in some),
        max(gpu, default=None),
    )


def points(measured: list[Measured], now_seconds: float, now: datetime) -> tuple[Point, ...]:
    """Tell them with times of day."""
    return tuple(
        Point.model_construct(
            at=now - timedelta(seconds=round(now_seconds - each.at_seconds, 3)),
            cpu_cores=round(each.cpu_cores, 3),
            memory_bytes=int(each.memory_bytes),
            gpu_memory_bytes=None if each.gpu_memory_bytes is None else int(each.gpu_memory_bytes),
        )
        for each in measured
    )
