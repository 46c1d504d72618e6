"""Which limit holds, and who has set it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

HUB: Final = "set by your hub"
CONTAINER: Final = "limit of the container"
MACHINE: Final = "this machine"

_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of cores or bytes, with a phrase for people about where it comes from."""

    amount: float
    source: str
    enforced: bool
    """Whether the system counts against it, so that what it counts is to be told."""


def choose(group: float | None, said: str | None, machine: float) -> Limit:
    """Return the limit of a control group; else the one that the hub tells; else all there is.

    Hubs tell what they have set by the variables MEM_LIMIT and CPU_LIMIT. A limit above what the
    machine has is none.
    """
    hub = _amount(said)
    if hub is not None and hub > machine:
        hub = None
    if group is not None and group < machine:
        by_hub = hub is not None and math.isclose(group, hub, rel_tol=0.01)
        return Limit(group, HUB if by_hub else CONTAINER, enforced=True)
    if hub is not None:
        return Limit(hub, HUB, enforced=False)
    return Limit(machine, MACHINE, enforced=False)


def _amount(said: str | None) -> float | None:
    """Read what JupyterHub writes: bytes or cores, as a number; people add a unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", said or "", re.IGNORECASE)
    if match is None:
        return None
    return float(match[1]) * _UNITS[match[2].upper()] or None
