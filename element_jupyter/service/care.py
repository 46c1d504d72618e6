"""Care of servers: who reports, who is told, and what is stopped."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from element_jupyter.core.access import Person
from element_jupyter.core.audit import Act
from element_jupyter.core.care.idleness import (
    SILENT_REPORTS,
    ActivityAnswer,
    ActivityReport,
    Due,
    Holding,
    Seen,
    after_report,
    due,
    gpu_unused_at,
)
from element_jupyter.core.care.notices import NoticeKind, NoticeStore, in_order
from element_jupyter.core.care.policy import CarePolicy, Editors
from element_jupyter.core.care.preview import ServerStanding, Tidied
from element_jupyter.core.care.standing import (
    ActivityStore,
    Ending,
    Standing,
    gpu_unused,
    stopped,
    warning,
)
from element_jupyter.core.errors import ElementError
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind

log = logging.getLogger(__name__)

PLATFORM: Final = "the platform"
"""Who has done what is tidied up, in the audit; nobody can have this name."""
_ASK_HUB_SECONDS: Final = 300.0
"""How often the Hub is asked about servers that do not report."""
_LEAST_FRESH_SECONDS: Final = 15.0
"""A busy machine may delay a report."""
_BEFORE_THE_END: Final = tuple(each for each in NoticeKind if each is not NoticeKind.STOPPED)
_KEPT: Final = timedelta(days=30)
"""How long notices that are over are kept."""


class Servers(Protocol):
    """The Hub's servers; see `adapters.hub.servers`."""

    async def last_activity(self) -> dict[tuple[str, str], datetime]: ...
    async def stop(self, person: str, server: str) -> None: ...


