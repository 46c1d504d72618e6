"""What people and teams keep: measured by whoever may look, and what follows from it.

Somebody who keeps more than their limit works on, and is told; their runs wait until it is less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from element_jupyter.core.quotas.rules import Bound
from element_jupyter.core.resources.words import memory_in_words
from element_jupyter.core.values import Name, UtcTime, Value

WARNED: Final = 0.8
"""The share of a limit from which on one is told."""


class Place(StrEnum):
    """Where something is kept."""

    HOME = "home"
    TEAM = "team"
    """The directory that a team shares."""
    RUNS = "runs"
    """What runs have left: notebooks, files, logs."""
    SHARED = "shared"
    """Snapshots: a file that many have sent is kept once, so it is nobody's own."""


_WORDS: Final = {
    Place.HOME: "in the home directory",
    Place.TEAM: "in the team's directory",
    Place.RUNS: "left by runs",
    Place.SHARED: "in snapshots",
}

_Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class Kept(Value):
    """What is kept in one place by a person, by a team, or (neither) by all together."""

    place: Place
    person: Name | None = None
    team: Name | None = None
    used_bytes: _Count
    files: _Count


class KeptByRun(Value):
    """What one run has left."""

    run_id: Annotated[str, Field(max_length=40)]
    used_bytes: _Count
    files: _Count


class Measured(Value):
    """A part of what a measurement found, as it goes on."""

    began_at: UtcTime
    """When the measurement began; the same in all its parts."""
    whole: bool
    """Whether everybody's is measured: what was not found any more is not there."""
    persons: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()
    teams: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()
    """Whose is measured, where it is not everybody's."""
    done: _Count
    of: _Count
    """Directories that are measured, and that will be."""
    kept: Annotated[tuple[Kept, ...], Field(max_length=5000)] = ()
    runs: Annotated[tuple[KeptByRun, ...], Field(max_length=5000)] = ()
    ended: bool = False


class ToMeasure(Value):
    """What is to be measured now."""

    everybody: bool
    persons: tuple[Name, ...] = ()
    teams: tuple[Name, ...] = ()
    runs: tuple[str, ...] = ()
    """Those of the persons and the teams."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a person or a team keeps, by place, and since when that is known."""

    person: str | None
    team: str | None
    places: Mapping[Place, int]
    measured_at: datetime

    @property
    def used_bytes(self) -> int:
        return sum(self.places.values())


class Progress(Value):
    """How far a measurement is."""

    began_at: UtcTime
    done: int
    of: int


class ShownHolding(Value):
    """What a person or a team keeps, and what they may."""

    person: str | None
    team: str | None
    used_bytes: int
    limit_bytes: int | None
    share: float | None
    """Of the limit; 1 and more: their runs wait."""
    places: dict[Place, int]
    measured_at: UtcTime
    sentence: str
    hint: str
    """What to do, from 80 % of the limit on."""


class Storage(Value):
    """What is kept, by whoever keeps most first."""

    measured_at: UtcTime | None
    """When everybody's was last measured; null: it never was."""
    measuring: Progress | None
    items: tuple[ShownHolding, ...]
    shared_bytes: int | None
    """In snapshots, which are nobody's own; for administrators."""


def in_places(places: Mapping[Place, int]) -> str:
    """Say where it is kept, most first: `9.0 GiB in the home directory, …`."""
    most_first = sorted(places.items(), key=lambda each: -each[1])
    return ", ".join(
        f"{memory_in_words(used)} {_WORDS[place]}" for place, used in most_first if used
    )


def shown(holding: Holding, bound: Bound | None) -> ShownHolding:
    """Put it into words; `bound` is the limit that counts."""
    who = holding.person or f"The team '{holding.team}'"
    limit = int(bound.limit.amount or 0) if bound is not None else None
    used = holding.used_bytes
    share = None if limit is None else used / limit if limit else float(used > 0)
    of = "" if limit is None or bound is None else f" of {memory_in_words(limit)}"
    whose = "" if bound is None else f" ({bound.limit.subject.words})"
    where = in_places(holding.places)
    hint = ""
    if share is not None and share >= WARNED:
        waits = "Runs wait until it is less. " if used > (limit or 0) else ""
        hint = (
            f"{waits}Delete files that nobody needs, then have it measured again:"
            " `element usage storage --measure`."
        )
    return ShownHolding(
        person=holding.person,
        team=holding.team,
        used_bytes=used,
        limit_bytes=limit,
        share=None if share is None else round(share, 4),
        places=dict(holding.places),
        measured_at=holding.measured_at,
        sentence=f"{who} keeps {memory_in_words(used)}{of}{whose}"
        + (f": {where}." if where else "."),
        hint=hint,
    )
