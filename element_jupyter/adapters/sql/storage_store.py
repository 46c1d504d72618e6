"""What is kept, in PostgreSQL: written as it is measured, and added up by whose it is."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import runs, storage
from element_jupyter.core.storage import Holding, Measured, Place

_PUT: Final = """
INSERT INTO storage (place, person, team, used_bytes, files, measured_at)
SELECT WHOSE, sum(found.used_bytes)::bigint, sum(found.files)::bigint,
    CAST(:at AS timestamptz)
FROM json_to_recordset(CAST(:found AS json)) AS
    found(place text, person text, team text, run_id text, used_bytes bigint, files bigint)
FROM_RUNS GROUP BY 1, 2, 3
ON CONFLICT (place, person, team) DO UPDATE SET measured_at = excluded.measured_at,
    used_bytes = excluded.used_bytes
        + CASE WHEN storage.measured_at = excluded.measured_at THEN storage.used_bytes ELSE 0 END,
    files = excluded.files
        + CASE WHEN storage.measured_at = excluded.measured_at THEN storage.files ELSE 0 END
"""
# what one measurement tells in several parts adds up; the next one begins anew
_KEPT: Final = text(
    _PUT.replace(
        "WHOSE", "found.place, coalesce(found.person, ''), coalesce(found.team, '')"
    ).replace("FROM_RUNS", "")
)
_RUNS: Final = text(
    _PUT.replace("WHOSE", "'runs', runs.owner, runs.team").replace(
        "FROM_RUNS", "JOIN runs ON runs.run_id = found.run_id"
    )
)
_HELD: Final = (
    "SELECT {whose}, place, sum(used_bytes)::bigint, min(measured_at) FROM storage"
    " WHERE {whose} <> '' AND {wanted} GROUP BY 1, 2"
)


class SqlStorage:
    """What people and teams keep; safe for several control planes on one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, measured: Measured) -> None:
        """Write down a part of a measurement; with its end, what it has not found is gone."""
        at = measured.began_at
        async with transaction(self._engine) as connection:
            for statement, found in ((_KEPT, measured.kept), (_RUNS, measured.runs)):
                if found:
                    rows = json.dumps([each.model_dump(mode="json") for each in found])
                    await connection.execute(statement, {"found": rows, "at": at})
            if measured.ended:
                await _forget(connection, measured)

    async def measured_at(self) -> datetime | None:
        """Return when everybody's was last measured to the end."""
        columns = storage.c
        async with reading(self._engine) as connection:
            found: datetime | None = await connection.scalar(
                select(columns.measured_at).where(columns.place == Place.SHARED)
            )
            return found

    async def shared_bytes(self) -> int:
        columns = storage.c
        async with reading(self._engine) as connection:
            found = await connection.scalar(
                select(columns.used_bytes).where(columns.place == Place.SHARED)
            )
            return int(found or 0)

    async def of_persons(
        self, *, person: str | None = None, team: str | None = None
    ) -> list[Holding]:
        """Add up what each person keeps; of one, and for one team, where it is named."""
        return await self._held("person", person=person, team=team)

    async def of_teams(self, teams: Collection[str] | None) -> list[Holding]:
        """Add up what each team keeps, with what its people keep for it; None: of all."""
        return await self._held("team", teams=None if teams is None else sorted(teams))

    async def _held(self, whose: str, **given: Any) -> list[Holding]:
        wanted = {
            "person": "person = :person",
            "team": "team = :team",
            "teams": "team = ANY(CAST(:teams AS text[]))",
        }
        values = {name: value for name, value in given.items() if value is not None}
        said = " AND ".join(["true", *(wanted[name] for name in values)])
        statement = text(_HELD.format(whose=whose, wanted=said))
        found: dict[str, tuple[dict[Place, int], datetime]] = {}
        async with reading(self._engine) as connection:
            for name, place, used, at in await connection.execute(statement, values):
                places, since = found.setdefault(name, ({}, at))
                places[Place(place)] = used
                found[name] = places, min(since, at)
        return [
            Holding(
                person=name if whose == "person" else None,
                team=name if whose == "team" else None,
                places=places,
                measured_at=at,
            )
            for name, (places, at) in found.items()
        ]

    async def runs_of(self, persons: Sequence[str], teams: Sequence[str]) -> list[str]:
        """List the runs of some people, and those for some teams."""
        async with reading(self._engine) as connection:
            found = await connection.scalars(
                select(runs.c.run_id).where(or_(runs.c.owner.in_(persons), runs.c.team.in_(teams)))
            )
            return list(found)


async def _forget(connection: AsyncConnection, measured: Measured) -> None:
    columns = storage.c
    whose = or_(
        and_(columns.person != "", columns.person.in_(measured.persons)),
        and_(columns.team != "", columns.team.in_(measured.teams)),
    )
    old = columns.measured_at < measured.began_at
    await connection.execute(delete(storage).where(old, *([] if measured.whole else [whose])))
