"""Allocations in PostgreSQL: reserved, released, listed and added up.

Reservations that come while one is being written are written together by the next transaction, so
that a thousand at once wait for a handful of commits and not for one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.quota_book import Book, close, frees, with_time
from element_jupyter.adapters.sql.schema import allocations
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind, Claim, Ended
from element_jupyter.core.quotas.checking import Refusal, refused_now
from element_jupyter.core.quotas.rules import Bound, Kind
from element_jupyter.core.quotas.standing import Standing

_TOGETHER: Final = 250
"""Reservations in one transaction."""


@dataclass(frozen=True, slots=True)
class _Asked:
    claim: Claim
    begun: bool
    answer: asyncio.Future[Refusal | None]


class SqlAllocations:
    """The allocations of all; safe for several control planes on one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._asked: list[_Asked] = []
        self._writing: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------------------- reserving

    async def reserve(self, claim: Claim, *, begun: bool = False) -> Refusal | None:
        """Check and write down an allocation in one step; None: it is there, or was already.

        What has `begun` is written down without being asked. Raises:
            Unavailable: the database does not answer; whether it was written is not known.
        """
        answer: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(claim, begun, answer))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        while self._asked:
            asked, self._asked = self._asked[:_TOGETHER], self._asked[_TOGETHER:]
            try:
                refusals = await self._decide(asked)
            except Exception as error:  # noqa: BLE001 - told to everybody who asked
                for each in asked:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            for each, refusal in zip(asked, refusals, strict=True):
                if not each.answer.done():
                    each.answer.set_result(refusal)

    async def _decide(self, asked: Sequence[_Asked]) -> list[Refusal | None]:
        now = datetime.now(UTC)
        refusals: list[Refusal | None] = []
        async with transaction(self._engine) as connection:
            book = await Book.opened(connection, [each.claim for each in asked], now, locked=True)
            for each in asked:
                if each.begun:
                    book.give(each.claim.allocation)
                refusals.append(None if each.begun else book.take(each.claim))
            await book.write(connection)
        return await self._with_times(refusals, now)

    async def _with_times(
        self, refusals: Sequence[Refusal | None], now: datetime
    ) -> list[Refusal | None]:
        budgets = {each.bound for each in refusals if each and each.bound.limit.kind is Kind.BUDGET}
        if not budgets:
            return list(refusals)
        async with reading(self._engine) as connection:
            told = {
                each: await with_time(connection, each, now)
                for each in {each for each in refusals if each is not None}
            }
        return [None if each is None else told[each] for each in refusals]

    async def release(self, id_: str, ended: Ended) -> bool:
        """Write down the end of an allocation; False when it was known, or nothing is known of it.

        What was used may be counted after the end was written, and only ever rises.
        """
        spent = ended.spent
        used = {"cpu_seconds": spent.cpu_seconds, "peak_memory_bytes": spent.peak_memory_bytes}
        async with transaction(self._engine) as connection:
            if await close(connection, id_, ended.ended_at, ended.how, **used):
                return True
            columns = allocations.c
            counted = {
                name: func.greatest(columns[name], value)
                for name, value in used.items()
                if value is not None
            }
            if counted:
                await connection.execute(
                    update(allocations).where(columns.id == id_).values(counted)
                )
        return False

    # ------------------------------------------------------------------------------ reading

    async def standing(self, claim: Claim) -> tuple[tuple[Standing, ...], Refusal | None]:
        """Return how much of each limit is used, and why something would not fit now."""
        now = datetime.now(UTC)
        async with reading(self._engine) as connection:
            book = await Book.opened(connection, [claim], now, locked=False)

            async def stands(bound: Bound) -> Standing:
                limit = bound.limit
                if limit.kind is Kind.AT_ONCE:
                    return Standing(bound, book.in_use(bound.scope).of(limit.resource))
                if limit.kind is Kind.STORAGE:
                    return Standing(bound, book.kept(bound.scope)[0])
                if limit.kind is not Kind.BUDGET:
                    return Standing(bound, None)
                used = book.spent(bound)
                full = used >= (limit.amount or 0)
                return Standing(bound, used, await frees(connection, bound, now) if full else None)

            found = tuple([await stands(bound) for bound in claim.bounds])
            refusal = refused_now(
                claim.bounds, claim.allocation.wanted, book.in_use, book.spent, book.kept
            )
            if refusal is not None:
                refusal = await with_time(connection, refusal, now)
        return found, refusal

    async def open_servers(self, begun_before: datetime) -> list[Allocation]:
        """List what the Hub's servers have, of those that began before a moment; no runs."""
        columns = allocations.c
        wanted = columns.kind != AllocationKind.RUN, columns.begun_at < begun_before
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(allocations).where(columns.ended_at.is_(None), *wanted)
            )
            return [_allocation(row) for row in rows]

    async def page(
        self,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
        teams: Collection[str] | None = None,
        person: str | None = None,
        still_open: bool | None = None,
    ) -> list[Allocation]:
        """List allocations, newest first; None filters nothing."""
        columns = allocations.c
        wanted: list[Any] = []
        if teams is not None:
            wanted.append(columns.team.in_(sorted(teams)))
        if person is not None:
            wanted.append(columns.person == person)
        if still_open is not None:
            wanted.append(columns.ended_at.is_(None) == still_open)
        if after is not None:
            wanted.append(tuple_(columns.begun_at, columns.id) < tuple_(*after))
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(allocations)
                .where(*wanted)
                .order_by(columns.begun_at.desc(), columns.id.desc())
                .limit(limit)
            )
            return [_allocation(row) for row in rows]


def _allocation(row: Any) -> Allocation:
    return Allocation.model_validate(row._asdict())
