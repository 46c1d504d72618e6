"""Traefik in front of the Hub: routes from a file, in force a moment after they are added."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

_FIRST_LOOK_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.25


class ElementProxy(TraefikFileProviderProxy):
    """The file provider, which looks often enough whether traefik has read the file.

    Traefik serves a rewritten file within about 0.1 s. What it is based on looks with pauses that
    double from a tenth of a second up to ten, which adds one or two seconds to each start.
    """

    async def _wait_for_route(self, routespec: str) -> None:
        """Return when traefik has the route.

        Raises:
            TimeoutError: not within `check_route_timeout`.
        """
        deadline = time.monotonic() + self.check_route_timeout
        pause_seconds = _FIRST_LOOK_SECONDS
        for kind in ("service", "router"):
            while not await self._check_for_traefik_service(routespec, kind):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Traefik has no route {routespec}.")
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(1.5 * pause_seconds, _LONGEST_PAUSE_SECONDS)
