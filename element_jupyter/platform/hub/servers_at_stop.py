"""People's servers when the platform stops: stopped through the Hub, which knows how.

The Hub itself leaves them when it ends, since it may only be started again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from element_jupyter.adapters.hub.servers import HubServers
from element_jupyter.core.errors import ElementError

_log = logging.getLogger(__name__)

_AT_MOST_SECONDS: Final = 30.0
"""Longer than the spawner gives a server to end by itself."""
_LOOK_SECONDS: Final = 0.2


async def stop_servers(servers: HubServers, hurry: asyncio.Event) -> int:
    """Stop every server that runs; returns how many are left when time is over, or with `hurry`."""
    until = time.monotonic() + _AT_MOST_SECONDS
    asked: set[tuple[str, str]] = set()
    left = 0
    while not hurry.is_set() and time.monotonic() < until:
        try:
            running = await servers.running()
            for person, name in running - asked:
                await servers.stop(person, name)
        except ElementError as error:
            _log.warning("people's servers go on: %s", error.message)
            return left
        left = len(running)
        if not running:
            return 0
        asked |= running
        await asyncio.sleep(_LOOK_SECONDS)
    return left
