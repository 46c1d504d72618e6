"""What people and teams keep: measured by whoever may look, and what follows from it."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """Where something is kept."""

    HOME = "home"
    TEAM = "team"
    """The directory that a team shares."""
    RUNS = "runs"
    """What runs have left: notebooks, files, logs."""
    SHARED = "shared"
    """Snapshots: a file that many have sent is kept once, so it is nobody's own."""
