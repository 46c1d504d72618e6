"""Who has uploaded which blob, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading
from element_jupyter.adapters.sql.schema import runs, uploads

_TOUCHED_EVERY = timedelta(days=1)


class SqlUploads:
    """Rows of a person and a digest; one that nobody has asked for lately is forgotten."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, person: str, digest: str) -> None:
        """Note that somebody has sent a blob, and so has what is in it."""
        row = insert(uploads).values(
            person=person, digest=bytes.fromhex(digest), at=datetime.now(UTC)
        )
        async with reading(self._engine) as connection:
            await connection.execute(
                row.on_conflict_do_update(
                    index_elements=[uploads.c.person, uploads.c.digest],
                    set_={"at": row.excluded.at},
                )
            )

    async def held(self, person: str, digests: Collection[str]) -> set[str]:
        """Return those that the person has sent; they are remembered for longer, then."""
        now = datetime.now(UTC)
        wanted = uploads.c.digest == func.any([bytes.fromhex(digest) for digest in digests])
        theirs = (uploads.c.person == person) & wanted
        async with reading(self._engine) as connection:
            rows = await connection.scalars(select(uploads.c.digest).where(theirs))
            found = {row.hex() for row in rows}
            if found:
                old = uploads.c.at < now - _TOUCHED_EVERY
                await connection.execute(update(uploads).where(theirs, old).values(at=now))
        return found

    async def forget(self, before: datetime) -> None:
        """Remove what nobody has asked for since."""
        async with reading(self._engine) as connection:
            await connection.execute(delete(uploads).where(uploads.c.at < before))

    async def is_of_a_run(self, snapshot_id: str, teams: Collection[str]) -> bool:
        """Tell whether a run of one of these teams has executed this snapshot."""
        wanted = select(runs.c.run_id).where(
            runs.c.snapshot_id == snapshot_id, runs.c.team.in_(sorted(teams))
        )
        async with reading(self._engine) as connection:
            return await connection.scalar(wanted.limit(1)) is not None
