"""Quotas: what may start within the limits of `quotas.yaml`, for the Hub's servers and for runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from element_jupyter.core.access import Person
from element_jupyter.core.errors import ElementError, Forbidden, NotFound, OverQuota
from element_jupyter.core.pages import (
    Page,
    decode_cursor,
    encode_cursor,
    key_of_moment,
    moment_of_key,
)
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind, Claim, Ended
from element_jupyter.core.quotas.checking import Refusal, refused_ever
from element_jupyter.core.quotas.rules import Claimant, Kind, Quotas, Scope, bounds
from element_jupyter.core.quotas.standing import ShownQuota, Standing, shown
from element_jupyter.core.runs import Run
from element_jupyter.core.sizes import Sizes
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name
from element_jupyter.service.platform_metrics import REFUSED

log = logging.getLogger(__name__)

_COMPARE_SECONDS: Final = 30.0
"""How often what is open is compared with the servers that the Hub has."""
GONE: Final = "its server was gone"


class AllocationStore(Protocol):
    """Where allocations are; see `adapters.sql.allocation_store`."""

    async def reserve(self, claim: Claim, *, begun: bool = False) -> Refusal | None: ...
    async def release(self, id_: str, ended: Ended) -> bool: ...
    async def standing(self, claim: Claim) -> tuple[tuple[Standing, ...], Refusal | None]: ...
    async def open_servers(self, begun_before: datetime) -> list[Allocation]: ...
    async def page(
        self,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
        teams: Collection[str] | None = None,
        person: str | None = None,
        still_open: bool | None = None,
    ) -> list[Allocation]: ...


class Servers(Protocol):
    """The Hub's servers; see `adapters.hub.servers`."""

    async def running(self) -> set[tuple[str, str]]: ...
    async def look(self, person: str, server: str) -> dict[str, Any] | None: ...


