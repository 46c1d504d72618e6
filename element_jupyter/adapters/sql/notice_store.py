"""Notices in PostgreSQL; safe for several control planes on one database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import activity, notices
from element_jupyter.core.care.notices import NoticeKind, Told

_MOST = 100
"""Notices of one person that are listed."""


class SqlNotices:
    """A `core.care.notices.NoticeStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def tell(self, told: Told) -> bool:
        """Write a notice down; False when it was."""
        row = told.model_dump()
        async with transaction(self._engine) as connection:
            written = insert(notices).values(row).on_conflict_do_nothing().returning(notices.c.id)
            return await connection.scalar(written) is not None

    async def of(self, person: str) -> list[Told]:
        """List what somebody has been told and is not over, the newest."""
        columns = notices.c
        wanted = select(notices).where(columns.person == person, columns.over_at.is_(None))
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.order_by(columns.at.desc()).limit(_MOST))
            return [_told(row) for row in rows]

    async def find(self, id_: str) -> Told | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(notices).where(notices.c.id == id_))).first()
        return _told(row) if row is not None else None

    async def keep(self, id_: str, until: datetime, at: datetime) -> bool:
        """Hold off what a notice is about, and end the notice; False when it was over."""
        columns = notices.c
        async with transaction(self._engine) as connection:
            about = await connection.scalar(
                update(notices)
                .where(columns.id == id_, columns.over_at.is_(None))
                .values(kept_until=until, over_at=at)
                .returning(columns.about)
            )
            if about is None:
                return False
            await connection.execute(
                update(activity)
                .where(activity.c.allocation_id == about)
                .values(kept_until=until, warned_at=None, deadline=None)
            )
        return True

    async def end(self, about: str, at: datetime, *kinds: str) -> None:
        """End the notices about something that is not so any more."""
        columns = notices.c
        which = [columns.kind.in_(kinds)] if kinds else []
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(notices)
                .where(columns.about == about, columns.over_at.is_(None), *which)
                .values(over_at=at)
            )

    async def open(self, *kinds: NoticeKind) -> list[Told]:
        """List what anybody has been told of these kinds and is not over."""
        columns = notices.c
        wanted = select(notices).where(columns.over_at.is_(None), columns.kind.in_(kinds))
        async with reading(self._engine) as connection:
            return [_told(row) for row in await connection.execute(wanted)]

    async def close(self, ids: Collection[str], at: datetime) -> None:
        """End notices that are not so any more."""
        if ids:
            async with transaction(self._engine) as connection:
                await connection.execute(
                    update(notices)
                    .where(notices.c.id.in_(ids), notices.c.over_at.is_(None))
                    .values(over_at=at)
                )

    async def forget(self, before: datetime) -> None:
        """Remove what was over before a moment, and what nobody was to do anything about."""
        columns = notices.c
        async with transaction(self._engine) as connection:
            await connection.execute(
                delete(notices).where(
                    columns.at < before,
                    or_(columns.over_at.is_not(None), columns.deadline.is_(None)),
                )
            )


def _told(row: Any) -> Told:
    return Told.model_validate(row._asdict())
