"""What people's servers take and give back, as the Hub tells the control plane."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from element_jupyter.core.errors import Unavailable
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.quotas.allocations import Allocation, Ended
from element_jupyter.core.quotas.rules import Kind, Quotas, bounds
from element_jupyter.core.teams import Level
from element_jupyter.platform.hub.untold import Tell, Untold

log = logging.getLogger(__name__)

_READINGS_SECONDS: Final = 300


class HubReservations:
    """A `core.quotas.allocations.Reservations` that asks the control plane."""

    def __init__(self, tell: Tell, quotas: Callable[[], Quotas], untold: Untold) -> None:
        self._tell = tell
        self._quotas = quotas
        self._untold = untold

    async def reserve(self, allocation: Allocation, level: Level | None) -> None:
        self._untold.go_on()
        body = {"allocation": allocation.model_dump(mode="json"), "level": level}
        try:
            await self._tell("allocations", body)
        except Unavailable as error:
            found = bounds(self._quotas(), allocation.claimant(level), datetime.now(UTC))
            if any(bound.limit.kind in {Kind.LARGEST, Kind.AT_ONCE} for bound in found):
                # it may have been written down all the same
                self._untold.keep(_release(allocation.id), _body(_ended("not started")))
                raise Unavailable(
                    "Whether your limits leave room cannot be asked now: the control plane does"
                    " not answer.",
                    "Try again in a moment.",
                ) from error
            log.warning("%s starts unasked: %s", allocation.person, error.message)
            self._untold.keep("allocations", body | {"begun": True})

    async def release(self, id_: str, ended: Ended) -> None:
        self._untold.keep(_release(id_), _body(ended))

    def count(self, readings: Sequence[Reading]) -> None:
        """Tell how much is used; does not wait for it.

        While the control plane is away, the last batch of each few minutes is kept: later readings
        say what earlier ones said, and more.
        """
        body = {"readings": [each.model_dump(mode="json") for each in readings]}
        self._untold.keep("usage/readings", body, every_seconds=_READINGS_SECONDS)


def _release(id_: str) -> str:
    return f"allocations/{id_}/release"


def _ended(how: str) -> Ended:
    return Ended(ended_at=datetime.now(UTC), how=how)


def _body(ended: Ended) -> dict[str, Any]:
    return ended.model_dump(mode="json")
