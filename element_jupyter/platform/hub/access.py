"""How the control plane reaches the Hub that people sign in at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from element_jupyter.core.access import Who


@dataclass(frozen=True)
class HubAccess:
    """The Hub of this control plane, and who else is given a token by the platform."""

    api_url: str
    """Ends in `/hub/api`."""
    token_file: Path
    """Holds the token of the Hub's service `element`."""
    services: Mapping[bytes, Who] = field(default_factory=dict)
    """Airflow and the Hub itself, by the digests of their tokens (`service.sign_in.digest_of`)."""


def hub_access() -> HubAccess | None:
    """Return what `element up` has told this process; None without a Hub."""
    url, file = os.environ.get("ELEMENT_HUB_API_URL"), os.environ.get("ELEMENT_HUB_TOKEN_FILE")
    return HubAccess(url.rstrip("/"), Path(file)) if url and file else None
