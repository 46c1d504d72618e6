"""The control plane's REST interface, mounted in the Jupyter server for whoever is signed in."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, unquote, urlencode

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from element_jupyter.core.errors import NotFound
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.http import MOUNT, ElementHandler
from element_jupyter.server.team_rights import token_of_person

ASKED = ("Accept", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Last-Event-ID")
"""Headers that the control plane is to see; cookies and tokens are not among them."""

ANSWERED = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Length",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Retry-After",
    "X-Accel-Buffering",
)
"""Headers of the answer that the browser is to see."""

OURS = ("token", "_xsrf", "no_track_activity")
"""Query arguments that are meant for the Jupyter server itself."""


class ForwardHandler(ElementHandler):
    """Passes a request on, and its answer back as it comes: an event reaches the browser at once.

    When the browser goes away, so does the request to the control plane.
    """

    def initialize(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._passing: asyncio.Task[None] | None = None

    @web.authenticated
    @authorized
    async def get(self) -> None:
        # a page that follows a run is no sign of a person at work, for who culls idle servers
        self._track_activity = False
        await self._pass_on()

    @web.authenticated
    @authorized
    async def post(self) -> None:
        await self._pass_on()

    @web.authenticated
    @authorized
    async def put(self) -> None:
        await self._pass_on()

    @web.authenticated
    @authorized
    async def patch(self) -> None:
        await self._pass_on()

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        await self._pass_on()

    def on_connection_close(self) -> None:
        if self._passing is not None:
            self._passing.cancel()

    async def _pass_on(self) -> None:
        self._passing = asyncio.ensure_future(self._stream())
        try:
            await self._passing
        except (asyncio.CancelledError, StreamClosedError):
            self.log.debug("%s %s: the browser left", self.request.method, self.request.path)

    async def _stream(self) -> None:
        asked = self.request.headers
        async with self._control_plane.ask(
            self.request.method or "GET",
            self._target(),
            headers={
                "Accept-Encoding": "identity",
                **{name: asked[name] for name in ASKED if name in asked},
            },
            content=self.request.body,
            endless="text/event-stream" in asked.get("Accept", ""),
            token=token_of_person(self),
        ) as answer:
            self.set_status(answer.status_code)
            for name in ANSWERED:
                if name in answer.headers:
                    self.set_header(name, answer.headers[name])
            await self.flush()
            async for chunk in answer.aiter_raw():
                self.write(chunk)
                await self.flush()
        self.finish(set_content_type=answer.headers.get("Content-Type", "application/json"))

    def _target(self) -> str:
        """The path and query at the control plane; escapes in the path stay as they came."""
        path = self.request.path.removeprefix(self.base_url + MOUNT)
        if any(segment in {".", ".."} for segment in unquote(path).split("/")):
            raise NotFound(f"There is no '{path}' in the REST interface.")
        query = [
            (name, value)
            for name, value in parse_qsl(self.request.query, keep_blank_values=True)
            if name not in OURS
        ]
        return "/api/v1" + path + (f"?{urlencode(query)}" if query else "")
