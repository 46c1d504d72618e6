"""The link from a task in Airflow to its executed notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs
from airflow.configuration import conf
from airflow.sdk.bases.operatorlink import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

URL_PREFIX: Final = "/element"
"""Where the plugin's pages are in Airflow's web server."""


def notebook_url(run_id: str) -> str:
    """Return the page of a run's executed notebook; it asks for Airflow's sign-in."""
    base = conf.get("api", "base_url", fallback="/").rstrip("/")
    return f"{base}{URL_PREFIX}/runs/{quote(run_id, safe='')}"


def job_url(team: str, name: str) -> str:
    """Return the page of a job; it asks for Airflow's sign-in."""
    base = conf.get("api", "base_url", fallback="/").rstrip("/")
    return f"{base}{URL_PREFIX}/jobs/{quote(team, safe='')}/{quote(name, safe='')}"


@attrs.define()
class NotebookLink(BaseOperatorLink):
    """Opens the executed notebook of a task."""

    @property
    def name(self) -> str:
        return "Executed notebook"

    @property
    def xcom_key(self) -> str:
        return "element_run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        run_id: Any = getattr(operator, "run_id", None)
        return notebook_url(run_id) if run_id else ""
