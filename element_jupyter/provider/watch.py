"""A request to the control plane that is answered when a job changes, for a loop that selects."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from element_jupyter.core.errors import Unavailable

if TYPE_CHECKING:
    from element_jupyter.provider.settings import Settings

_WAIT_SECONDS: Final = 50
_CONNECT_SECONDS: Final = 1.0


def watch(settings: Settings, after: int) -> socket.socket:
    """Ask for the changes after a sequence number; the socket is readable once there is an answer.

    What it says is of no interest: it may be a change, or that none came for a while, or the end of
    the control plane. Whoever is woken looks.

    Raises:
        Unavailable: nobody listens there, or only encrypted.
    """
    url = urlsplit(settings.service_url)
    if url.scheme != "http" or url.hostname is None:
        raise Unavailable(f"Jobs are not watched at {settings.service_url}: it is not plain HTTP.")
    try:
        token = settings.token_file.read_text().strip()
        connection = socket.create_connection((url.hostname, url.port or 80), _CONNECT_SECONDS)
    except OSError as error:
        raise Unavailable(
            f"The control plane at {settings.service_url} does not answer."
        ) from error
    request = (
        f"GET /api/v1/job-changes?after={after}&wait={_WAIT_SECONDS} HTTP/1.1\r\n"
        f"Host: {url.netloc}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode("ascii"))
    return connection
