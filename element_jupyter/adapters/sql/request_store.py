"""Requests for more quota in PostgreSQL, each decided once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, false, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.policy_store import add
from element_jupyter.adapters.sql.schema import quota_requests
from element_jupyter.core.quotas.policies import QuotasVersion
from element_jupyter.core.quotas.requests import QuotaRequest, RequestState, Wanted


class SqlQuotaRequests:
    """The requests of all."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ask(self, person: str, wanted: Wanted, at: datetime) -> QuotaRequest:
        """Write down a request.

        Raises:
            Unavailable: the database does not answer; whether it was written is not known.
        """
        row = wanted.model_dump(mode="python") | {
            "person": person,
            "at": at,
            "state": RequestState.OPEN,
            "answer": "",
        }
        async with transaction(self._engine) as connection:
            added = await connection.execute(
                insert(quota_requests).values(row).returning(quota_requests)
            )
            return _request(added.one())

    async def count_open(self, person: str) -> int:
        columns = quota_requests.c
        wanted = columns.person == person, columns.state == RequestState.OPEN
        async with reading(self._engine) as connection:
            found = await connection.scalar(
                select(func.count()).select_from(quota_requests).where(*wanted)
            )
            return int(found or 0)

    async def get(self, id_: int) -> QuotaRequest | None:
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(quota_requests).where(quota_requests.c.id == id_)
            )
            row = rows.first()
        return None if row is None else _request(row)

    async def page(
        self,
        *,
        limit: int,
        before: int | None,
        state: RequestState | None,
        person: str | None,
        teams: Collection[str] | None,
    ) -> list[QuotaRequest]:
        """List requests, the newest first: of a person, or for teams; of everybody without both."""
        columns = quota_requests.c
        wanted: list[Any] = []
        if person is not None or teams is not None:
            of_person = columns.person == person if person is not None else false()
            wanted.append(or_(of_person, columns.team.in_(sorted(teams or ()))))
        if state is not None:
            wanted.append(columns.state == state)
        if before is not None:
            wanted.append(columns.id < before)
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(quota_requests).where(*wanted).order_by(columns.id.desc()).limit(limit)
            )
            return [_request(row) for row in rows]

    async def decide(
        self,
        id_: int,
        state: RequestState,
        *,
        by: str,
        at: datetime,
        answer: str,
        granted_to: str | None = None,
        version: QuotasVersion | None = None,
    ) -> bool:
        """Write down a decision together with the version it makes; False: it was decided before.

        Raises:
            Conflict: there is a version of its number already; nothing was written.
            Unavailable: the database does not answer; whether it was written is not known.
        """
        columns = quota_requests.c
        async with transaction(self._engine) as connection:
            was = await connection.scalar(
                select(columns.state).where(columns.id == id_).with_for_update()
            )
            if was != RequestState.OPEN:
                return False
            if version is not None:
                await add(connection, version)
            await connection.execute(
                update(quota_requests)
                .where(columns.id == id_)
                .values(
                    state=state,
                    decided_by=by,
                    decided_at=at,
                    answer=answer,
                    granted_to=granted_to,
                    version=version.number if version else None,
                )
            )
        return True


def _request(row: Row[Any]) -> QuotaRequest:
    found = QuotaRequest.model_validate(row._asdict())
    return found.model_copy(update={"sentence": f"{found.person} asks for {found.words}."})
