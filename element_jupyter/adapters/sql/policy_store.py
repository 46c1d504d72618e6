"""Versions of the quotas in PostgreSQL: rows that are added, numbered one after the other."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import quota_versions
from element_jupyter.core.errors import Conflict
from element_jupyter.core.quotas.policies import PastVersion, QuotasVersion, plain


class SqlPolicies:
    """The versions; several processes may add to them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last_number(self) -> int:
        """Return the number of the newest version; 0: there is none."""
        async with reading(self._engine) as connection:
            return int(await connection.scalar(select(func.max(quota_versions.c.number))) or 0)

    async def version(self, number: int) -> QuotasVersion | None:
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(quota_versions).where(quota_versions.c.number == number)
            )
            row = rows.first()
        return None if row is None else QuotasVersion.model_validate(row._asdict())

    async def add(self, version: QuotasVersion) -> None:
        """Add the version that follows the newest.

        Raises:
            Conflict: there is one of its number already.
            Unavailable: the database does not answer; whether it was written is not known.
        """
        async with transaction(self._engine) as connection:
            await add(connection, version)

    async def history(self, *, before: int | None, limit: int) -> list[PastVersion]:
        """List versions, the newest first."""
        columns = quota_versions.c
        wanted = select(
            columns.number.label("version"),
            columns.by,
            columns.at,
            columns.origin.label("source"),
            columns.reason,
            columns.changes,
        )
        if before is not None:
            wanted = wanted.where(columns.number < before)
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.order_by(columns.number.desc()).limit(limit))
            return [PastVersion.model_validate(row._asdict()) for row in rows]


async def add(connection: AsyncConnection, version: QuotasVersion) -> None:
    """Add a version in a transaction; raises Conflict when its number is taken."""
    row: dict[str, Any] = version.model_dump(exclude={"document"})
    row |= {"document": plain(version.document), "changes": list(version.changes)}
    adding = insert(quota_versions).values(row).on_conflict_do_nothing()
    if await connection.scalar(adding.returning(quota_versions.c.number)) is None:
        raise Conflict(f"There is a version {version.number} of the quotas already.")
