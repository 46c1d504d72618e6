"""Whether the control plane is there, how it is, and what it offers."""

from __future__ import annotations

import platform
from typing import Any, Literal

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from element_jupyter.core.access import Action
from element_jupyter.core.runs import RunState
from element_jupyter.core.values import Value
from element_jupyter.service.http import PUBLIC, Route, TextAnswer, allow
from element_jupyter.service.services import Services


class Health(Value):
    """The control plane answers."""

    status: Literal["ok"] = "ok"


class Status(Value):
    """How the control plane is."""

    version: str
    python: str
    jobs: int
    job_errors: int
    """Job files that cannot be read."""
    runs: dict[RunState, int]
    """Runs that have not ended, by state."""
    capacity: int
    """Runs that may execute at the same time."""
    airflow: dict[str, bool]
    """Which of Airflow's components are healthy; empty without Airflow."""


async def get_health(_: Services) -> Health:
    """Say that the control plane answers."""
    return Health()


async def get_status(services: Services) -> Status:
    """Say what runs, what waits, and how Airflow is."""
    return Status(
        version=services.version,
        python=platform.python_version(),
        jobs=services.jobs.count,
        job_errors=services.jobs.error_count,
        runs={
            state: count
            for state, count in (await services.runs.counts()).items()
            if not state.ended
        },
        capacity=services.runs.capacity,
        airflow=await services.orchestrator.health(),
    )


async def get_openapi(services: Services) -> dict[str, Any]:
    """Get this document."""
    return services.openapi()


async def get_metrics(_: Services) -> TextAnswer:
    """Get the metrics of this process for Prometheus."""
    return TextAnswer(generate_latest(REGISTRY), CONTENT_TYPE_LATEST)


ROUTES = (
    Route("GET", "/health", get_health, access=PUBLIC),
    Route("GET", "/status", get_status, access=allow(Action.READ)),
    Route("GET", "/openapi.json", get_openapi, access=allow(Action.READ)),
    Route("GET", "/metrics", get_metrics, access=allow(Action.ADMINISTER), at_root=True),
)
