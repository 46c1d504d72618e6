"""How the control plane reaches the Hub that people sign in at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from element_jupyter.core.access import Hub, Scheduler, Who
from element_jupyter.service.sign_in import digest_of


@dataclass(frozen=True)
class HubAccess:
    """The Hub of this control plane, and who else is given a token by the platform."""

    api_url: str
    """Ends in `/hub/api`."""
    token_file: Path
    """Holds the token of the Hub's service `element`."""
    services: Mapping[bytes, Who] = field(default_factory=dict)
    """Airflow and the Hub itself, by the digests of their tokens (`service.sign_in.digest_of`)."""
    owner: bytes | None = None
    """Digest of the token of the platform's own person; None: it is in the data directory."""
    airflow_token_file: Path | None = None
    """Holds the token by which Airflow knows the control plane."""


API_URL: Final = "ELEMENT_HUB_API_URL"
TOKEN_FILE: Final = "ELEMENT_HUB_TOKEN_FILE"  # noqa: S105 - names a variable
"""The token by which the Hub knows the control plane."""
SPAWNER_DIGEST: Final = "ELEMENT_HUB_SPAWNER_TOKEN_SHA256"
"""Of the token by which the control plane knows the Hub; the token itself it need not know."""
AIRFLOW_DIGEST: Final = "ELEMENT_AIRFLOW_TOKEN_SHA256"
"""Of the token by which the control plane knows Airflow."""
OWNER_DIGEST: Final = "ELEMENT_OWNER_TOKEN_SHA256"
"""Of the token of the platform's own person."""
AIRFLOW_TOKEN_FILE: Final = "ELEMENT_AIRFLOW_TOKEN_FILE"  # noqa: S105 - names a variable
"""The token by which Airflow knows the control plane."""
PUBLIC_URL: Final = "ELEMENT_PUBLIC_URL"
"""Sets `Element.public_url` where the configuration does not."""
HANDED_OVER: Final = frozenset(
    {API_URL, TOKEN_FILE, SPAWNER_DIGEST, AIRFLOW_DIGEST, OWNER_DIGEST, AIRFLOW_TOKEN_FILE}
)


def hub_access() -> HubAccess | None:
    """Return what `element up` has told this process; None without a Hub."""
    told = os.environ
    url, file = told.get(API_URL), told.get(TOKEN_FILE)
    if not (url and file):
        return None
    known: tuple[tuple[str, Who], ...] = (
        (SPAWNER_DIGEST, Hub()),
        (AIRFLOW_DIGEST, Scheduler()),
    )
    services = {bytes.fromhex(told[name]): who for name, who in known if told.get(name)}
    owner, airflow = told.get(OWNER_DIGEST), told.get(AIRFLOW_TOKEN_FILE)
    return HubAccess(
        url.rstrip("/"),
        Path(file),
        services,
        bytes.fromhex(owner) if owner else None,
        Path(airflow) if airflow else None,
    )


def digest(token: str) -> str:
    """Return a token's digest as it is handed over."""
    return digest_of(token).hex()
