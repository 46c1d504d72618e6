"""One requirement (PEP 508): its name, and the same text for all ways of writing it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from element_jupyter.adapters.definitions.failures import at, shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.sources import (
    name_in_address,
    package_address,
    without_credentials,
)
from element_jupyter.core.environments.definitions import Requirement

LONGEST_REQUIREMENT_CHARACTERS = 2_000

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|/|\.)")
_PATH = re.compile(r"(\.{0,2}/|~|\.$|[A-Za-z]:\\)|[^\s;@]+\.(whl|tar\.gz|zip|egg)$|[\w.-]+/[^@]*$")
_LIKE_CONDA = re.compile(r"([\w.-]+)\s*=\s*([\w.*+!-]+)$")
_WITH_SPACE = re.compile(r"([\w.-]+)\s+v?(\d[\w.]*)$")


class Parsed(NamedTuple):
    """What a requirement says."""

    name: str
    """Normalised (PEP 503)."""
    normal: str
    """The same for the same meaning; without credentials."""
    url: str
    """Of a requirement that names its file or repository; credentials included."""
    pinned: bool
    """At one version, or at one file."""
    extras: frozenset[str]


def read_requirement(draft: Draft, text: str, file: str, line: int | None) -> Parsed:
    """Read a requirement, and note what it takes from elsewhere.

    Raises:
        EnvironmentFailed: it is none, or is a path.
    """
    text = text.strip()
    if not text or len(text) > LONGEST_REQUIREMENT_CHARACTERS:
        fault = "is empty" if not text else f"has {len(text):,} characters"
        raise unreadable(
            f"A requirement in {at(file, line)} {fault}.",
            "Write a package's name and, if wanted, versions: pandas>=2,<3.",
            file=file,
            line=line,
            spec=text,
        )
    parsed = _parse(text)
    if isinstance(parsed, str):
        raise _wrong(text, parsed, file, line)
    if parsed.url:
        draft.comes_from(package_address(parsed.url), file, line, parsed.url)
    return parsed


def described(parsed: Parsed, text: str, file: str, line: int | None) -> Requirement:
    """Return a requirement as people are told of it."""
    return Requirement(name=parsed.name, spec=without_credentials(text), file=file, line=line)


def parse_named(text: str) -> Parsed | str:
    """Return what a requirement that begins with a name says, or why it is none."""
    if "\n" in text or len(text) > LONGEST_REQUIREMENT_CHARACTERS or _ADDRESS.match(text):
        return "it does not begin with a name, or has more than one line"
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Parsed | str:
    from packaging.requirements import Requirement as Packaged
    from packaging.utils import canonicalize_name

    if _ADDRESS.match(text):
        url, _, marker = text.partition(" ;")
        if " " in url.strip():
            return "There is something after the address."
        name = canonicalize_name(name_in_address(url))
        normal = without_credentials(f"{url.strip()} ;{marker.strip()}")
        return Parsed(name, normal, url.strip(), pinned=True, extras=frozenset())
    try:
        found = Packaged(text)
        name = canonicalize_name(found.name)
        extras = frozenset(canonicalize_name(each) for each in found.extras)
        versions = sorted(found.specifier, key=str)
        parts = [
            name,
            f"[{','.join(sorted(extras))}]" if extras else "",
            f"@{without_credentials(found.url)} " if found.url else "",
            ",".join(str(each) for each in versions),
            f";{found.marker}" if found.marker else "",
        ]
    except RecursionError:
        return "It is nested too deep."
    except ValueError as error:
        return str(error).partition("\n")[0]
    if re.search(r"\d{19}", ",".join(each.version for each in versions)):
        return "A number in its versions has too many digits."  # which uv refuses, too
    exact = [each for each in versions if each.operator in {"==", "==="}]
    pinned = bool(found.url) or (
        len(versions) == len(exact) == 1 and not exact[0].version.endswith(".*")
    )
    return Parsed(name, "".join(parts), found.url or "", pinned=pinned, extras=extras)


def _wrong(text: str, reason: str, file: str, line: int | None) -> Exception:
    where = at(file, line)
    if _PATH.match(text):
        return unsupported(
            f"'{shown(text)}' in {where} is a path: files of the project belong to the code.",
            "Remove it, since a notebook can import the project's own code as it is; or publish it "
            "as a wheel on an index.",
            file=file,
            line=line,
            spec=text,
        )
    hint = "Write a package's name and, if wanted, versions: pandas>=2,<3."
    if match := _LIKE_CONDA.match(text) or _WITH_SPACE.match(text):
        hint = f"Write {match[1]}=={match[2]}."
    elif match := re.match(r"(?:!|%)?\s*(?:python -m )?(?:uv )?pip3? install (.+)", text):
        hint = f"Write only what is installed: {shown(match[1])}"
    elif "::" in text:
        hint = "A channel can be named in environment.yml only; here write the name alone."
    return unreadable(
        f"'{shown(text)}' in {where} is not a requirement: {shown(reason.rstrip('.'))}.",
        hint,
        file=file,
        line=line,
        spec=text,
    )
