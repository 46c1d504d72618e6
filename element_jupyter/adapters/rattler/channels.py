"""Channels: what their names mean here, and whether they may be used.

A bare name is the deployment's channel of that name, so that a mirror serves definitions which were
written for the original; else it is one on anaconda.org. Packages of `file:` channels are not
verified by py-rattler (0.28), so there are none of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from element_jupyter.adapters.rattler.failures import failed, without_credentials
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode, Rules
from element_jupyter.core.environments.definitions import Found, Origin, OriginKind

PUBLIC: Final = "https://conda.anaconda.org"
DEFAULTS: Final = "https://repo.anaconda.com/pkgs/main"


def channel_url(text: str, rules: Rules) -> str:
    """Return the URL of a channel that is named or given by URL, without a slash at its end.

    Raises:
        EnvironmentFailed: it is no HTTP channel, or its URL has credentials in it.
    """
    given = text.strip().rstrip("/")
    if "://" not in given and not given.startswith((".", "/", "~")):
        own = (url.rstrip("/") for url in rules.channels)
        named = next((url for url in own if url.endswith(f"/{given}")), None)
        return named or (DEFAULTS if given == "defaults" else f"{PUBLIC}/{given}")
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise failed(
            FailureCode.NOT_SUPPORTED,
            "A channel is no HTTP address",
            f"The channel {without_credentials(given)} is not reached by http or https, so the"
            " packages from it cannot be verified.",
            "Serve it by HTTP, or use another channel.",
        )
    if "@" in parts.netloc or re.search(r"/t/[^/]+", parts.path):
        raise failed(
            FailureCode.AUTH_REQUIRED,
            "A channel's address has credentials in it",
            f"The address of the channel {without_credentials(given + '/').rstrip('/')} has a"
            " password or token in it, which everybody with the file can read.",
            "Put it into ~/.netrc or rattler's keyring, and leave it out of the definition.",
        )
    return given


def refuse_untrusted(found: Found, urls: Iterable[str], rules: Rules) -> None:
    """Refuse what a definition takes from where neither the deployment nor the person allows.

    Raises:
        EnvironmentFailed: `needs_trust`, with the origins that would have to be trusted.
    """
    places = [each.location for each in rules.trusted if each.kind is OriginKind.CHANNEL]
    channels = [url for each in (*rules.channels, *places) if (url := _usable(each, rules))]
    origins = [
        Origin(kind=OriginKind.CHANNEL, location=url, named_in=found.definition.path)
        for url in dict.fromkeys(urls)
        if not _below(url, channels)
    ]
    own = {
        # an index may be written with its name: ours=https://…
        OriginKind.INDEX: tuple(re.sub(r"^[\w.-]+=", "", url) for url in rules.index_urls),
        OriginKind.FIND_LINKS: rules.find_links,
        OriginKind.SDIST: tuple(rules.builds_allowed),
    }
    for origin in found.definition.origins:
        allowed = [each.location for each in rules.trusted if each.kind is origin.kind]
        allowed += own.get(origin.kind, ())
        builds = origin.kind is OriginKind.SDIST and "*" in rules.builds_allowed
        if origin.kind is not OriginKind.CHANNEL and not builds:
            origins += [] if _below(origin.location, allowed) else [origin]
    if origins:
        raise needs_trust(origins)


def _usable(place: str, rules: Rules) -> str | None:
    """Return the URL of what is allowed; None for what can be no channel, as a repository."""
    try:
        return channel_url(place, rules)
    except EnvironmentFailed:
        return None


def _below(location: str, allowed: Iterable[str]) -> bool:
    """Tell whether a location is one of those that are allowed, or inside of one."""
    location = location.rstrip("/")
    each = [place.rstrip("/") for place in allowed]
    return any(location == place or location.startswith(f"{place}/") for place in each)


def needs_trust(origins: Iterable[Origin]) -> EnvironmentFailed:
    """Return the failure of a definition that takes packages from somewhere else."""
    places = tuple(origins)
    return failed(
        FailureCode.NEEDS_TRUST,
        "It takes packages from elsewhere",
        f"This environment takes packages from {', '.join(each.location for each in places)},"
        " which is not among the places that are allowed here.",
        "Trust it if you know who runs it; packages can run code as you.",
        origins=places,
    )
