"""What people and teams keep: shown, compared with their limits, and measured again when asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, time, timedelta
from typing import Final, Protocol

from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.core.quotas.rules import Bound, Claimant, Kind, Quotas, Scope, bounds
from element_jupyter.core.storage import (
    WARNED,
    Holding,
    Measured,
    Progress,
    ShownHolding,
    Storage,
    ToMeasure,
    shown,
)

_AGAIN: Final = timedelta(minutes=5)
"""How soon what one person or team keeps is measured again at the earliest."""
_STUCK: Final = timedelta(minutes=10)
"""A measurement that has told nothing for so long has ended."""


class StorageStore(Protocol):
    """See `adapters.sql.storage_store`."""

    async def put(self, measured: Measured) -> None: ...
    async def measured_at(self) -> datetime | None: ...
    async def shared_bytes(self) -> int: ...
    async def of_persons(
        self, *, person: str | None = None, team: str | None = None
    ) -> list[Holding]: ...
    async def of_teams(self, teams: Collection[str] | None) -> list[Holding]: ...
    async def runs_of(self, persons: Sequence[str], teams: Sequence[str]) -> list[str]: ...


class Notices(Protocol):
    """Where people are told; see `core.care.notices.NoticeStore`."""

    async def tell(self, told: Told) -> bool: ...
    async def end(self, about: str, at: datetime, *kinds: str) -> None: ...


class StorageKeeper:
    """Measures nothing itself: what may look into everybody's home asks it what is wanted."""

    def __init__(
        self,
        store: StorageStore,
        quotas: Callable[[], Quotas],
        now: Callable[[], datetime],
        nightly_at: time | None,
        notices: Notices | None = None,
    ) -> None:
        """Have everybody's measured once a night, by this machine's clock; None: never."""
        self._notices = notices
        self._warned: set[str] = set()
        self._store = store
        self._quotas = quotas
        self._now = now
        self._nightly_at = nightly_at
        self._asked: dict[Scope, datetime] = {}
        self._wanted: set[Scope] = set()
        self._progress: Progress | None = None
        self._told_at: datetime | None = None
        self.freed: Callable[[], None] = lambda: None
        """Called when less may be kept than before."""

    # ------------------------------------------------------------------------------- measuring

    def ask(self, scope: Scope) -> None:
        """Have what a person or a team keeps be measured again, unless it just was."""
        now = self._now()
        whose = Scope(person=scope.person) if scope.person is not None else scope
        if whose in self._asked and now - self._asked[whose] < _AGAIN:
            return
        self._asked = {each: at for each, at in self._asked.items() if now - at < _AGAIN}
        self._asked[whose] = now
        self._wanted.add(whose)

    async def to_measure(self) -> ToMeasure:
        """Say what is to be measured now, until a measurement of it has begun.

        Raises:
            Unavailable: the database does not answer.
        """
        if self._busy():
            return ToMeasure(everybody=False)
        if await self._is_due():
            return ToMeasure(everybody=True)
        persons = sorted(scope.person for scope in self._wanted if scope.person is not None)[:100]
        teams = sorted(
            scope.team for scope in self._wanted if scope.person is None and scope.team is not None
        )[:100]
        if not persons and not teams:
            return ToMeasure(everybody=False)
        found = await self._store.runs_of(persons, teams)
        return ToMeasure(
            everybody=False, persons=tuple(persons), teams=tuple(teams), runs=tuple(found)
        )

    async def _is_due(self) -> bool:
        if self._nightly_at is None:
            return False
        now = self._now().astimezone()
        due = now.replace(hour=self._nightly_at.hour, minute=self._nightly_at.minute, second=0)
        if due > now:
            due -= timedelta(days=1)
        last = await self._store.measured_at()
        return last is None or last < due

    def _busy(self) -> bool:
        told = self._told_at
        return self._progress is not None and told is not None and self._now() - told < _STUCK

    async def measured(self, found: Measured) -> None:
        """Take what a measurement has found so far."""
        await self._store.put(found)
        self._wanted -= {Scope(person=each) for each in found.persons}
        self._wanted -= {Scope(team=each) for each in found.teams}
        if found.whole:
            self._wanted.clear()
        self._told_at = self._now()
        self._progress = Progress(began_at=found.began_at, done=found.done, of=found.of)
        if found.ended:
            self._progress = None
            self.freed()
            await self._warn(None if found.whole else found.persons)

    async def _warn(self, persons: Collection[str] | None) -> None:
        """Tell those who keep more than 80 % of what they may, and no others any more."""
        if self._notices is None:
            return
        if persons is None:
            holdings = await self._store.of_persons()
        else:
            several = [await self._store.of_persons(person=each) for each in persons]
            holdings = [each for found in several for each in found]
        quotas, now = self._quotas(), self._now()
        items = [shown(each, _limit(quotas, each, None, now)) for each in holdings]
        over = {str(item.person): item for item in items if (item.share or 0.0) >= WARNED}
        known = self._warned if persons is None else {*persons}
        for person in known | over.keys():
            await self._notices.end(_about(person), now)
        self._warned = (self._warned - known) | over.keys()
        for person, item in over.items():
            about = _about(person)
            told = Told(
                id=notice_id(person, NoticeKind.STORAGE, about, now.isoformat()),
                person=person,
                kind=NoticeKind.STORAGE,
                about=about,
                sentence=item.sentence,
                hint=item.hint,
                at=now,
            )
            await self._notices.tell(told)

    # --------------------------------------------------------------------------------- reading

    async def mine(self, person: str, teams: Collection[str]) -> Storage:
        """Return what somebody keeps, and what their teams do."""
        return await self._shown(
            [*await self._store.of_persons(person=person), *await self._store.of_teams(teams)]
        )

    async def of_team(self, team: str) -> Storage:
        """Return what a team keeps, and what each of its people keeps for it."""
        people = await self._store.of_persons(team=team)
        return await self._shown([*await self._store.of_teams([team]), *people], within=team)

    async def of_all(self, limit: int) -> Storage:
        """Return who keeps most, persons and teams."""
        found = [*await self._store.of_persons(), *await self._store.of_teams(None)]
        alone = {each.person for each in found}
        # a person's own team of one says the same again
        found = [each for each in found if each.team is None or each.team not in alone]
        found.sort(key=lambda each: -each.used_bytes)
        said = await self._shown(found[:limit])
        return said.model_copy(update={"shared_bytes": await self._store.shared_bytes()})

    async def _shown(self, found: Sequence[Holding], within: str | None = None) -> Storage:
        quotas, now = self._quotas(), self._now()
        items = [shown(each, _limit(quotas, each, within, now)) for each in found]
        items.sort(key=_by_share)
        return Storage(
            measured_at=await self._store.measured_at(),
            measuring=self._progress if self._busy() else None,
            items=tuple(items),
            shared_bytes=None,
        )


def _about(person: str) -> str:
    return f"what {person} keeps"


def _by_share(item: ShownHolding) -> tuple[float, int]:
    return -(item.share or 0.0), -item.used_bytes


def _limit(quotas: Quotas, holding: Holding, within: str | None, now: datetime) -> Bound | None:
    """Return the smallest limit of what somebody keeps, of all or within a team."""
    if holding.person is None:
        scope = Scope(team=holding.team)
        who = Claimant(None, holding.team or "")
    else:
        scope = Scope(holding.person, within)
        who = Claimant(holding.person, within or holding.person)
    found = [
        bound
        for bound in bounds(quotas, who, now)
        if bound.limit.kind is Kind.STORAGE and bound.scope == scope
    ]
    return min(found, key=lambda bound: bound.limit.amount or 0.0, default=None)
