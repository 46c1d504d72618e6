"""Outputs of runs: which are put away, and until when they can be restored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from element_jupyter.core.care.policy import RunOutputs
from element_jupyter.core.values import UtcTime, Value


class PutAway(Value):
    """A run whose outputs are in the trash, or were removed from it."""

    run_id: str
    at: UtcTime
    until: UtcTime
    """They can be restored."""
    size_bytes: int
    restored_at: UtcTime | None = None
    removed_at: UtcTime | None = None


class OldRun(Value):
    """A run whose outputs are old."""

    run_id: str
    team: str
    name: str
    """Of its job, or its notebook."""
    finished_at: UtcTime


class Old(Value):
    """Which runs' outputs are old: those that ended before these moments; None: none are."""

    succeeded_before: UtcTime | None
    others_before: UtcTime | None
    keep_successes: int


def old(said: RunOutputs, now: datetime) -> Old:
    """Return which outputs are put away at a moment."""

    def before(seconds: float | None) -> datetime | None:
        return None if seconds is None else now - timedelta(seconds=seconds)

    return Old(
        succeeded_before=before(said.keep),
        others_before=before(said.keep_failed),
        keep_successes=said.keep_successes,
    )


class PutAwayStore(Protocol):
    """What is known of outputs that were put away; see `adapters.sql.put_away_store`."""

    async def due(self, old_: Old, limit: int) -> list[OldRun]: ...
    async def put_away(self, what: PutAway) -> None: ...
    async def find(self, run_id: str) -> PutAway | None: ...
    async def restored(self, run_id: str, at: datetime) -> None: ...
    async def expired(self, now: datetime, limit: int) -> list[PutAway]: ...
    async def removed(self, run_id: str, at: datetime) -> None: ...
