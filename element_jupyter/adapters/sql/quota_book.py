"""What is in use and used up, read under locks, and what is given on top of it.

A `Book` is good for one transaction. Whoever may not have more than so much at once has a lock of
the database, and so has a team; all that a transaction needs are taken in one order, before what
is in use is read. So two at once never see the same room, and never wait for one another for ever.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from element_jupyter.adapters.sql.schema import activity, allocations
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind, Claim
from element_jupyter.core.quotas.checking import (
    Amounts,
    Refusal,
    Used,
    budget_frees_at,
    refused_now,
)
from element_jupyter.core.quotas.rules import Bound, Kind, Resource, Scope
from element_jupyter.core.quotas.windows import window
from element_jupyter.core.storage import Place, in_places

_PIECES: Final = 20_000
"""Allocations that are looked at to say when a budget frees."""
_LOCK: Final = text(
    "SELECT count(pg_advisory_xact_lock(lock)) FROM unnest(CAST(:locks AS bigint[])) AS lock"
)
_IN_USE: Final = text(
    "SELECT person, team, kind, count(*), sum(cpu), sum(memory_bytes), sum(gpu) FROM allocations"
    " WHERE ended_at IS NULL"
    " AND (person = ANY(CAST(:persons AS text[])) OR team = ANY(CAST(:teams AS text[])))"
    " GROUP BY person, team, kind"
)
_KNOWN: Final = text("SELECT id FROM allocations WHERE id = ANY(CAST(:ids AS text[]))")
_WRITE: Final = text(
    "INSERT INTO allocations"
    " SELECT * FROM json_populate_recordset(NULL::allocations, CAST(:rows AS json))"
    " ON CONFLICT DO NOTHING"
)
_KEPT: Final = text(
    "SELECT person, team, place, used_bytes FROM storage"
    " WHERE person = ANY(CAST(:persons AS text[])) OR team = ANY(CAST(:teams AS text[]))"
)
_ROWS: Final = TypeAdapter(list[Allocation])
_REPLACED: Final = text(
    "UPDATE allocations SET ended_at = greatest(begun_at, now()), ended_how = 'replaced'"
    " FROM unnest(CAST(:ids AS text[]), CAST(:persons AS text[]), CAST(:servers AS text[]))"
    " AS new(id, person, server)"
    " WHERE allocations.ended_at IS NULL AND allocations.kind <> 'run'"
    " AND allocations.person = new.person AND allocations.server = new.server"
    " AND allocations.id <> new.id"
)


# a subquery for each window, which the indexes answer however many rows there are
_SPENT_BY: Final = (
    "SELECT asked.number, used.* FROM unnest(CAST(:persons AS text[]), CAST(:teams AS text[]),"
    " CAST(:since AS timestamptz[])) WITH ORDINALITY AS asked(person, team, since, number)"
    " CROSS JOIN LATERAL (SELECT coalesce(sum(hours * cpu), 0),"
    " coalesce(sum(hours * memory_bytes) / 1073741824, 0), coalesce(sum(hours * gpu), 0),"
    " coalesce(sum(hours * price_per_hour::float8), 0)"
    " FROM (SELECT a.*, greatest(0, extract(epoch FROM least(coalesce(a.ended_at, :now), :now)"
    " - greatest(a.begun_at, asked.since)))::float8 / 3600 AS hours"
    " FROM allocations a WHERE WHOSE AND (a.ended_at IS NULL OR a.ended_at > asked.since))"
    " AS held) AS used"
)
_SPENT: Final = {
    shape: text(_SPENT_BY.replace("WHOSE", whose))
    for shape, whose in {
        (True, False): "a.person = asked.person",
        (False, True): "a.team = asked.team",
        (True, True): "a.person = asked.person AND a.team = asked.team",
    }.items()
}
_SUMS: Final = (Resource.CPU_HOURS, Resource.GIB_HOURS, Resource.GPU_HOURS, Resource.MONEY)

_Budget = tuple[Scope, datetime]


@dataclass
class Book:
    """What the claims of one transaction are measured by."""

    now: datetime
    _in_use: dict[Scope, Amounts] = field(default_factory=lambda: defaultdict(Amounts))
    _spent: dict[_Budget, tuple[float, ...]] = field(default_factory=dict)
    _kept: dict[Scope, Counter[Place]] = field(default_factory=lambda: defaultdict(Counter))
    _known: set[str] = field(default_factory=set)
    _given: list[Allocation] = field(default_factory=list)

    @classmethod
    async def opened(
        cls, connection: AsyncConnection, claims: Sequence[Claim], now: datetime, *, locked: bool
    ) -> Book:
        """Read what counts for the claims; `locked` until the transaction ends."""
        book = cls(now)
        bounds = {bound for claim in claims for bound in claim.bounds}
        budgets = {
            (bound.scope, _since(bound, now)) for bound in bounds if bound.limit.kind is Kind.BUDGET
        }
        # time alone uses up a budget, so no lock is needed to read it
        await book._read_spent(connection, sorted(budgets, key=str))
        if not locked or any(claim.allocation.kind is AllocationKind.RUN for claim in claims):
            stored = {bound.scope for bound in bounds if bound.limit.kind is Kind.STORAGE}
            await book._read_kept(connection, stored)
        scopes = {bound.scope for bound in bounds if bound.limit.kind is Kind.AT_ONCE}
        if locked:
            await book._lock(connection, scopes)
            await book._replace(connection, claims)
        await book._read_in_use(connection, scopes)
        if locked:
            ids = [claim.allocation.id for claim in claims]
            book._known = set(await connection.scalars(_KNOWN, {"ids": ids}))
        return book

    async def _lock(self, connection: AsyncConnection, scopes: Iterable[Scope]) -> None:
        names = {
            f"person {scope.person}" if scope.person is not None else f"team {scope.team}"
            for scope in scopes
        }
        if names:
            await connection.execute(_LOCK, {"locks": sorted(map(_number, names))})

    async def _replace(self, connection: AsyncConnection, claims: Sequence[Claim]) -> None:
        """Close what an earlier server of the same name had: the Hub starts one at a time."""
        servers = [c.allocation for c in claims if c.allocation.kind is not AllocationKind.RUN]
        if servers:
            values = {
                "ids": [each.id for each in servers],
                "persons": [each.person for each in servers],
                "servers": [each.server for each in servers],
            }
            await connection.execute(_REPLACED, values)

    async def _read_in_use(self, connection: AsyncConnection, scopes: set[Scope]) -> None:
        persons = sorted({scope.person for scope in scopes if scope.person is not None})
        teams = sorted({str(scope.team) for scope in scopes if scope.person is None})
        if not scopes:
            return
        found = await connection.execute(_IN_USE, {"persons": persons, "teams": teams})
        for person, team, kind, count, cpu, memory_bytes, gpu in found:
            run = kind == AllocationKind.RUN
            amounts = Amounts(cpu, int(memory_bytes), int(gpu), 0 if run else count, count * run)
            self._add(person, team, amounts)

    def _add(self, person: str, team: str, amounts: Amounts) -> None:
        for scope in (Scope(person), Scope(team=team), Scope(person, team)):
            self._in_use[scope] = self._in_use[scope].plus(amounts)

    async def _read_spent(self, connection: AsyncConnection, budgets: Sequence[_Budget]) -> None:
        by_shape: dict[tuple[bool, bool], list[_Budget]] = defaultdict(list)
        for scope, since in budgets:
            by_shape[scope.person is not None, scope.team is not None].append((scope, since))
        for shape, asked in by_shape.items():
            values = {
                "persons": [scope.person for scope, _ in asked],
                "teams": [scope.team for scope, _ in asked],
                "since": [since for _, since in asked],
                "now": self.now,
            }
            for number, *sums in await connection.execute(_SPENT[shape], values):
                self._spent[asked[number - 1]] = tuple(map(float, sums))

    async def _read_kept(self, connection: AsyncConnection, scopes: set[Scope]) -> None:
        if not scopes:
            return
        persons = sorted({scope.person for scope in scopes if scope.person is not None})
        teams = sorted({str(scope.team) for scope in scopes if scope.person is None})
        rows = await connection.execute(_KEPT, {"persons": persons, "teams": teams})
        for person, team, place, used_bytes in rows:
            for scope in {Scope(person), Scope(team=team), Scope(person, team)} & scopes:
                self._kept[scope][Place(place)] += used_bytes

    def kept(self, scope: Scope) -> tuple[float, str]:
        """Return how many bytes are kept, as they were last measured, and where."""
        places = self._kept[scope]
        return float(places.total()), in_places(places)

    def in_use(self, scope: Scope) -> Amounts:
        """Return what runs now, with what this book has given."""
        return self._in_use[scope]

    def spent(self, bound: Bound) -> float:
        """Return how much of a budget is used up."""
        sums = self._spent[bound.scope, _since(bound, self.now)]
        return sums[_SUMS.index(bound.limit.resource)]

    def take(self, claim: Claim) -> Refusal | None:
        """Give what is claimed, or return why not; what was given already is given."""
        allocation = claim.allocation
        if allocation.id in self._known:
            return None
        refusal = refused_now(claim.bounds, allocation.wanted, self.in_use, self.spent, self.kept)
        if refusal is None:
            self.give(allocation)
        return refusal

    def give(self, allocation: Allocation) -> None:
        """Give without a question what has begun already."""
        if allocation.id not in self._known:
            self._known.add(allocation.id)
            self._given.append(allocation)
            self._add(allocation.person, allocation.team, allocation.wanted)

    async def write(self, connection: AsyncConnection) -> None:
        """Write down what was given."""
        if self._given:
            rows = _ROWS.dump_json(self._given).decode()
            await connection.execute(_WRITE, {"rows": rows})


async def close(
    connection: AsyncConnection, id_: str, ended_at: datetime, how: str, **used: float | None
) -> bool:
    """Write down an end; False when it was written already, or nothing is known of it."""
    columns = allocations.c
    values: dict[str, Any] = {name: value for name, value in used.items() if value is not None}
    ending = activity.c.ending
    told = select(ending).where(activity.c.allocation_id == id_, ending != "").scalar_subquery()
    closed = await connection.execute(
        update(allocations)
        .where(columns.id == id_, columns.ended_at.is_(None))
        .values(
            ended_at=func.greatest(columns.begun_at, ended_at),
            # why the platform has stopped it says more than how its process ended
            ended_how=func.coalesce(told, how[:500]),
            **values,
        )
    )
    return bool(closed.rowcount)


async def with_time(connection: AsyncConnection, refusal: Refusal, now: datetime) -> Refusal:
    """Add to a refusal by a budget when it frees."""
    bound = refusal.bound
    if bound.limit.kind is not Kind.BUDGET or refusal.never:
        return refusal
    frees_at = await frees(connection, bound, now)
    return Refusal(bound, refusal.used, refusal.wanted, frees_at)


async def frees(connection: AsyncConnection, bound: Bound, now: datetime) -> datetime | None:
    """Return when a budget that is used up has room again."""
    columns, scope = allocations.c, bound.scope
    wanted: list[ColumnElement[bool]] = [
        (columns.ended_at.is_(None)) | (columns.ended_at > _since(bound, now))
    ]
    if scope.person is not None:
        wanted.append(columns.person == scope.person)
    if scope.team is not None:
        wanted.append(columns.team == scope.team)
    per_hour = {
        Resource.CPU_HOURS: columns.cpu,
        Resource.GIB_HOURS: columns.memory_bytes / float(1 << 30),
        Resource.GPU_HOURS: columns.gpu,
        Resource.MONEY: columns.price_per_hour,
    }[bound.limit.resource]
    rows = await connection.execute(
        select(columns.begun_at, columns.ended_at, per_hour)
        .where(*wanted)
        .order_by(columns.begun_at.desc())
        .limit(_PIECES)
    )
    used = [Used(begun, ended or now, float(rate or 0)) for begun, ended, rate in rows]
    return budget_frees_at(bound, used, now)


def _since(bound: Bound, now: datetime) -> datetime:
    limit = bound.limit
    return window(limit.per or "1 day", limit.zone, now).since


def _number(name: str) -> int:
    digest = hashlib.blake2b(f"quota of {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
