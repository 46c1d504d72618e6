"""How people and teams stand towards their limits, page by page, for thousands of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from element_jupyter.core.errors import ElementError
from element_jupyter.core.pages import Page, decode_cursor, encode_cursor
from element_jupyter.core.quotas.people import (
    PersonStanding,
    TeamStanding,
    members,
    person_fraction,
    person_standing,
    team_standing,
)
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.quotas.use import Levels, Use, beginnings
from element_jupyter.core.values import Name

log = logging.getLogger(__name__)

FRESH: Final = timedelta(seconds=5)
STALE: Final = timedelta(seconds=60)
"""How old sums are at most; those that are not fresh are read anew for whoever asks next. The
limits themselves are always those of now."""
_AGAIN_SECONDS: Final = 10.0
Sort = Literal["name", "used"]
_People = Mapping[str, Levels]
_Ranks = list[tuple[float, str]]


class _Read(NamedTuple):
    quotas: Quotas
    use: Use


class _Ranked(NamedTuple):
    quotas: Quotas
    use: Use
    teams: frozenset[Name] | None
    rows: _Ranks


class QuotaStandings:
    """Reads what is used once for all who ask within a few seconds, and ahead of the first."""

    def __init__(
        self,
        quotas: Callable[[], Quotas],
        use: Callable[[Collection[datetime], datetime], Awaitable[Use]],
        people: Callable[[], Awaitable[_People]],
        now: Callable[[], datetime],
    ) -> None:
        self._quotas = quotas
        self._use = use
        self._people = people
        self._now = now
        self._read: _Read | None = None
        self._ranked: _Ranked | None = None
        self._reading: asyncio.Task[_Read] | None = None
        self._reading_for: Quotas | None = None

    async def people(
        self,
        *,
        teams: frozenset[Name] | None,
        search: str,
        over: float,
        sort: Sort,
        cursor: str | None,
        limit: int,
    ) -> Page[PersonStanding]:
        """List people by name, or who has used most first; of `teams`, or (None) everybody.

        `over` leaves out who has used less than that part of each limit.

        Raises:
            Invalid: the cursor is not one of these.
            Unavailable: the database does not answer, or the Hub never has.
        """
        quotas, use, people = await self._all()
        names = [
            name
            for name in people.keys() | use.teams_of.keys()
            if (not search or search in name) and _concerns(people.get(name, {}), teams)
        ]
        if sort == "used" or over > 0:
            ranked = await self._fractions(quotas, use, people, teams)
            wanted = set(names)
            rows = [each for each in ranked if each[1] in wanted and -each[0] >= over]
            if over <= 0:  # who has come since they were ranked
                rows += [(0.0, name) for name in wanted - {name for _, name in ranked}]
                rows.sort()
            if sort == "name":
                rows = [(0.0, name) for name in sorted(name for _, name in rows)]
        else:
            rows = [(0.0, name) for name in sorted(names)]
        after = decode_cursor(cursor, float, str) if cursor else None
        rows = [each for each in rows if after is None or each > after][: limit + 1]
        items = await asyncio.to_thread(
            lambda: tuple(
                person_standing(quotas, use, name, people.get(name, {}), only=teams)
                for _, name in rows[:limit]
            )
        )
        return Page[PersonStanding](items=items, next_cursor=_following(rows, limit))

    async def teams(
        self,
        *,
        teams: frozenset[Name] | None,
        search: str,
        over: float,
        sort: Sort,
        cursor: str | None,
        limit: int,
    ) -> Page[TeamStanding]:
        """List teams, as `people`."""
        quotas, use, people = await self._all()

        def found() -> list[TeamStanding]:
            counts = members(people)
            named = {
                subject.name
                for subject in quotas.by_subject
                if subject.what in {"team", "member"} and "/" not in subject.name
            }
            used = {team for person, team in use.holders if team != person}
            return [
                team_standing(quotas, use, name, counts.get(name, 0))
                for name in (counts.keys() | named | used) - {"*"}
                if (not search or search in name) and (teams is None or name in teams)
            ]

        standings = await asyncio.to_thread(found)
        keys = {
            (-(each.fraction or 0.0) if sort == "used" else 0.0, each.team): each
            for each in standings
            if over <= 0 or (each.fraction or 0.0) >= over
        }
        after = decode_cursor(cursor, float, str) if cursor else None
        rows = [key for key in sorted(keys) if after is None or key > after][: limit + 1]
        return Page[TeamStanding](
            items=tuple(keys[key] for key in rows[:limit]), next_cursor=_following(rows, limit)
        )

    async def read_ahead(self) -> tuple[Quotas, Use, _People]:
        """Return the limits, what is used (as of a minute ago at most), and who is in which team.

        Raises:
            Unavailable: the database does not answer, or the Hub never has.
        """
        return await self._all()

    async def prepare(self) -> None:
        """Read and rank everybody in advance; tries again until somebody answers."""
        while True:
            try:
                quotas, use, people = await self._all()
                await self._fractions(quotas, use, people, None)
            except ElementError as error:
                log.info("how people stand is read later: %s", error.message)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _all(self) -> tuple[Quotas, Use, _People]:
        people = await self._people()
        quotas, known = self._quotas(), self._read
        age = self._now() - known.use.now if known is not None else FRESH
        if known is None or known.quotas is not quotas or age > STALE:
            known = await asyncio.shield(self._refresh(quotas, people))
        elif age > FRESH:
            self._refresh(quotas, people)  # for whoever asks next
        return quotas, known.use, people

    def _refresh(self, quotas: Quotas, people: _People) -> asyncio.Task[_Read]:
        reading = self._reading
        if reading is None or reading.done() or self._reading_for is not quotas:
            self._reading = reading = asyncio.create_task(self._read_anew(quotas, people))
            self._reading_for = quotas
            reading.add_done_callback(_heard)
        return reading

    async def _read_anew(self, quotas: Quotas, people: _People) -> _Read:
        now = self._now()
        found = _Read(quotas, await self._use(beginnings([quotas], now), now))
        ranked = self._ranked
        if ranked is not None:
            await self._rank(quotas, found.use, people, ranked.teams)
        self._read = found
        return found

    async def _fractions(
        self, quotas: Quotas, use: Use, people: _People, teams: frozenset[Name] | None
    ) -> _Ranks:
        known = self._ranked
        same = known is not None and known.quotas is quotas and known.teams == teams
        if known is not None and same and use.now - known.use.now <= STALE:
            return known.rows
        return await self._rank(quotas, use, people, teams)

    async def _rank(
        self, quotas: Quotas, use: Use, people: _People, teams: frozenset[Name] | None
    ) -> _Ranks:
        def ranked() -> _Ranks:
            # who has used nothing lately need not be looked at
            found = [
                (-person_fraction(quotas, use, name, people.get(name, {}), only=teams), name)
                for name in use.teams_of
            ]
            found += [(0.0, name) for name in people if name not in use.teams_of]
            return sorted(found)

        rows = await asyncio.to_thread(ranked)
        self._ranked = _Ranked(quotas, use, teams, rows)
        return rows


def _heard(task: asyncio.Task[_Read]) -> None:
    if not task.cancelled() and isinstance(error := task.exception(), ElementError):
        log.info("how people stand is read later: %s", error.message)


def _concerns(levels: Levels, teams: frozenset[Name] | None) -> bool:
    return teams is None or not teams.isdisjoint(levels)


def _following(rows: list[tuple[float, str]], limit: int) -> str | None:
    return encode_cursor(*rows[limit - 1]) if len(rows) > limit else None
