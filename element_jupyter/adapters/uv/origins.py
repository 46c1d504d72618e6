"""Where packages may come from: checked before any tool runs, and again on what was resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from element_jupyter.adapters.uv.process import without_credentials
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    FailureCode,
    Rules,
)
from element_jupyter.core.environments.definitions import Definition, Origin, OriginKind

FILE_HOSTS: Final = {
    "pypi.org": ("files.pythonhosted.org",),
    "test.pypi.org": ("test-files.pythonhosted.org",),
    "download.pytorch.org": ("download-r2.pytorch.org", "pypi.nvidia.com"),
}
"""Where well-known indexes keep their files when that is not where they are themselves."""

_PORTS: Final = {"http": 80, "https": 443, "ssh": 22}


def plain_index(entry: str) -> str:
    """Return the URL of an entry of `Rules.index_urls`, which may have a name: `corp=https://…`."""
    name, equals, url = entry.partition("=")
    return url if equals and "://" not in name else entry


def is_below(location: str, trusted: str) -> bool:
    """Whether a URL is another or lies under it; `https://a/b` is not above `https://a/bc`."""
    one, other = _parts(location), _parts(trusted)
    if one is None or other is None:
        return location == trusted
    if one[:3] != other[:3]:
        return False
    path, top = one[3], other[3].rstrip("/")
    if ".." in path.split("/"):
        return False
    # `repository.git` and `repository@v1` are the repository
    top_or_inside = (f"{top}/", f"{top}@", f"{top}.git/", f"{top}.git@")
    return path.rstrip("/") in {top, f"{top}.git"} or path.startswith(top_or_inside)


def require_trust(definition: Definition, rules: Rules) -> None:
    """Let nothing pass that a definition takes from elsewhere than is allowed.

    Raises:
        EnvironmentFailed: it needs trust; has the origins.
    """
    wanted = [each for each in definition.origins if not is_allowed(each, rules)]
    if wanted:
        raise needs_trust(wanted)


def require_own_names(named: Mapping[str, str], rules: Rules) -> None:
    """Let no definition call its index by the name that has the credentials of the deployment's.

    uv gives `UV_INDEX_<NAME>_PASSWORD` to whatever has the name.

    Raises:
        EnvironmentFailed: one does, and is another index.
    """
    own = {
        _variable_of(entry.partition("=")[0]): plain_index(entry)
        for entry in rules.index_urls
        if plain_index(entry) != entry
    }
    for name, url in named.items():
        index = own.get(_variable_of(name))
        if index is not None and host_of(index) != host_of(url):
            raise EnvironmentFailed(
                Failure(
                    code=FailureCode.NOT_SUPPORTED,
                    title="An index has the name of another",
                    summary=f"The definition calls {without_credentials(url)} '{name}', which is"
                    f" the name of {index} here, whose password it would be given.",
                    hints=("Give the index in the definition another name.",),
                )
            )


def _variable_of(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def is_allowed(origin: Origin, rules: Rules) -> bool:
    """Whether packages may be taken from a place."""
    if origin.kind is OriginKind.CHANNEL:
        return True  # no concern of uv's
    if origin.kind is OriginKind.INDEX:
        own = [plain_index(each) for each in rules.index_urls]
        if any(same_index(origin.location, each) for each in own):
            return True
    if origin.kind is OriginKind.FIND_LINKS and origin.location in rules.find_links:
        return True
    if origin.kind is OriginKind.SDIST and may_be_built(origin.location, rules):
        return True
    same = [each.location for each in rules.trusted if each.kind is origin.kind]
    return any(is_below(origin.location, each) for each in same)


def buildable(rules: Rules) -> frozenset[str]:
    """Return the names of the packages whose source may be built; `*` is all."""
    trusted = {each.location for each in rules.trusted if each.kind is OriginKind.SDIST}
    return rules.builds_allowed | trusted


def may_be_built(name: str, rules: Rules) -> bool:
    """Whether a package's source may be built, in the sandbox."""
    return bool({"*", name} & buildable(rules))


