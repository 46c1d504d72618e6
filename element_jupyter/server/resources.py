"""REST of resources: `resources/…`, what this server and its kernels use.

A page that looks is no sign of a person at work: none of these counts as activity, so that an open
tab keeps no server from being culled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final, Literal, Protocol

from jupyter_server.auth.decorator import authorized
from pydantic import Field
from tornado import web

from element_jupyter.core.errors import Invalid
from element_jupyter.core.resources.samples import (
    Death,
    DeathList,
    History,
    KernelDetails,
    Sample,
)
from element_jupyter.core.values import Value
from element_jupyter.server.event_stream import EventStream
from element_jupyter.server.http import ElementHandler
from element_jupyter.server.operations import Operation, mounted

Hours = Annotated[Literal[1, 24], Field(description="1: all points; 24: one a minute.")]


class ResourceEvents(Value):
    """By the name of each event of the stream, its data."""

    history: History
    """The first: the last ten minutes, a point in five seconds."""
    sample: Sample
    """Once a second."""
    death: Death
    """Whenever a kernel has ended though nobody asked it to."""


class Resources(Protocol):
    """What this face needs to know. None of it keeps the event loop."""

    def follow(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give server-sent events, ready to be written, for as long as somebody listens."""

    async def history(self, hours: int, kernel_id: str | None) -> bytes:
        """Return a `History` in JSON."""

    def deaths(self) -> DeathList: ...

    async def details(self, kernel_id: str) -> KernelDetails:
        """Look at each process of a kernel.

        Raises:
            NotFound: no such kernel runs here.
        """


class ResourcesHandler(ElementHandler):
    """The base of all."""

    _track_activity = False

    def initialize(self, resources: Resources) -> None:
        self.resources = resources


class EventsHandler(EventStream, ResourcesHandler):
    """`GET resources/events`: what is used, as server-sent events, while somebody listens."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        await self.stream(self.resources.follow())


class HistoryHandler(ResourcesHandler):
    """`GET resources/history?hours=…`: what was used in the last hour or day."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        hours = self.get_query_argument("hours", "1")
        if hours not in {"1", "24"}:
            raise Invalid(f"'{hours[:80]}' hours are not kept.", "1 or 24 are.", field="hours")
        kernel_id = self.get_query_argument("kernel_id", None)
        self.finish(await self.resources.history(int(hours), kernel_id))


class DeathsHandler(ResourcesHandler):
    """`GET resources/deaths`: the kernels that have died in the last ten minutes, and why."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.finish(self.resources.deaths().model_dump_json())


class KernelHandler(ResourcesHandler):
    """`GET resources/kernels/{kernel_id}`: the processes of a kernel, shared memory split up."""

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        self.finish((await self.resources.details(kernel_id)).model_dump_json())


OPERATIONS: Final = (
    Operation(
        "followResources",
        "get",
        "/resources/events",
        EventsHandler,
        ResourceEvents,
        streams=True,
    ),
    Operation(
        "resourceHistory",
        "get",
        "/resources/history",
        HistoryHandler,
        History,
        query=(("hours", Hours | None), ("kernel_id", str | None)),
    ),
    Operation("kernelDeaths", "get", "/resources/deaths", DeathsHandler, DeathList),
    Operation(
        "kernelDetails", "get", "/resources/kernels/{kernel_id}", KernelHandler, KernelDetails
    ),
)


def handlers(resources: Resources) -> list[tuple[str, type[ElementHandler], dict[str, Any]]]:
    """Return what a Jupyter server mounts, below its base URL."""
    return mounted(OPERATIONS, {"resources": resources})
