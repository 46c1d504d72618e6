"""Traefik in front of the Hub: routes from a file, in force a moment after they are added."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from traitlets import default, observe

_FIRST_LOOK_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.25
_NOBODYS: Final = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "not in use")])
_LASTS: Final = timedelta(days=3650)


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
    """The file provider, which adds a route in hundredths of a second rather than in two seconds.

    What this is made of looks with pauses that double from a tenth of a second up to ten, and
    traefik takes a third of a second of a core for each look, to check the password. Without a
    certificate traefik makes one at each change of its routes, with an RSA key that costs a tenth
    of a second of a core: 0.1 s for a new route among 50, and 0.01 s where it is given one.
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

    async def _setup_traefik_dynamic_config(self) -> None:
        certificate, key = self.ssl_cert, self.ssl_key
        if not (certificate and key):
            certificate, key = _certificate_of_nobody()
        store = {"defaultCertificate": {"certFile": certificate, "keyFile": key}}
        # said always, since what is not said stays as the Hub that ran before has written it
        extra: dict[str, Any] = self.trait_values()["extra_dynamic_config"]
        self.extra_dynamic_config = {"tls": {"stores": {"default": store}}, **extra}
        await super()._setup_traefik_dynamic_config()

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


def _certificate_of_nobody() -> tuple[str, str]:
    """Make a certificate and its key, as PEM, for a proxy that serves nothing by TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(_NOBODYS, _NOBODYS, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LASTS)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()
