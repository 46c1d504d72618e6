"""What `element up` tells the Hub: addresses, and where its secrets are; one private file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from element_jupyter.config import Element
from element_jupyter.core.errors import Invalid
from element_jupyter.core.values import Value
from element_jupyter.platform.data import Data, write_private

_FILE: Final = "hub.json"

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class HubSetup(Value):
    """Where the Hub and what it works with are; written anew at each start."""

    bind_url: str
    """Where the proxy listens."""
    public_url: str
    """What people open; ends in `/`."""
    hub_port: int
    proxy_port: int
    """Of the proxy's own REST interface, on the loopback address."""
    database_url: str
    service_url: str
    """The control plane, on the loopback address."""
    airflow_url: str | None = None
    runner_socket: str | None = None
    """Of the server that forks the processes of runs."""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.hub_port}/hub/api"

    @property
    def origin(self) -> str:
        return self.public_url.rstrip("/")


class Secret(StrEnum):
    """The secrets by which Hub, proxy, control plane and Airflow know one another: their files."""

    COOKIES = "hub-cookie-secret"
    """What the Hub signs cookies with."""
    PROXY = "hub-proxy-password"
    CONTROL_PLANE = "hub-control-plane-token"
    """By which the Hub knows the control plane."""
    HUB = "hub-token"
    """By which the control plane knows the Hub."""
    AIRFLOW = "hub-airflow-token"
    """By which the Hub knows Airflow; also the secret of its OAuth client."""

    def of(self, data: Data) -> str:
        """Return it, made when it is first asked for."""
        return data.secret(self.value)

    def file(self, data: Data) -> str:
        """Return the path of its file, which is there from then on."""
        self.of(data)
        return str(data.secrets / self.value)


def write_setup(data: Data, setup: HubSetup) -> None:
    """Write what the Hub is told at its next start."""
    write_private(data.secrets / _FILE, setup.model_dump_json(indent=1) + "\n")


def read_setup(data: Data) -> HubSetup:
    """Read what `element up` wrote last.

    Raises:
        Invalid: it has not written anything that this Element reads.
    """
    path: Path = data.secrets / _FILE
    try:
        return HubSetup.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise Invalid(
            f"{path} does not say where the Hub is to be.", "`element up` writes it, and starts it."
        ) from error


def public_url(settings: Element, port: int) -> tuple[str, str]:
    """Return where the proxy listens, and what people open; both end in `/`.

    Raises:
        Invalid: passwords would cross the network in the clear, or half a certificate is given.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Invalid("A certificate needs its key.", "Give both --tls-cert and --tls-key.")
    secure = bool(settings.tls_cert) or settings.public_url.startswith("https:")
    if settings.public_host not in _LOOPBACK and not secure:
        raise Invalid(
            f"Element.public_host is {settings.public_host}: people's passwords would cross the "
            "network unencrypted.",
            "Give --tls-cert and --tls-key, or the https address of the proxy in front as "
            "Element.public_url.",
            field="public_host",
        )
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.public_host}]" if ":" in settings.public_host else settings.public_host
    bind = f"{scheme}://{host}:{port}/"
    return bind, (settings.public_url.rstrip("/") + "/") if settings.public_url else bind
