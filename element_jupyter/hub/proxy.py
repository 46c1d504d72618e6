"""Traefik in front of the Hub: routes from a file, in force a moment after they are added."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import bcrypt
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from traitlets import default, observe

_FIRST_LOOK_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.25


class RoutesFile:
    """The file that traefik watches: JSON, which is YAML too, and a hundred times faster to write.

    It keeps the permissions that it has, so that whoever made it decides who may read it.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def load(self) -> dict[str, Any]:
        """Read what is there.

        Raises:
            FileNotFoundError: nothing is.
        """
        found = json.loads(self._path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}

    def atomic_dump(self, routes: dict[str, Any]) -> None:
        """Replace the file at once; traefik never reads a part of it."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
        )
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(routes, file)
            with suppress(FileNotFoundError):
                known = self._path.stat()
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(known.st_mode))
        temporary.replace(self._path)


class ElementProxy(TraefikFileProviderProxy):
    """The file provider, which adds a route in a tenth of a second rather than in two.

    Traefik serves a rewritten file within about 0.1 s. What this is made of looks with pauses that
    double from a tenth of a second up to ten, and traefik takes a third of a second of a core for
    each look, to check the password.
    """

    @default("dynamic_config_file")
    def _yaml(self) -> str:
        return "routes.yaml"

    @default("dynamic_config_handler")
    def _json_routes(self) -> RoutesFile:
        return RoutesFile(self.dynamic_config_file)

    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = RoutesFile(change.new)

    @default("traefik_api_hashed_password")
    def _hash_cheaply(self) -> str:
        """Hash the password, which is 32 random bytes, with bcrypt's least cost.

        A high cost protects what people can remember; of this nobody could guess a part.
        """
        salt = bcrypt.gensalt(rounds=4)
        return bcrypt.hashpw(self.traefik_api_password.encode(), salt).decode("ascii")

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
