"""Server-sent events of a Jupyter server, for as long as the browser is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from tornado.iostream import StreamClosedError

from element_jupyter.server.http import ElementHandler

KEEP_ALIVE_SECONDS: Final = 15.0
"""A stream that has nothing to tell says so this often, for the sake of proxies."""

_CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"


class EventStream(ElementHandler):
    """A handler that answers with a stream."""

    _sending: asyncio.Task[None] | None = None

    async def stream(self, following: AbstractAsyncContextManager[AsyncIterator[bytes]]) -> None:
        """Send events, ready to be written, to their end, or until the browser has left.

        What is raised on entering `following` is an answer like any other.
        """
        self._sending = asyncio.ensure_future(self._send(following))
        try:
            await self._sending
        except (asyncio.CancelledError, StreamClosedError):
            self.log.debug("%s: the browser left", self.request.path)

    def on_connection_close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self, following: AbstractAsyncContextManager[AsyncIterator[bytes]]) -> None:
        async with following as events:
            self.set_header("Content-Type", _CONTENT_TYPE)
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")
            await self.flush()
            async with aclosing(_kept_alive(events)) as kept_alive:
                async for event in kept_alive:
                    self.write(event)
                    await self.flush()
        self.finish(set_content_type=_CONTENT_TYPE)


async def _kept_alive(events: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    coming = asyncio.ensure_future(_next(events))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield b": still here\n\n"
            elif (event := coming.result()) is None:
                return
            else:
                yield event
                coming = asyncio.ensure_future(_next(events))
    finally:
        coming.cancel()
        await asyncio.wait([coming])


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)
