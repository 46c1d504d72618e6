"""What is started again and again, and what it used the last times, from the allocations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import transaction
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.resources.savings import MONTH, Session, Started

_STARTED: Final = r"""
WITH used AS (
    SELECT kind, team, coalesce(job, person) AS whose, coalesce(notebook, '') AS notebook, size,
        bool_or(job IS NOT NULL) AS of_job, max(begun_at) AS last,
        sum(extract(epoch FROM least(coalesce(ended_at, :now), :now) - greatest(begun_at, :since))
            ::float8) / 3600 AS hours
    FROM allocations
    WHERE (ended_at > :since OR ended_at IS NULL) AND SCOPE
    GROUP BY 1, 2, 3, 4, 5
), latest AS (
    SELECT DISTINCT ON (kind, team, whose, notebook) * FROM used
    ORDER BY kind, team, whose, notebook, last DESC
)
-- one text: what the database answers is taken in on the loop, and read beside it
SELECT string_agg(json_build_array(
    latest.kind, team, whose, notebook, of_job, latest.size, hours, sessions)::text, E'\n')
FROM latest CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(extract(epoch FROM ended_at), seconds, peak_memory_bytes,
        memory_bytes, cpu_seconds / nullif(seconds, 0), gpu_seconds / nullif(seconds * gpu, 0),
        killed)) AS sessions
    FROM (
        SELECT a.*, extract(epoch FROM ended_at - begun_at)::float8 AS seconds,
            CASE WHEN a.kind <> 'run' THEN ended_how = 'out of memory'
                WHEN ended_how = 'succeeded' THEN false
                ELSE (SELECT r.out_of_memory FROM runs r WHERE r.run_id = a.run_id) END AS killed
        FROM allocations a
        WHERE a.team = latest.team AND a.kind = latest.kind
            AND coalesce(a.job, a.person) = latest.whose
            AND coalesce(a.notebook, '') = latest.notebook
            AND a.ended_at IS NOT NULL AND a.peak_memory_bytes IS NOT NULL
            AND (a.kind <> 'run' OR ended_how = 'succeeded'
                OR (SELECT r.state = 'succeeded' OR r.out_of_memory
                    FROM runs r WHERE r.run_id = a.run_id))
        ORDER BY a.ended_at DESC LIMIT :looked_at
    ) AS last_times
) AS shown
"""
_SCOPES: Final = {
    (False, False): "true",
    (True, False): "person = :person",
    (False, True): "team = :team",
    (True, True): "person = :person AND team = :team",
}


class SqlStarted:
    """Reads allocations of any number: what has not been started for a month is left out."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def started(
        self, now: datetime, looked_at: int, *, person: str | None, team: str | None
    ) -> Iterator[Started]:
        """Yield what was started within the last month; None: by anybody, for any team.

        What it used is of its last `looked_at` times, however long ago they were. It is read as it
        is asked for, by whichever thread: so many values are not to be held at once.
        """
        scope = _SCOPES[person is not None, team is not None]
        given = {"person": person, "team": team}
        values = {
            "now": now,
            "since": now - MONTH,
            "looked_at": looked_at,
            **{name: value for name, value in given.items() if value is not None},
        }
        async with transaction(self._engine) as connection:
            # compiling such a statement to machine code takes longer than reading does
            await connection.execute(text("SET LOCAL jit = off"))
            statement = text(_STARTED.replace("SCOPE", scope))
            found: str | None = await connection.scalar(statement, values)
        lines = found.split("\n") if found else []
        return (_started(*json.loads(line)) for line in lines)


def _started(  # noqa: PLR0917 - as the columns come
    kind: str,
    team: str,
    whose: str,
    notebook: str,
    of_job: bool,  # noqa: FBT001 - as above
    size: str,
    hours: float,
    sessions: list[list[Any]] | None,
) -> Started:
    return Started(
        kind=AllocationKind(kind),
        team=team,
        person="" if of_job else whose,
        job=whose if of_job else "",
        notebook=notebook,
        size=size,
        hours=hours,
        sessions=[Session(datetime.fromtimestamp(at, UTC), *rest) for at, *rest in sessions or ()],
    )
