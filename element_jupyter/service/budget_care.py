"""Care of budgets: people are told in time, and what a policy stops is stopped after its grace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, Protocol

from element_jupyter.core.care.budgets import (
    TOLD,
    Drawn,
    People,
    Stop,
    drawn,
    stop_notice,
    stops,
    to_stop,
    to_tell,
)
from element_jupyter.core.care.notices import NoticeKind, Told
from element_jupyter.core.care.standing import Standing
from element_jupyter.core.errors import ElementError
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.rules import Kind, Quotas
from element_jupyter.core.quotas.use import Use
from element_jupyter.core.runs import Run

log = logging.getLogger(__name__)

_LEAST_PAUSE_SECONDS: Final = 1.0


class Notices(Protocol):
    """Where people are told; see `core.care.notices.NoticeStore`."""

    async def tell(self, told: Told) -> bool: ...
    async def open(self, *kinds: NoticeKind) -> list[Told]: ...
    async def close(self, ids: Collection[str], at: datetime) -> None: ...


class Open(Protocol):
    """What runs; see `adapters.sql.activity_store`."""

    async def standing(self, *, runs: bool = False) -> list[Standing]: ...
    async def doom(self, standing: Standing, why: str) -> None: ...
    async def spare(self, allocation_id: str) -> None: ...


class Runs(Protocol):
    """The control plane's runs; see `service.runs`."""

    async def stop(self, run_id: str, reason: str = "") -> Run: ...


class Servers(Protocol):
    """The Hub's servers; see `adapters.hub.servers`."""

    async def stop(self, person: str, server: str) -> None: ...


class BudgetCare:
    """Looks at all budgets at once, from what was read ahead for those who ask how people stand."""

    def __init__(
        self,
        read: Callable[[], Awaitable[tuple[Quotas, Use, People]]],
        notices: Notices,
        open_: Open,
        *,
        runs: Runs,
        servers: Servers | None,
        now: Callable[[], datetime],
        alone: Callable[[], AbstractAsyncContextManager[bool]],
        note_ends: Callable[[], Awaitable[None]],
    ) -> None:
        """`alone` lets one control plane look at a time; `note_ends` puts ends on record."""
        self._read = read
        self._notices = notices
        self._open = open_
        self._runs = runs
        self._servers = servers
        self._now = now
        self._alone = alone
        self._note_ends = note_ends

    async def keep_looking(self, every_seconds: Callable[[], float]) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(max(_LEAST_PAUSE_SECONDS, every_seconds()))
            try:
                await self.look()
            except ElementError as error:
                log.warning("budgets are looked at later: %s", error.message)
            except Exception:
                # one bad round must not be the last
                log.exception("budgets were not looked at")

    async def look(self) -> None:
        """Tell of budgets that are nearly or wholly used up, and stop what they stop.

        Raises:
            Unavailable: the Hub or the database does not answer.
        """
        async with self._alone() as mine:
            if not mine:
                return
            await self._note_ends()
            told = await self._notices.open(*TOLD)
            quotas, use, people = await self._read()
            limited = any(
                limit.kind is Kind.BUDGET for each in quotas.by_subject.values() for limit in each
            )
            if not limited and not told:
                return
            now = self._now()
            found = await asyncio.to_thread(drawn, quotas, use, people, now)
            new, so = await asyncio.to_thread(to_tell, quotas, found, people, told, now)
            for each in new:
                await self._notices.tell(each)
            doomed = await self._stop(quotas, found, people, told, now)
            over = [
                each.id
                for each in told
                if each.about not in doomed and (each.person, each.about, each.kind) not in so
            ]
            await self._notices.close(over, now)
            for each in told:
                if each.kind is NoticeKind.BUDGET_STOP and each.id in over:
                    await self._open.spare(each.about)

    async def _stop(
        self,
        quotas: Quotas,
        found: list[Drawn],
        people: People,
        told: list[Told],
        now: datetime,
    ) -> set[str]:
        """Tell and stop; return the allocations that are to end."""
        spent = stops(found)
        if not spent:
            return set()
        running = await self._open.standing(runs=True)
        due = await asyncio.to_thread(to_stop, quotas, spent, running, people, now)
        deadlines = {
            each.about: each.deadline for each in told if each.kind is NoticeKind.BUDGET_STOP
        }
        for each in due:
            deadline = deadlines.get(each.allocation.id)
            if deadline is None:
                await self._notices.tell(stop_notice(each, now))
            elif now >= deadline:
                await self._end(each)
        return {each.allocation.id for each in due}

    async def _end(self, stop: Stop) -> None:
        allocation = stop.allocation
        if allocation.kind is not AllocationKind.RUN and self._servers is None:
            return
        log.info("%s of %s: %s", allocation.id, allocation.person, stop.why)
        await self._open.doom(stop.standing, stop.why)
        try:
            if allocation.kind is AllocationKind.RUN:
                await self._runs.stop(allocation.run_id or allocation.id, f"{stop.why}.")
            elif self._servers is not None:
                await self._servers.stop(allocation.person, allocation.server)
        except ElementError as error:
            # the others must not wait for one that does not answer
            log.warning("%s is stopped later: %s", allocation.id, error.message)
