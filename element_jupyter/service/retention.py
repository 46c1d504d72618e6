"""Retention: outputs of old runs are put into a trash, restored when asked, and removed later."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, Protocol

from element_jupyter.core.audit import Act
from element_jupyter.core.care.outputs import OldRun, PutAway, PutAwayStore, old
from element_jupyter.core.care.policy import CarePolicy
from element_jupyter.core.care.preview import Tidied
from element_jupyter.core.errors import Conflict, ElementError, NotFound
from element_jupyter.service.care import PLATFORM

log = logging.getLogger(__name__)

_AT_ONCE: Final = 200
_LONGEST_PAUSE_SECONDS: Final = 3600.0


class Trash(Protocol):
    """The outputs of runs; see `adapters.run_trash`. All of it blocks."""

    def size_bytes(self, run_id: str) -> int: ...
    def put_away(self, run_id: str) -> None: ...
    def restore(self, run_id: str) -> None: ...
    def remove(self, run_id: str) -> None: ...


class Retention:
    """Puts away by policy; what happened in a run stays known."""

    def __init__(
        self,
        store: PutAwayStore,
        trash: Trash,
        policy: Callable[[], CarePolicy],
        *,
        record: Callable[[Act], Awaitable[None]],
        now: Callable[[], datetime],
        alone: Callable[[], AbstractAsyncContextManager[bool]],
    ) -> None:
        """`alone` lets one control plane tidy up at a time."""
        self._store = store
        self._trash = trash
        self._policy = policy
        self._record = record
        self._now = now
        self._alone = alone

    async def keep_tidying(self) -> None:
        """Tidy up again and again."""
        while True:
            # as often as servers are looked at, times sixty: once an hour unless said otherwise
            pause_seconds = min(60 * self._policy().report_every, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause_seconds)
            try:
                await self.tidy()
            except (ElementError, OSError) as error:
                log.warning("outputs of old runs are put away later: %s", error)
            except Exception:
                # one bad round must not be the last
                log.exception("outputs of old runs were not put away")

    async def tidy(self) -> None:
        """Put away what is old, and remove what cannot be restored any more.

        Raises:
            Unavailable: the database does not answer.
            OSError: the file system refuses.
        """
        async with self._alone() as mine:
            if not mine:
                return
            now, said = self._now(), self._policy().runs
            while due := await self._store.due(old(said, now), _AT_ONCE):
                for run in due:
                    await self._put_away(run, now, now + timedelta(seconds=said.trash))
            while gone := await self._store.expired(now, _AT_ONCE):
                for each in gone:
                    await asyncio.to_thread(self._trash.remove, each.run_id)
                    if each.size_bytes:
                        await self._record(_act("run.outputs-removed", each, now))
                    await self._store.removed(each.run_id, now)

    async def _put_away(self, run: OldRun, now: datetime, until: datetime) -> None:
        size_bytes = await asyncio.to_thread(self._trash.size_bytes, run.run_id)
        what = PutAway(run_id=run.run_id, at=now, until=until, size_bytes=size_bytes)
        await asyncio.to_thread(self._trash.put_away, run.run_id)
        if size_bytes:
            await self._record(_act("run.outputs-put-away", what, now))
        await self._store.put_away(what)

    async def expected(self) -> list[Tidied]:
        """Say what would be put away and removed now."""
        now, said = self._now(), self._policy().runs
        until = now + timedelta(seconds=said.trash)
        found = []
        for run in await self._store.due(old(said, now), _AT_ONCE):
            size_bytes = await asyncio.to_thread(self._trash.size_bytes, run.run_id)
            sentence = f"The outputs of a run of {run.name} are put into the trash."
            found.append(
                Tidied(
                    what="outputs",
                    subject=run.run_id,
                    sentence=sentence,
                    frees_bytes=size_bytes,
                    restorable_until=until,
                )
            )
        found += [
            Tidied(
                what="trash",
                subject=each.run_id,
                sentence="Its outputs are removed from the trash.",
                frees_bytes=each.size_bytes,
            )
            for each in await self._store.expired(now, _AT_ONCE)
        ]
        return found

    async def restore(self, run_id: str) -> PutAway:
        """Bring the outputs of a run back.

        Raises:
            NotFound: they were not put away, or are gone.
        """
        found = await self._store.find(run_id)
        if found is None:
            raise NotFound(f"The outputs of the run {run_id} were not put away.")
        if found.removed_at is not None:
            raise NotFound(
                f"The outputs of the run {run_id} were removed at {found.removed_at:%F %H:%M} UTC.",
                "Only what a backup has can be brought back.",
            )
        if found.restored_at is not None:
            return found
        async with self._alone() as mine:
            if not mine:
                raise Conflict("The platform is tidying up just now.", "Try again in a moment.")
            await asyncio.to_thread(self._trash.restore, run_id)
            now = self._now()
            await self._store.restored(run_id, now)
        return found.model_copy(update={"restored_at": now})

    async def explain(self, run_id: str) -> None:
        """Return unless a run's outputs are not there since they were put away.

        Raises:
            NotFound: they were; says whether they can be restored.
        """
        found = await self._store.find(run_id)
        if found is None or found.restored_at is not None:
            return
        if found.removed_at is not None:
            raise NotFound(f"The outputs of the run {run_id} were old, and were removed.")
        raise NotFound(
            f"The outputs of the run {run_id} were old, and are in the trash.",
            f"`element runs restore {run_id}` brings them back, until {found.until:%F %H:%M} UTC.",
        )


def _act(action: str, what: PutAway, now: datetime) -> Act:
    said = f"{action} {what.run_id} {what.at.isoformat()}"
    return Act(
        act_id=hashlib.blake2b(said.encode(), digest_size=16).hexdigest(),
        at=now,
        actor=PLATFORM,
        action=action,
        subject=what.run_id,
        before={"size_bytes": what.size_bytes},
        after={"restorable_until": what.until.isoformat()}
        if action == "run.outputs-put-away"
        else None,
    )