class ServerCare:
    """Knows what servers do, tells people, and stops what is idle."""

    def __init__(
        self,
        store: ActivityStore,
        notices: NoticeStore,
        policy: Callable[[], CarePolicy],
        record: Callable[[Act], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._notices = notices
        self.policy = policy
        self._record = record
        self._now = now
        self._hub_said: dict[tuple[str, str], datetime] = {}
        self._asked_at: datetime | None = None

    # ------------------------------------------------------------------------------ reports

    async def report(self, who: Person, report: ActivityReport) -> ActivityAnswer:
        """Take note of what a server of somebody's does; say what they are to be told."""
        now = self._now()

        def after(allocation: Allocation, before: Seen | None) -> Seen:
            return after_report(before, report, Holding(allocation.begun_at, allocation.gpu), now)

        await self._store.report(who.holder, report.server, after)
        notices = in_order(await self._notices.of(who.holder), now)
        return ActivityAnswer(notices=notices, report_every_seconds=self.policy().report_every)

    # ------------------------------------------------------------------------------- looking

    async def keep_looking(self, servers: Servers) -> None:
        """Look again and again, from when servers have had time to report."""
        await asyncio.sleep(2 * self.policy().report_every)
        while True:
            try:
                await self.look(servers)
            except ElementError as error:
                log.warning("servers are looked at later: %s", error.message)
            except Exception:
                # one bad round must not be the last
                log.exception("what is idle was not looked for")
            await asyncio.sleep(self.policy().report_every)

    async def look(self, servers: Servers) -> None:
        """Warn of what is idle, and stop what people were warned of, unless another does.

        Raises:
            Unavailable: the Hub or the database does not answer.
        """
        async with self._store.alone() as mine:
            if not mine:
                return
            await self.take_note_of_ends()
            for standing in await self._with_what_the_hub_says(servers):
                await self._look_at(standing, servers)

    async def shown(self) -> tuple[ServerStanding, ...]:
        """Say how the servers stand that run, and when each is stopped if nothing changes."""
        now = self._now()
        return tuple(
            _shown(each, self._due(each, now), now) for each in await self._store.standing()
        )

    async def expected(self) -> list[Tidied]:
        """Say which servers would be stopped or warned now."""
        now, found = self._now(), []
        for each in await self._store.standing():
            due_ = self._due(each, now)
            if due_ is not None and due_.at <= now:
                found.append(_tidied(each, due_, now))
        return found

    def _due(self, standing: Standing, now: datetime) -> Due | None:
        said = self.policy().for_team(standing.allocation.team)
        return due(said, standing.holding, standing.seen, self._fresh, now)

    @property
    def _fresh(self) -> timedelta:
        """How long a report is good for."""
        every_seconds = self.policy().report_every
        return timedelta(seconds=max(SILENT_REPORTS * every_seconds, _LEAST_FRESH_SECONDS))

    async def _with_what_the_hub_says(self, servers: Servers) -> list[Standing]:
        found = await self._store.standing()
        now, fresh = self._now(), self._fresh
        if not any(_is_silent(each, fresh, now) for each in found):
            return found
        if self._asked_at is None or (now - self._asked_at).total_seconds() > _ASK_HUB_SECONDS:
            self._hub_said, self._asked_at = await servers.last_activity(), now
        return [
            _with_activity(each, self._hub_said) if _is_silent(each, fresh, now) else each
            for each in found
        ]

    async def _look_at(self, standing: Standing, servers: Servers) -> None:
        allocation, now = standing.allocation, self._now()
        said = self.policy().for_team(allocation.team)
        await self._tell_of_gpu(standing, said, now)
        found = self._due(standing, now)
        ahead = timedelta(seconds=said.warning)
        if found is None or now < found.at - ahead:
            if standing.warned_at is not None:
                kinds = {NoticeKind.IDLE, NoticeKind.MAX_AGE}
                if said.gpu_unused_then == "stop":
                    kinds.add(NoticeKind.GPU_IDLE)
                await self._notices.end(allocation.id, now, *kinds)
                await self._store.calm(allocation.id)
        elif standing.warned_at is None or standing.deadline is None:
            # never sooner than people can have read it
            deadline = max(found.at, now + ahead)
            await self._notices.tell(warning(standing, found, deadline, said))
            await self._store.warn(standing, now, deadline)
        elif now >= standing.deadline and await self._store.end(standing, found.why(now)):
            log.info("%s of %s: %s", allocation.id, allocation.person, found.why(now))
            await servers.stop(allocation.person, allocation.server)

    async def _tell_of_gpu(self, standing: Standing, said: Editors, now: datetime) -> None:
        at = gpu_unused_at(said, standing.holding, standing.seen)
        if said.gpu_unused_then == "stop" or at is None:
            return  # the warning tells
        if now >= at:
            await self._notices.tell(gpu_unused(standing, now))
        else:
            await self._notices.end(standing.allocation.id, now, NoticeKind.GPU_IDLE)

    async def take_note_of_ends(self) -> None:
        """Put on record what was stopped and has ended, and tell its person; once for each."""
        now = self._now()
        for ending in await self._store.stopped():
            allocation = ending.allocation
            await self._record(_act(ending, now))
            # not what another control plane has just told
            await self._notices.end(allocation.id, now, *_BEFORE_THE_END)
            await self._notices.tell(stopped(ending, now))
            await self._store.forget(allocation.id)
        for allocation_id in await self._store.forget_ended():
            await self._notices.end(allocation_id, now)
        await self._notices.forget(now - _KEPT)


def _shown(standing: Standing, found: Due | None, now: datetime) -> ServerStanding:
    allocation, seen = standing.allocation, standing.seen
    stops_at = None if found is None else max(found.at, standing.deadline or found.at)
    return ServerStanding(
        allocation_id=allocation.id,
        person=allocation.person,
        server=allocation.server,
        team=allocation.team,
        size=allocation.size,
        begun_at=allocation.begun_at,
        active_at=seen.active_at,
        reported_at=seen.reported_at,
        working=seen.working,
        busy=seen.busy,
        connections=seen.connections,
        kept_until=seen.kept_until,
        warned_at=standing.warned_at,
        stops_at=stops_at,
        why="" if found is None else found.why(now),
    )


def _tidied(standing: Standing, found: Due, now: datetime) -> Tidied:
    allocation = standing.allocation
    return Tidied(
        what="server",
        subject=f"{allocation.person}/{allocation.server}".rstrip("/"),
        sentence=f"Stopped after a warning: {found.why(now)}.",
        frees_bytes=allocation.memory_bytes,
        frees_cores=allocation.cpu,
    )


def _is_silent(standing: Standing, fresh: timedelta, now: datetime) -> bool:
    return standing.seen.reported_at is None or now - standing.seen.reported_at > fresh


def _with_activity(standing: Standing, said: dict[tuple[str, str], datetime]) -> Standing:
    allocation, seen = standing.allocation, standing.seen
    at = said.get((allocation.person, allocation.server))
    if at is None or at <= seen.active_at:
        return standing
    known = Seen(active_at=at, reported_at=seen.reported_at, kept_until=seen.kept_until)
    return Standing(allocation, known, standing.warned_at, standing.deadline)


def _act(ending: Ending, now: datetime) -> Act:
    allocation = ending.allocation
    run = allocation.kind is AllocationKind.RUN
    return Act(
        # the same once, whichever control plane comes to it
        act_id=hashlib.blake2b(f"stopped {allocation.id}".encode(), digest_size=16).hexdigest(),
        at=allocation.ended_at or now,
        actor=PLATFORM,
        action="run.stopped" if run else "server.stopped",
        subject=allocation.id if run else f"{allocation.person}/{allocation.server}".rstrip("/"),
        before={"allocation": allocation.id, "team": allocation.team, "size": allocation.size},
        after={"why": ending.why},
    )
