"""People's servers when the platform stops: stopped through the Hub, which knows how.

The Hub itself leaves them when it ends, since it may only be started again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx

_log = logging.getLogger(__name__)

_AT_MOST_SECONDS: Final = 30.0
"""Longer than the spawner gives a server to end by itself."""
_LOOK_SECONDS: Final = 0.2


async def stop_servers(
    http: httpx.AsyncClient, api_url: str, token: str, hurry: asyncio.Event
) -> int:
    """Stop every server that runs; returns how many are left when time is over, or with `hurry`."""
    headers = {"Authorization": f"token {token}"}
    until = time.monotonic() + _AT_MOST_SECONDS
    asked: set[str] = set()
    left = 0
    while not hurry.is_set() and time.monotonic() < until:
        try:
            answer = await http.get(
                f"{api_url}/users", params={"state": "active", "limit": 200}, headers=headers
            )
            answer.raise_for_status()
            running = set(_servers(answer.json()))
            for path in running - asked:
                await http.delete(f"{api_url}{path}", headers=headers)
        except httpx.HTTPError as error:
            _log.warning("people's servers go on: the Hub does not answer (%s)", error)
            return left
        left = len(running)
        if not running:
            return 0
        asked |= running
        await asyncio.sleep(_LOOK_SECONDS)
    return left


def _servers(people: list[dict[str, Any]]) -> Iterator[str]:
    for person in people:
        for name in person.get("servers") or {}:
            yield f"/users/{quote(person['name'])}/" + (f"servers/{name}" if name else "server")
