"""The control plane's application: every route that it has, mounted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from tornado.web import Application

from element_jupyter.core.places import SERVICE_PREFIX
from element_jupyter.service import (
    account_routes,
    advice_routes,
    audit_routes,
    care_routes,
    job_routes,
    launch_routes,
    ledger_routes,
    news_routes,
    openapi,
    policy_routes,
    quota_routes,
    run_routes,
    runner_routes,
    running_routes,
    schedule_routes,
    snapshot_routes,
    storage_routes,
    system_routes,
    usage_routes,
)
from element_jupyter.service.http import Route
from element_jupyter.service.mount import API, handlers
from element_jupyter.service.mounted import Mounted
from element_jupyter.service.pages.mount import Pages, without_hub

ROUTES: tuple[Route, ...] = (
    *system_routes.ROUTES,
    *account_routes.ROUTES,
    *advice_routes.ROUTES,
    *audit_routes.ROUTES,
    *care_routes.ROUTES,
    *job_routes.ROUTES,
    *launch_routes.ROUTES,
    *ledger_routes.ROUTES,
    *news_routes.ROUTES,
    *policy_routes.ROUTES,
    *quota_routes.ROUTES,
    *run_routes.ROUTES,
    *runner_routes.ROUTES,
    *running_routes.ROUTES,
    *schedule_routes.ROUTES,
    *snapshot_routes.ROUTES,
    *storage_routes.ROUTES,
    *usage_routes.ROUTES,
)


BEHIND_PROXY = SERVICE_PREFIX.rstrip("/")
"""Where the Hub's proxy has the same; it passes paths on as they are."""


def application(
    mounted: Mounted, routes: Iterable[Route] = ROUTES, pages: Pages | None = None
) -> Application:
    """Return the Tornado application that answers the routes, and a `Problem` elsewhere."""
    for_people = pages.handlers(mounted) if pages is not None else without_hub(mounted)
    for_programs = handlers(routes, mounted, (API, BEHIND_PROXY + API))
    return Application([*for_people, *for_programs], log_function=_silent)


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of all routes."""
    return openapi.document(ROUTES)


def _silent(_: Any) -> None:
    """Leave requests to the metrics; errors are logged where they are answered."""
