"""Holding servers and runs to their sizes: the best way that works on this machine.

In this order: systemd where it has started the machine and we are root; control groups of version
2, then 1, where they may be written; else a watchdog, which only looks at memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from element_jupyter.adapters.limits import systemd, version1, version2
from element_jupyter.adapters.limits.systemd import Systemd
from element_jupyter.adapters.limits.version1 import Version1
from element_jupyter.adapters.limits.version2 import Version2
from element_jupyter.adapters.limits.watchdog import Watchdog
from element_jupyter.core.confinement import Limiter
from element_jupyter.core.errors import Unavailable

__all__ = ["Probed", "Systemd", "Version1", "Version2", "Watchdog", "expect", "probe"]

_NOWHERE: Final = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Probed:
    """What holds the limits here, and why what would be better does not."""

    limiter: Limiter
    refused: tuple[str, ...]


def probe(places: Mapping[str, Path], name: str) -> Probed:
    """Try each way for real, with a small group that is gone afterwards.

    `places` are the control groups of this process by controller, '' being version 2; `name` is
    the group that all of ours are in.
    """
    ways: tuple[Callable[[], Limiter], ...] = (
        lambda: Systemd(name),
        lambda: Version2(places.get("", _NOWHERE), name),
        lambda: Version1(places, name),
    )
    refused: list[str] = []
    for way in ways:
        try:
            return Probed(way(), tuple(refused))
        except Unavailable as error:
            refused.append(error.message)
    return Probed(Watchdog(), tuple(refused))


def expect(places: Mapping[str, Path]) -> tuple[str, tuple[str, ...]]:
    """Return the method that `probe` would come to, and what speaks against better ones.

    Nothing is changed, so that it can be asked beside a platform that runs.
    """
    ways: tuple[tuple[str, Callable[[], None]], ...] = (
        (Systemd.method, systemd.check),
        (Version2.method, lambda: version2.check(places.get("", _NOWHERE))),
        (Version1.method, lambda: version1.check(places)),
    )
    refused: list[str] = []
    for method, check in ways:
        try:
            check()
        except Unavailable as error:
            refused.append(error.message)
        else:
            return method, tuple(refused)
    return Watchdog.method, tuple(refused)
