"""Where packages come from: addresses without their credentials, and what kind of place each is."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from element_jupyter.core.environments.definitions import OriginKind

_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,40}://)(?P<user>[^/?#\s\"'<>]*)@")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,40}):")
_VERSION_CONTROL = ("git+", "hg+", "svn+", "bzr+")
SHORTEST_TOKEN = 20
"""A user without a password is a token when it is as long; `oauth2accesstoken` is not."""

_GIT = {"git+https", "git+http", "git+ssh", "git+git"}


class Address(NamedTuple):
    """What an address in a definition says."""

    kind: OriginKind
    location: str
    """Without credentials; of a repository without `git+`."""
    fault: str = ""
    """Why it cannot be used, when it cannot: ends a sentence that began with the address."""


def without_credentials(text: str) -> str:
    """Return text with `user:password@` taken out of every address in it; `git@` may stay."""

    def strip(match: re.Match[str]) -> str:
        scheme, user = match["scheme"], match["user"]
        plain_login = scheme.endswith("ssh://") and re.fullmatch(r"[\w.-]+", user)
        return match[0] if plain_login else scheme

    return _USER.sub(strip, text)


def has_credentials(text: str) -> bool:
    """Say whether an address in text has a password or a token, rather than a variable's name."""
    for match in _USER.finditer(text):
        name, _, password = match["user"].partition(":")
        token = len(name) >= SHORTEST_TOKEN and re.search(r"\d", name) and name == match["user"]
        if _VARIABLE.sub("", password) or (token and not _VARIABLE.search(name)):
            return True
        if match["user"].endswith(":") and _VARIABLE.sub("", name):
            return True
    return False


def index_address(url: str, kind: OriginKind = OriginKind.INDEX) -> Address:
    """Read the address of an index or of a page of links."""
    location = without_credentials(url.strip()).rstrip("/")
    if not re.match(r"https?://", location, re.IGNORECASE):
        return Address(kind, location, "is no address of a server (https://…)")
    return Address(kind, location, _fault(location, url))


def package_address(url: str) -> Address:
    """Read the address of one package: a wheel, an archive of source, a repository."""
    location = without_credentials(url.strip())
    match = _SCHEME.match(location)
    scheme = match["scheme"].lower() if match else ""
    if scheme in _GIT:
        plain = location.removeprefix("git+").split("#", 1)[0]
        dashed = re.search(r"[^/]@-", plain)
        fault = "names a revision that begins with a dash" if dashed else _fault(plain, url)
        return Address(OriginKind.VCS, plain, fault)
    if scheme.startswith(_VERSION_CONTROL):
        return Address(OriginKind.VCS, location, "is of a kind that is not supported: only git is")
    if scheme in {"https", "http"}:
        return Address(OriginKind.URL, location.split("#", 1)[0], _fault(location, url))
    return Address(OriginKind.URL, location, "is a path: files of the project belong to the code")


def name_in_address(url: str) -> str:
    """Return the package that an address seems to hold: `…/docopt-0.6.2.tar.gz` → `docopt`."""
    if egg := re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url):
        return egg[1]
    last = unquote(url.split("#", 1)[0].rstrip("/").rpartition("/")[2])
    found = re.match(r"[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?", last.partition("-")[0])
    return found[0].removesuffix(".git") if found else ""


def _fault(location: str, written: str) -> str:
    if _VARIABLE.search(location):
        return "has a variable outside of user and password, so nobody can say where it leads"
    if re.search(r"""[\\"'<>\s]""", written.strip()):
        # tools disagree on where such an address leads, and what is trusted must be what is asked
        return "has a character that an address cannot have"
    if not re.match(r"[a-z+]+://[^/?#]", location, re.IGNORECASE):
        return "names no server"
    return ""
