"""What every request of the control plane needs, and the requests that are being answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest

from element_jupyter.core.access import Person, Who
from element_jupyter.core.audit import Noted
from element_jupyter.service.http import Route

KEEP_ALIVE_SECONDS = 15.0
END_SECONDS = 3.0
RECOGNISED_SECONDS = 30.0
"""How long the reader of a stream is taken for whom they were; then they are asked for anew."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

Audited = Callable[
    [Person, Route, HTTPServerRequest, Mapping[str, str], Noted], Coroutine[Any, Any, None]
]


@dataclass
class Mounted:
    """What every request needs, and the requests that are being answered."""

    services: Any
    sign_in: Callable[[str], Awaitable[Who | None]]
    """Who holds a token; None when nobody does."""
    spool: Path
    """Directory of uploads under way, on the file system of the data directory."""
    hosts: frozenset[str] = LOOPBACK
    """Names that the Host header may have: another would be a rebound DNS name."""
    observe: Callable[[str, str, int, float], None] = lambda *_: None
    """Told verb, path template, status and seconds of every request."""
    browser: Callable[[HTTPServerRequest], Awaitable[Who | None]] | None = None
    """Who asks from a page of ours, without a token."""
    audit: Audited | None = None
    """Told what people have done, before they are answered."""
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    recognised_seconds: float = RECOGNISED_SECONDS
    waiting: dict[asyncio.Task[Any], asyncio.Event] = field(default_factory=dict)
    """The streams and long polls under way, which a shutdown ends; set once they are answered."""
    busy: set[asyncio.Task[Any]] = field(default_factory=set)

    async def end_streams(self) -> None:
        """End the streams and long polls, and wait until their readers have been told."""
        answered = list(self.waiting.values())
        for task in self.waiting:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                for each in answered:
                    await each.wait()

    async def let_go(self) -> None:
        """Wait, once the connections are closed, until no request uses the services any more."""
        if self.busy:
            await asyncio.wait(self.busy, timeout=END_SECONDS)
