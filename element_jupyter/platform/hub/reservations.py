"""What people's servers take and give back, as the Hub tells the control plane.

An end is written to a file before it is told, and the file stays until it was heard: a control
plane that is away, or a Hub that is killed meanwhile, loses none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.quotas.allocations import Allocation, Ended
from element_jupyter.core.quotas.rules import Kind, Quotas, bounds
from element_jupyter.core.teams import Level

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 20.0

Tell = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Posts a body to a path of the control plane; raises as `adapters.hub.launcher`."""


class HubReservations:
    """A `core.quotas.allocations.Reservations` that asks the control plane."""

    def __init__(self, tell: Tell, quotas: Callable[[], Quotas], untold: Path) -> None:
        """Keep in the directory `untold` what has not been heard yet."""
        self._tell = tell
        self._quotas = quotas
        self._untold = untold
        self._telling: asyncio.Task[None] | None = None

    async def reserve(self, allocation: Allocation, level: Level | None) -> None:
        self._go_on()
        body = {"allocation": allocation.model_dump(mode="json"), "level": level}
        try:
            await self._tell("allocations", body)
        except Unavailable as error:
            found = bounds(self._quotas(), allocation.claimant(level), datetime.now(UTC))
            if any(bound.limit.kind in {Kind.LARGEST, Kind.AT_ONCE} for bound in found):
                # it may have been written down all the same
                self._keep(_release(allocation.id), _ended("not started"))
                raise Unavailable(
                    "Whether your limits leave room cannot be asked now: the control plane does"
                    " not answer.",
                    "Try again in a moment.",
                ) from error
            log.warning("%s starts unasked: %s", allocation.person, error.message)
            self._keep("allocations", body | {"begun": True})

    async def release(self, id_: str, ended: Ended) -> None:
        self._keep(_release(id_), ended)

    def _keep(self, path: str, body: Ended | dict[str, Any]) -> None:
        said = body.model_dump(mode="json") if isinstance(body, Ended) else body
        self._untold.mkdir(mode=0o700, parents=True, exist_ok=True)
        # in the order of their names
        name = self._untold / f"{time.time_ns():020d}-{os.getpid()}"
        part = name.with_suffix(".part")
        part.write_text(json.dumps({"path": path, "body": said}), encoding="utf-8")
        part.rename(name.with_suffix(".json"))
        self._go_on()

    def _go_on(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_all())

    async def _tell_all(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while files := sorted(self._untold.glob("*.json")):
            try:
                for file in files:
                    said = json.loads(file.read_text(encoding="utf-8"))
                    try:
                        await self._tell(said["path"], said["body"])
                    except Unavailable:
                        raise
                    except ElementError as error:
                        log.warning("the control plane does not want to know: %s", error.message)
                    file.unlink(missing_ok=True)
                    pause_seconds = _FIRST_PAUSE_SECONDS
            except Unavailable:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def _release(id_: str) -> str:
    return f"allocations/{id_}/release"


def _ended(how: str) -> Ended:
    return Ended(ended_at=datetime.now(UTC), how=how)
