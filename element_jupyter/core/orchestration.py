"""Who says when jobs run: what the control plane asks of a scheduler such as Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from pydantic import Field, JsonValue

from element_jupyter.core.values import Value


class OrchestratorHealth(Value):
    """Whether the scheduler works, part by part."""

    reachable: bool
    version: str = ""
    parts: dict[str, str] = Field(default_factory=dict)
    """What each part says of itself: `{"scheduler": "healthy"}`."""
    message: str = ""
    """One sentence when something is wrong."""

    @property
    def healthy(self) -> bool:
        return self.reachable and all(state == "healthy" for state in self.parts.values())


class Orchestrator(Protocol):
    """Runs jobs as DAGs, named by `Job.dag_id`."""

    async def trigger(
        self, dag_id: str, *, logical_date: datetime, conf: Mapping[str, JsonValue]
    ) -> str:
        """Start a DAG run and return its id; `conf["parameters"]` overrides the job's.

        Raises:
            NotFound: it does not know the DAG (yet).
            Unavailable: it does not answer.
        """
        ...

    async def health(self) -> OrchestratorHealth:
        """Say how it is; never raises."""
        ...