class QuotaKeeper:
    """Knows the rules and the sizes; asks the Hub who somebody is where a limit is of a role."""

    def __init__(
        self,
        store: AllocationStore,
        quotas: Callable[[], Quotas],
        sizes: Callable[[], Sizes],
        person: Callable[[str], Awaitable[Person | None]] | None = None,
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._sizes = sizes
        self._person = person
        self.freed: Callable[[], None] = lambda: None
        """Called when something was given back."""
        self.waits_for_storage: Callable[[Scope], None] = lambda _: None
        """Called with whose it is when a run waits until less is kept."""

    # ------------------------------------------------------------------------------- servers

    async def reserve(self, allocation: Allocation, level: Level | None, *, begun: bool) -> None:
        """Take what a server needs; one that has `begun` has it, whatever the limits say.

        Raises:
            OverQuota: it does not fit now; says when it will, and whom to ask.
            Forbidden: it never fits.
        """
        quotas = self._quotas()
        who = allocation.claimant(level)
        found = () if begun else bounds(quotas, who, datetime.now(UTC))
        refusal = await self._store.reserve(Claim(allocation, found), begun=begun)
        if refusal is not None:
            raise _error(refusal, quotas)

    async def release(self, id_: str, ended: Ended) -> None:
        """Write down that something has ended, once; what is not known is left alone."""
        if await self._store.release(id_, ended):
            self.freed()

    async def compare(self, servers: Servers) -> None:
        """Close what belongs to servers that the Hub does not have any more.

        Raises:
            Unavailable: the Hub or the database does not answer.
        """
        at = datetime.now(UTC)
        # first those that are open: what begins meanwhile is not among them
        found = await self._store.open_servers(at - timedelta(seconds=1))
        if not found:
            return
        living = await servers.running()
        for each in found:
            if (each.person, each.server) in living:
                continue
            # the list comes in pages, between which it changes
            if await servers.look(each.person, each.server) is None:
                log.warning("%s of %s: %s", each.id, each.person, GONE)
                await self.release(each.id, Ended(ended_at=at, how=GONE))

    async def keep_comparing(self, servers: Servers) -> None:
        """Compare now, and again and again."""
        while True:
            try:
                await self.compare(servers)
            except ElementError as error:
                log.warning("allocations are compared later: %s", error.message)
            except Exception:
                # one bad round must not be the last
                log.exception("allocations were not compared with the Hub's servers")
            await asyncio.sleep(_COMPARE_SECONDS)

    # ---------------------------------------------------------------------------------- runs

    async def claim(self, run: Run, at: datetime) -> Claim:
        """Return what a run needs, and the limits that count for it.

        Raises:
            Invalid: `quotas.yaml` has never been right.
            Unavailable: a limit is of a role, and the Hub does not answer.
        """
        quotas = self._quotas()
        who = Claimant(run.owner, run.team, await self._level(quotas, run.owner, run.team))
        return Claim(self._of_run(run, at), bounds(quotas, who, at))

    async def check(self, run: Run) -> None:
        """Return unless a run never fits.

        Raises:
            Forbidden: it is larger than a limit.
        """
        claim = await self.claim(run, datetime.now(UTC))
        refusal = refused_ever(claim.bounds, claim.allocation.wanted)
        if refusal is not None:
            raise _error(refusal, self._quotas())

    def _of_run(self, run: Run, at: datetime) -> Allocation:
        sizes = self._sizes()
        try:
            size = sizes.get(run.size)
        except NotFound:
            # it has been taken out of the file since; whoever starts the run says so
            size = sizes.get(None).model_copy(update={"name": run.size})
        return Allocation(
            id=run.run_id,
            kind=AllocationKind.RUN,
            person=run.owner,
            server=run.run_id,
            run_id=run.run_id,
            job=run.job,
            notebook=run.notebook,
            team=run.team,
            size=size.name,
            cpu=size.cpu,
            memory_bytes=size.memory_bytes,
            gpu=size.gpu,
            price_per_hour=size.price_per_hour,
            begun_at=at,
        )

    async def _level(self, quotas: Quotas, person: Name, team: Name) -> Level | None:
        if self._person is None or not quotas.asks_for_roles:
            return None
        found = await self._person(person)
        return found.levels.get(team) if found is not None else None

    def waits_for(self, refusal: Refusal) -> str:
        """Say why a run waits."""
        if refusal.bound.limit.kind is Kind.STORAGE:
            self.waits_for_storage(refusal.bound.scope)
        return f"{refusal.sentence} {refusal.hint(self._quotas())}"

    # ------------------------------------------------------------------------------- reading

    async def show(
        self, who: Person, team: Name, size: str | None, kind: AllocationKind
    ) -> ShownQuota:
        """Say what somebody may use for a team, and whether something of a size fits now.

        Raises:
            NotFound: there is no such size.
        """
        quotas, now = self._quotas(), datetime.now(UTC)
        asked = self._sizes().get(size)
        allocation = Allocation(
            id="s-" + "0" * 26,
            kind=kind,
            person=who.name,
            team=team,
            size=asked.name,
            cpu=asked.cpu,
            memory_bytes=asked.memory_bytes,
            gpu=asked.gpu,
            begun_at=now,
        )
        found = bounds(quotas, Claimant(who.name, team, who.levels.get(team)), now)
        standings, refusal = await self._store.standing(Claim(allocation, found))
        return shown(quotas, team, standings, refusal, asked=size is not None)

    async def page(
        self,
        *,
        cursor: str | None,
        limit: int,
        teams: Collection[str] | None,
        person: str | None,
        still_open: bool | None,
    ) -> Page[Allocation]:
        """List allocations, newest first; `teams` None is everybody's.

        Raises:
            Invalid: the cursor is not one of these.
        """
        after = None
        if cursor is not None:
            at, id_ = decode_cursor(cursor, int, str)
            after = (moment_of_key(at), id_)
        found = await self._store.page(
            limit=limit + 1, after=after, teams=teams, person=person, still_open=still_open
        )
        following = None
        if len(found) > limit:
            last = found[limit - 1]
            following = encode_cursor(key_of_moment(last.begun_at), last.id)
        return Page(items=tuple(found[:limit]), next_cursor=following)


def _error(refusal: Refusal, quotas: Quotas) -> ElementError:
    REFUSED.labels(refusal.bound.limit.kind.value).inc()
    kind = Forbidden if refusal.never else OverQuota
    return kind(refusal.sentence, refusal.hint(quotas), field="size")
