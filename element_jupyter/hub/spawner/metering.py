"""What servers and runs use, read of all of them together, again and again.

Counters of control groups go on when the Hub is killed, so a reading says how much it is so far,
and the next one, whoever takes it, has what was missed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from weakref import WeakSet

from element_jupyter.core.confinement import Confinement
from element_jupyter.core.ledger.counting import Reading

log = logging.getLogger(__name__)

READ_SECONDS: Final = 30.0
"""How often; who is killed loses what was used of memory and GPUs since."""
_YOUNG_SECONDS: Final = 60.0
"""For how long what has begun is looked at more often, or what ends soon would not be seen."""
_OFTEN: Final = 6


@dataclass(frozen=True, slots=True)
class Metered:
    """What is read of one server or run."""

    allocation_id: str
    room: Confinement
    gpus: tuple[str, ...] = ()


class Meterable(Protocol):
    """A spawner whose server can be read."""

    def metered(self) -> Metered | None:
        """Return what is to be read now; None: nothing runs."""
        ...


class GpuTime(Protocol):
    """For how long devices were busy; see `adapters.resources.gpu_time`."""

    def busy_seconds(self, devices: Sequence[str]) -> float | None: ...


class Meter:
    """Reads all whom it follows, and tells it as one batch."""

    def __init__(
        self,
        tell: Callable[[Sequence[Reading]], None],
        gpus: GpuTime | None = None,
        period_seconds: float = READ_SECONDS,
    ) -> None:
        self._tell = tell
        self._gpus = gpus
        self._pause_seconds = period_seconds / _OFTEN
        self._seen_at: dict[str, float] = {}
        self._followed: WeakSet[Meterable] = WeakSet()
        self._name = secrets.token_hex(8)
        self._busy_before: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def follow(self, spawner: Meterable) -> None:
        """Read this one's server, too, as long as there is one."""
        self._followed.add(spawner)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._keep_reading())

    async def _keep_reading(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(self._pause_seconds)
            turn = (turn + 1) % _OFTEN
            try:
                readings = await self.read(only_young=turn != 0)
                if readings:
                    self._tell(readings)
            except Exception:
                # one bad round must not be the last
                log.exception("what servers use was not read")

    async def read(self, *, only_young: bool = False) -> list[Reading]:
        """Return one reading of each that runs, or of those that have just begun."""
        found = [each for spawner in list(self._followed) if (each := spawner.metered())]
        self._forget({each.allocation_id for each in found})
        now = time.monotonic()
        age_seconds = {
            each.allocation_id: now - self._seen_at.setdefault(each.allocation_id, now)
            for each in found
        }
        if only_young:
            found = [each for each in found if age_seconds[each.allocation_id] < _YOUNG_SECONDS]
        if not found:
            return []
        return await asyncio.to_thread(lambda: [self._reading(each) for each in found])

    def _reading(self, of: Metered) -> Reading:
        at = datetime.now(UTC)
        spent = of.room.spent()
        return Reading(
            allocation_id=of.allocation_id,
            at=at,
            cpu_seconds=spent.cpu_seconds,
            memory_bytes=of.room.memory_bytes(),
            peak_memory_bytes=spent.peak_memory_bytes,
            gpu_seconds=self._gpu_seconds(of),
            meter=self._name,
        )

    def _gpu_seconds(self, of: Metered) -> float | None:
        busy = self._gpus.busy_seconds(of.gpus) if self._gpus and of.gpus else None
        if busy is None:
            return None
        return busy - self._busy_before.setdefault(of.allocation_id, busy)

    def _forget(self, living: set[str]) -> None:
        for known in (self._busy_before, self._seen_at):
            for gone in known.keys() - living:
                del known[gone]
