"""What runs and what waits: listed for those who look after it, and stopped by them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from element_jupyter.core.access import Person
from element_jupyter.core.admission import Queued, Turn
from element_jupyter.core.audit import note_change
from element_jupyter.core.errors import Conflict, NotFound, Unavailable
from element_jupyter.core.pages import decode_cursor, encode_cursor, key_of_moment, moment_of_key
from element_jupyter.core.quotas.allocations import AllocationKind, Ended
from element_jupyter.core.running import (
    QueueFilter,
    QueuePage,
    RunningFilter,
    RunningOrder,
    RunningPage,
    RunningThing,
    RunningTotals,
    Seen,
    Stopped,
    WaitingRun,
    may_stop,
    seen_by,
)
from element_jupyter.core.runs import Run
from element_jupyter.core.sizes import Sizes

_KEYS: Final[dict[RunningOrder, type[Any]]] = {
    RunningOrder.SINCE: int,
    RunningOrder.NEWEST: int,
    RunningOrder.COST: float,
}
_REMEMBERED: Final = 10_000
"""How many servers are known to have been told to stop."""


class RunningStore(Protocol):
    """Where it is written what is open and queued; see `adapters.sql.running`."""

    async def page(
        self,
        wanted: RunningFilter,
        seen: Seen,
        at: datetime,
        *,
        limit: int,
        after: tuple[str | int | float, str] | None = None,
    ) -> list[tuple[RunningThing, tuple[str | int | float, str]]]: ...
    async def totals(self, wanted: RunningFilter, seen: Seen, at: datetime) -> RunningTotals: ...
    async def get(self, id_: str, at: datetime) -> tuple[RunningThing, bool] | None: ...
    async def waiting(
        self,
        wanted: QueueFilter,
        seen: Seen,
        turns: dict[str, Turn],
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
    ) -> list[WaitingRun]: ...
    async def waits(
        self, wanted: QueueFilter, seen: Seen, at: datetime
    ) -> tuple[int, float, float]: ...


class RunsThatStop(Protocol):
    """The control plane's runs; see `service.runs`."""

    async def queued(self) -> Queued: ...
    async def stop(self, run_id: str, reason: str = "") -> Run: ...


class ServersThatStop(Protocol):
    """The Hub's servers; see `adapters.hub.servers`."""

    async def look(self, person: str, server: str) -> dict[str, Any] | None: ...
    async def stop(self, person: str, server: str) -> None: ...


class Ledger(Protocol):
    """Where an end is written down; see `service.quotas`."""

    async def release(self, id_: str, ended: Ended) -> None: ...


class Running:
    """What runs and waits, and the hand that stops it."""

    def __init__(
        self,
        store: RunningStore,
        runs: RunsThatStop,
        ledger: Ledger,
        sizes: Callable[[], Sizes],
        servers: ServersThatStop | None = None,
    ) -> None:
        """`servers` is None where there is no Hub, and so nothing but runs."""
        self._store = store
        self._runs = runs
        self._ledger = ledger
        self._sizes = sizes
        self._servers = servers
        self._told: OrderedDict[str, None] = OrderedDict()

    # ------------------------------------------------------------------------------- reading

    async def page(
        self, who: Person, wanted: RunningFilter, *, cursor: str | None, limit: int
    ) -> RunningPage:
        """List what runs that somebody may see.

        Raises:
            Invalid: the cursor is not one of these.
        """
        at, after = datetime.now(UTC), None
        if cursor is not None:
            kind = _KEYS.get(wanted.order, str)
            # what something has cost goes on growing: the pages of one list are of one moment
            moment, value, id_ = decode_cursor(cursor, int, kind, str)
            at, after = moment_of_key(moment), (value, id_)
        seen = seen_by(who)
        found = await self._store.page(wanted, seen, at, limit=limit + 1, after=after)
        following = None
        if len(found) > limit:
            following = encode_cursor(key_of_moment(at), *found[limit - 1][1])
        return RunningPage(
            items=tuple(self._shown(thing) for thing, _ in found[:limit]),
            next_cursor=following,
            totals=await self._store.totals(wanted, seen, at),
            currency=self._sizes().currency,
            at=at,
        )

    def _shown(self, thing: RunningThing) -> RunningThing:
        told = thing.stopping or thing.id in self._told
        return thing.model_copy(update={"stopping": told})

    async def queue(
        self, who: Person, wanted: QueueFilter, *, cursor: str | None, limit: int
    ) -> QueuePage:
        """List the runs that wait and that somebody may see, in the order of the whole queue.

        Raises:
            Invalid: the cursor is not one of these.
        """
        now, after = datetime.now(UTC), None
        if cursor is not None:
            moment, run_id = decode_cursor(cursor, int, str)
            after = (moment_of_key(moment), run_id)
        seen = seen_by(who)
        queued = await self._runs.queued()
        found = await self._store.waiting(
            wanted, seen, dict(queued.turns), limit=limit + 1, after=after
        )
        following = None
        if len(found) > limit:
            last = found[limit - 1]
            following = encode_cursor(key_of_moment(last.since), last.run_id)
        count, waited, longest = await self._store.waits(wanted, seen, now)
        return QueuePage(
            items=tuple(found[:limit]),
            next_cursor=following,
            count=count,
            waited_seconds=waited,
            longest_seconds=longest,
            executing=queued.executing,
            capacity=queued.capacity,
            at=now,
        )

    # ------------------------------------------------------------------------------ stopping

    async def stop(self, who: Person, id_: str) -> Stopped:
        """Stop a server or a run; what has ended already stays as it is.

        Raises:
            NotFound: there is none that they may see.
            Forbidden: it is another's.
            Conflict: its server is just being started.
            Unavailable: the Hub or the database does not answer.
        """
        now = datetime.now(UTC)
        found = await self._store.get(id_, now)
        if found is None or not self._may_see(who, found[0]):
            raise NotFound("There is nothing of that id that runs.", field="allocation_id")
        thing, still_open = found
        may_stop(who, thing)
        said = thing.model_dump(mode="json", include=_ON_RECORD) | {"state": "running"}
        if not still_open:
            note_change(said, said)
            return Stopped(id=id_, ended=True)
        reason = f"{who.name} asked it to stop."
        if thing.kind is AllocationKind.RUN:
            ended = (await self._runs.stop(thing.run_id or id_, reason)).state.ended
        else:
            ended = await self._stop_server(thing, reason)
        before = said | ({"state": "stopping"} if self._shown(thing).stopping else {})
        self._remember(id_)
        note_change(before, said | {"state": "ended" if ended else "stopping"})
        return Stopped(id=id_, ended=ended)

    @staticmethod
    def _may_see(who: Person, thing: RunningThing) -> bool:
        return seen_by(who).covers(thing.person, thing.team) or who.is_in(thing.team)

    async def _stop_server(self, thing: RunningThing, reason: str) -> bool:
        if self._servers is None:
            raise Unavailable("There is no Hub here that could stop it.")
        await self._servers.stop(thing.person, thing.server)
        left = await self._servers.look(thing.person, thing.server)
        if left is not None and left.get("pending") == "spawn":
            raise Conflict("It is just being started.", "Stop it once it runs, in a moment.")
        if left is not None:
            return False
        await self._ledger.release(thing.id, Ended(ended_at=datetime.now(UTC), how=reason))
        return True

    def _remember(self, id_: str) -> None:
        self._told[id_] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)


_ON_RECORD: Final = {"kind", "person", "team", "size", "job", "notebook", "since", "cost"}
