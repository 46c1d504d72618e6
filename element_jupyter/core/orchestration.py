"""Who says when jobs run: what the control plane asks of a scheduler such as Airflow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from element_jupyter.core.values import Name, Value


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


class HubAddress(Value):
    """Where Airflow finds the Hub at which its people sign in, as which of the Hub's services."""

    api_url: str
    """The Hub's REST interface as the machine itself reaches it: `http://127.0.0.1:8081/hub/api`."""
    public_url: str
    """The origin that people open, e.g. `https://element.example.org`; the Hub is at `/hub/`."""
    token_file: Path
    """File (0600) with the service's own token of the Hub."""
    service: Name = "airflow"

    @property
    def prefix(self) -> str:
        """The path under which Airflow is reached, without a slash at its end."""
        return f"/services/{self.service}"

    @property
    def client_id(self) -> str:
        return f"service-{self.service}"

    @property
    def redirect_path(self) -> str:
        """What the Hub's `oauth_redirect_uri` of the service has to be."""
        return f"{self.prefix}/auth/callback"
