"""What Airflow discovers by the entry point `airflow.plugins`: the timetable and the pages.

Every process of Airflow imports this, so the pages are built only when one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from element_jupyter.provider.links import URL_PREFIX, NotebookLink
from element_jupyter.provider.timetable import ElementTimetable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI


class LazyPages:
    """The ASGI application of `view.py`, built at the first request."""

    def __init__(self) -> None:
        self._pages: FastAPI | None = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if self._pages is None:
            from element_jupyter.provider.view import application

            self._pages = application()
        await self._pages(scope, receive, send)


class ElementPlugin(AirflowPlugin):
    """Element's parts that Airflow must know by name."""

    name = "element"
    timetables = [ElementTimetable]  # noqa: RUF012 - Airflow reads the class
    operator_extra_links = [NotebookLink()]  # noqa: RUF012 - as above
    fastapi_apps = [  # noqa: RUF012 - as above
        {"app": LazyPages(), "url_prefix": URL_PREFIX, "name": "Element"}
    ]
