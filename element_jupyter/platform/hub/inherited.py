"""What people's servers and runs are told of this machine: how to reach the network, and the rules.

Everything else of the Hub's environment stays with the Hub.
"""

from __future__ import annotations

import os
from typing import Final

from element_jupyter.config import Element

_NETWORK: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("NODE_EXTRA_CA_CERTS", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
)
_RULES: Final = (
    *("environments", "environments_dir", "python", "index_urls", "find_links", "channels"),
    *("allowed_origins", "allowed_builds", "build_timeout_seconds", "offline"),
    *("snapshot_warn_bytes", "snapshot_refuse_bytes"),
)
"""Settings of environments and snapshots, which hold wherever notebooks are."""


def inherited_environment(settings: Element) -> dict[str, str]:
    """Return the variables; a proxy's address that holds a password is left out."""
    network = {
        name: text
        for name in _NETWORK
        if (text := os.environ.get(name)) and not _has_password(text)
    }
    return network | {f"ELEMENT_{name.upper()}": text for name, text in _differing(settings)}


def _has_password(text: str) -> bool:
    return "@" in text.partition("://")[2].partition("/")[0]


def _differing(settings: Element) -> list[tuple[str, str]]:
    usual = Element()
    found = []
    for name in _RULES:
        value = getattr(settings, name)
        if value != getattr(usual, name):
            found.append((name, " ".join(value) if isinstance(value, list) else str(value)))
    return found
