"""Where scheduled jobs go: the Airflow that `element up` runs, or nowhere."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime

from element_jupyter import config
from element_jupyter.adapters.airflow import AirflowOrchestrator
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.orchestration import Orchestrator
from element_jupyter.core.places import AIRFLOW_PREFIX
from element_jupyter.platform.airflow_home import USERNAME
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub.access import HubAccess
from element_jupyter.platform.ports import kept_ports


class NoAirflow:
    """Stands in where `Element.airflow` is off."""

    async def trigger(
        self, dag_id: str, *, logical_date: datetime, conf: dict[str, object] | None = None
    ) -> str:
        raise Unavailable("Airflow is switched off here.", "Set Element.airflow to True.")

    async def pools(self) -> frozenset[str]:
        raise Unavailable("Airflow is switched off here.", "Set Element.airflow to True.")

    async def health(self) -> dict[str, bool]:
        return {}


def orchestrator_of(
    stack: AsyncExitStack, settings: config.Element, data: Data, hub: HubAccess | None
) -> Orchestrator:
    """Return who triggers DAG runs; it is closed with the stack."""
    port = settings.airflow_port or kept_ports(data).get("airflow", 0)
    if not settings.airflow or not port:
        return NoAirflow()
    airflow = AirflowOrchestrator(
        f"http://127.0.0.1:{port}{AIRFLOW_PREFIX.rstrip('/') if hub else ''}",
        USERNAME,
        data.airflow_passwords,
        hub.airflow_token_file if hub else None,
    )
    stack.push_async_callback(airflow.close)
    return airflow
