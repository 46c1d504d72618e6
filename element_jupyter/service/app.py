"""The control plane's application: every route that it has, mounted."""

from __future__ import annotations

from typing import Any

from tornado.web import Application

from element_jupyter.service import system_routes
from element_jupyter.service.http import Route
from element_jupyter.service.mount import Mounted, handlers

ROUTES: tuple[Route, ...] = (*system_routes.ROUTES,)


def application(mounted: Mounted, routes: tuple[Route, ...] = ROUTES) -> Application:
    """Return the Tornado application that answers the routes, and a `Problem` elsewhere."""
    return Application(handlers(routes, mounted), log_function=_silent)


def _silent(_: Any) -> None:
    """Leave requests to the metrics; errors are logged where they are answered."""
