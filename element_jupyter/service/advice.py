"""What could be saved: asked of the allocations and the jobs, worked out beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from element_jupyter.core.jobs import Job, StoredJob
from element_jupyter.core.resources.advice import LOOKED_AT
from element_jupyter.core.resources.savings import Price, Savings, Started, savings
from element_jupyter.core.sizes import Sizes


class StartedStore(Protocol):
    """See `adapters.sql.started_store`."""

    async def started(
        self, now: datetime, looked_at: int, *, person: str | None, team: str | None
    ) -> Iterator[Started]: ...


class JobList(Protocol):
    """All jobs that there are."""

    def stored(self) -> Sequence[StoredJob]: ...


class Adviser:
    """Knows the sizes, what an hour of each costs, and the jobs."""

    def __init__(
        self,
        store: StartedStore,
        sizes: Callable[[], Sizes],
        jobs: JobList,
        now: Callable[[], datetime],
        price: Price = lambda size, _team: size.price_per_hour,
    ) -> None:
        self._store = store
        self._sizes = sizes
        self._jobs = jobs
        self._now = now
        self._price = price

    async def savings(self, *, person: str | None, team: str | None, limit: int) -> Savings:
        """Return the `limit` largest savings of a person, of a team, of all with neither.

        Raises:
            Unavailable: the database does not answer.
        """
        started = await self._store.started(self._now(), LOOKED_AT, person=person, team=team)
        sizes = self._sizes()

        def work() -> Savings:
            jobs = [each.job for each in self._jobs.stored() if _is_of(each.job, person, team)]
            return savings(sizes, self._price, started, jobs, limit)

        return await asyncio.to_thread(work)


def _is_of(job: Job, person: str | None, team: str | None) -> bool:
    return (person is None or job.owner == person) and (team is None or job.team == team)
