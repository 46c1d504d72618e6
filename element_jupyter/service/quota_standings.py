"""How people and teams stand towards their limits, page by page, for thousands of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

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

FRESH: Final = timedelta(seconds=5)
"""How long sums count that were read; the limits themselves are always those of now."""
Sort = Literal["name", "used"]
_People = Mapping[str, Levels]
_Ranked = list[tuple[float, str]]


class QuotaStandings:
    """Reads what is used once for all who ask within a few seconds."""

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
        self._read: tuple[Quotas, Use] | None = None
        self._ranked: tuple[Quotas, Use, _People, frozenset[Name] | None, _Ranked] | None = None
        self._one_at_a_time = asyncio.Lock()

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

    async def _all(self) -> tuple[Quotas, Use, _People]:
        people = await self._people()
        async with self._one_at_a_time:
            quotas, now = self._quotas(), self._now()
            known = self._read
            if known is None or known[0] is not quotas or now - known[1].now > FRESH:
                known = self._read = (quotas, await self._use(beginnings([quotas], now), now))
        return quotas, known[1], people

    async def _fractions(
        self, quotas: Quotas, use: Use, people: _People, teams: frozenset[Name] | None
    ) -> _Ranked:
        known = self._ranked
        if known is not None and known[1] is use and known[2] is people and known[3] == teams:
            return known[4]

        def ranked() -> _Ranked:
            # who has used nothing lately need not be looked at
            found = [
                (-person_fraction(quotas, use, name, people.get(name, {}), only=teams), name)
                for name in use.teams_of
            ]
            found += [(0.0, name) for name in people if name not in use.teams_of]
            return sorted(found)

        rows = await asyncio.to_thread(ranked)
        self._ranked = (quotas, use, people, teams, rows)
        return rows


def _concerns(levels: Levels, teams: frozenset[Name] | None) -> bool:
    return teams is None or not teams.isdisjoint(levels)


def _following(rows: list[tuple[float, str]], limit: int) -> str | None:
    return encode_cursor(*rows[limit - 1]) if len(rows) > limit else None
