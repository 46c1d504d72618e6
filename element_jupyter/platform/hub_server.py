"""What a Hub has told the server or terminal that it started: whose it is, and whom to ask."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HubServer:
    """A process inside a server of the Hub."""

    url: str
    """Where the control plane answers, without `/api/v1`."""
    token: str = field(repr=False)
    """The server's own: it acts for the person, and ends with the server."""
    person: str
    team: str
    """Whose things are made here unless somebody says otherwise."""


def hub_server() -> HubServer | None:
    """Return what this process was told; None where no Hub has started it."""
    told = os.environ
    url, token = told.get("ELEMENT_URL", ""), told.get("JUPYTERHUB_API_TOKEN", "")
    person = told.get("JUPYTERHUB_USER", "")
    if not (url and token and person):
        return None
    return HubServer(url.rstrip("/"), token, person, told.get("ELEMENT_TEAM") or person)