def require_known_places(
    packages: Iterable[Mapping[str, Any]], definition: Definition, rules: Rules, *, named_in: str
) -> None:
    """Let no lock pass that takes a file from a place that no allowed index would send one to.

    A person's own lock says by itself where each file is; what was resolved here says what the
    indexes said.

    Raises:
        EnvironmentFailed: it needs trust; has the places.
    """
    wanted: dict[tuple[OriginKind, str], Origin] = {}
    for package in packages:
        for origin in _origins_of(package, definition, rules, named_in):
            wanted.setdefault((origin.kind, origin.location), origin)
    if wanted:
        raise needs_trust(list(wanted.values()))


def _origins_of(
    package: Mapping[str, Any], definition: Definition, rules: Rules, named_in: str
) -> list[Origin]:
    """Return the places of a package that are not allowed."""
    places: list[Origin] = []
    if "vcs" in package:
        url = str(package["vcs"].get("url", ""))
        places.append(Origin(kind=OriginKind.VCS, location=url, named_in=named_in))
    if "archive" in package:
        url = str(package["archive"].get("url", ""))
        places.append(Origin(kind=OriginKind.URL, location=url, named_in=named_in))
    index = package.get("index")
    if index:
        places.append(Origin(kind=OriginKind.INDEX, location=index, named_in=named_in))
    refused = [each for each in places if not is_allowed(each, rules)]
    hosts = _allowed_hosts(definition, rules)
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    for url in sorted({str(each.get("url", "")) for each in files}):
        elsewhere = Origin(kind=OriginKind.URL, location=url, named_in=named_in)
        if host_of(url) in hosts or is_allowed(elsewhere, rules) or _is_offered(url, rules):
            continue
        top = urlsplit(url)
        place = f"{top.scheme}://{top.netloc}/" if top.netloc else url
        refused.append(elsewhere.model_copy(update={"location": place}))
    return refused


def _allowed_hosts(definition: Definition, rules: Rules) -> set[str]:
    urls = [plain_index(each) for each in rules.index_urls]
    urls += [each.location for each in rules.trusted if each.kind is OriginKind.INDEX]
    # what a definition names has been allowed before anything was resolved
    urls += [each.location for each in definition.origins if each.kind is OriginKind.INDEX]
    urls += [*rules.find_links]
    urls += [each.location for each in definition.origins if each.kind is OriginKind.FIND_LINKS]
    return {host for each in urls for host in hosts_of_files(each)}


def _is_offered(url: str, rules: Rules) -> bool:
    """Whether a file lies in a directory of wheels that the deployment offers."""
    if not url.startswith("file://"):
        return False
    tops = [each if "://" in each else f"file://{each}" for each in rules.find_links]
    return any(is_below(url, each) for each in tops)


def needs_trust(origins: Sequence[Origin]) -> EnvironmentFailed:
    """Return the refusal of places that nobody has allowed."""
    places = ", ".join(
        each.location + (f" ({each.named_in})" if each.named_in else "") for each in origins
    )
    return EnvironmentFailed(
        Failure(
            code=FailureCode.NEEDS_TRUST,
            title="It takes packages from places that are not trusted yet",
            summary=f"Packages run code with your rights, and these places are not among those that"
            f" the administrator allows: {places}.",
            hints=(
                "If you know them, trust them: in the panel, or with `element env trust`.",
                "Or have the administrator add them to Element.allowed_origins.",
            ),
            origins=tuple(origins),
        )
    )


def same_index(one: str, other: str) -> bool:
    """Whether two URLs are of one index."""
    first, second = _parts(one), _parts(other)
    if first is None or second is None:
        return one.rstrip("/") == other.rstrip("/")
    return (*first[:3], first[3].rstrip("/")) == (*second[:3], second[3].rstrip("/"))


def hosts_of_files(index: str) -> set[str]:
    """Return the servers that have the files of an index."""
    host = host_of(index)
    return {host, *FILE_HOSTS.get(host, ())} if host else set()


def host_of(url: str) -> str:
    """Return the server of a URL, with its port unless that is the usual one; empty without."""
    parts = _parts(url)
    if parts is None:
        return ""
    return parts[1] if parts[2] in {80, 443} else f"{parts[1]}:{parts[2]}"


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Return scheme, host, port and path, in one form; None for what is no URL."""
    try:
        split = urlsplit(url.removeprefix("git+").strip())
        port = split.port or _PORTS.get(split.scheme, 0)
    except ValueError:
        return None
    if not split.scheme or (not split.hostname and split.scheme != "file"):
        return None
    return split.scheme, (split.hostname or "").lower(), port, unquote(split.path) or "/"
