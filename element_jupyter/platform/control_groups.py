"""Where the control groups of this process are, and what holds servers to their sizes there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from element_jupyter.adapters.limits import Probed, probe
from element_jupyter.adapters.resources.cgroups import places


def control_groups() -> dict[str, Path]:
    """Return the groups of this process by controller; '' is version 2."""
    return {controller: place.directory for controller, place in places().items()}


def limits_of(data: Path) -> Probed:
    """Find what holds the servers of the platform whose data is there; others have their own."""
    return probe(control_groups(), group_of(data))


def group_of(data: Path) -> str:
    """Name the group that all servers of one platform are in."""
    return f"element-{hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:12]}"
