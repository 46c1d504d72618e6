"""Pages in Airflow's web server: an executed notebook, and a job. Both need Airflow's sign-in.

A browser holds no token of the control plane, so its documents are fetched here and shown as inert
HTML: sanitised, and in a sandbox in which nothing runs and nothing is loaded.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from element_jupyter.core.errors import ElementError, Forbidden
from element_jupyter.provider.client import Service, run_path
from element_jupyter.provider.settings import settings

if TYPE_CHECKING:
    from fastapi import Request

Document = dict[str, Any]
User = Annotated[BaseUser, Depends(get_user)]

POLICY: Final = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application() -> FastAPI:
    """Return the pages, to be mounted under `links.URL_PREFIX`."""
    app = FastAPI(title="Element", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/runs/{run_id}", response_class=HTMLResponse)(executed_notebook)
    app.get("/jobs/{team}/{name}", response_class=HTMLResponse)(job)
    app.add_exception_handler(ElementError, _problem)
    return app


def executed_notebook(run_id: str, user: User) -> HTMLResponse:
    """Show what a run's notebook looks like by now."""
    with Service() as service:
        run = service.get(run_path(run_id))
        _may_see(user, run.get("job"), run["team"])
        notebook = service.get_text(f"{run_path(run_id)}/notebook")
    return _page(settings().render_notebook(notebook))


def job(team: str, name: str, user: User) -> HTMLResponse:
    """Show what a job says."""
    _may_see(user, f"{team}/{name}", team)
    with Service() as service:
        stored = service.get(f"/jobs/{team}/{name}")
    return _page(_text(f"{team}/{name}", json.dumps(stored, indent=2, ensure_ascii=False)))


def _may_see(user: BaseUser, job_id: str | None, team: str) -> None:
    # a run without a job has the rights of a DAG of its team, whether or not one has that name
    dag_id = job_id.replace("/", "--") if job_id else f"{team}--adhoc"
    if not get_auth_manager().is_authorized_dag(
        method="GET", details=DagDetails(id=dag_id), user=user
    ):
        raise Forbidden("You may not see this.", f"Ask who may read the DAG {dag_id}.")


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(body, status_code=status, headers=_HEADERS)


def _text(title: str, text: str) -> str:
    return (
        "<!doctype html><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><pre>{html.escape(text)}</pre>"
    )


async def _problem(_: Request, error: Exception) -> HTMLResponse:
    problem = error if isinstance(error, ElementError) else ElementError(str(error))
    return _page(_text(problem.message, f"{problem.message}\n{problem.hint}"), problem.status)
