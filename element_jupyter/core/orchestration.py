"""Who says when jobs run: what the control plane asks of a scheduler such as Airflow."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class Orchestrator(Protocol):
    """Runs jobs as DAGs, named by `Job.dag_id`."""

    async def trigger(
        self, dag_id: str, *, logical_date: datetime, conf: dict[str, Any] | None = None
    ) -> str:
        """Start a DAG run and return its id; `conf["parameters"]` overrides the job's.

        Raises:
            NotFound: it does not know the DAG (yet).
            Conflict: there is a run of that logical date.
            Unavailable: it does not answer.
        """
        ...

    async def pools(self) -> frozenset[str]:
        """Return the names of the pools that tasks may run in.

        Raises:
            Unavailable: it does not answer.
        """
        ...

    async def health(self) -> dict[str, bool]:
        """Say which of its components are healthy; none when it does not answer."""
        ...
