"""`POST platform`: start what runs notebooks, where nobody has started a platform."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from element_jupyter.server.http import ElementHandler
from element_jupyter.server.operations import Operation

Start = Callable[[], Awaitable[None]]
"""Returns when the platform answers, started or there already."""


class PlatformHandler(ElementHandler):
    """`POST platform`: return when the platform answers; start what runs notebooks if it must."""

    def initialize(self, start: Start) -> None:
        self._start = start

    @web.authenticated
    @authorized
    async def post(self) -> None:
        await self._start()
        self.set_status(204)
        self.finish()


OPERATIONS: Final = (
    Operation("startPlatform", "post", "/platform", PlatformHandler, None, status=204),
)
