"""`pylock.toml` (PEP 751): as a definition of its own, or as the lock of one beside it."""

from __future__ import annotations

import json
import posixpath
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

from element_jupyter.adapters.definitions.failures import unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft, decode
from element_jupyter.adapters.definitions.requirement import Parsed, described
from element_jupyter.adapters.definitions.sources import (
    Address,
    index_address,
    package_address,
)
from element_jupyter.adapters.definitions.toml_text import read_toml
from element_jupyter.core.environments.definitions import OriginKind

PYPI_FILES = "https://files.pythonhosted.org/"
PYPI = "https://pypi.org/simple"

_CONDA_HEADER = b"# element: "
"""How a lock of conda packages begins; what follows on the line is JSON."""

_MEANING = re.compile(r"""(?m)^meaning\s*=\s*["'](?P<meaning>[0-9a-f]{64})["']""")
_SOURCE = re.compile(r'\bsource = \{ (?P<kind>registry|git|url) = "(?P<url>[^"\s]{1,2000})"')


def is_pylock(name: str) -> bool:
    """Say whether a file name is one of PEP 751."""
    return re.fullmatch(r"pylock(\.[^./]+)?\.toml", name) is not None


def meaning_of_lock(content: bytes) -> str | None:
    """Return the meaning that a lock of ours says it was made from, None when it says none."""
    if content.startswith(_CONDA_HEADER):
        with suppress(ValueError, RecursionError):
            header = json.loads(content[len(_CONDA_HEADER) :].partition(b"\n")[0])
            said = header.get("meaning") if isinstance(header, dict) else None
            return said if isinstance(said, str) else None
        return None
    ours = content.rfind(b"[tool.element]")
    found = _MEANING.search(content[ours:].decode(errors="replace")) if ours >= 0 else None
    return found["meaning"] if found else None


def read_pylock(draft: Draft, path: str) -> None:
    """Read a lone lock into a draft.

    Raises:
        EnvironmentFailed: it is no lock of PEP 751, or installs from paths.
    """
    content = draft.reader.raw(path)
    if content is None:
        raise unreadable(f"{path} is not a file.", "Create it, or remove the name.", file=path)
    text = decode(content, path, limit_bytes=None)
    draft.take(path, content, text)
    draft.entry = draft.lock_path = path
    document = read_toml(text, path)
    version, packages = document.get("lock-version"), document.get("packages")
    if not isinstance(version, str) or not isinstance(packages, list):
        raise unreadable(
            f"{path} is no lock as PEP 751 has it: it has no lock-version or no packages.",
            "Write one with `uv export --format pylock.toml` or `uv pip compile`.",
            file=path,
        )
    if version.partition(".")[0] != "1":
        raise unsupported(
            f"{path} has lock-version {version[:20]}, and only 1 is known.",
            "Write it anew with a tool that writes version 1.0.",
            file=path,
        )
    if isinstance(asked := document.get("requires-python"), str):
        draft.python.append((asked, path))
    for package in packages:
        _read_package(draft, package, path)


def origins_of_uv_lock(content: bytes) -> tuple[tuple[str, str], ...]:
    """Return kind (`registry`, `git`, `url`) and address of the places that a `uv.lock` names."""
    return _origins_of_uv_lock(content)


@lru_cache(maxsize=8)
def _origins_of_uv_lock(content: bytes) -> tuple[tuple[str, str], ...]:
    found = _SOURCE.finditer(content.decode(errors="replace"))
    return tuple(sorted({(each["kind"], each["url"]) for each in found}))


def note_uv_lock(draft: Draft, path: str, content: bytes) -> None:
    """Note where the packages of a `uv.lock` come from."""
    for kind, url in origins_of_uv_lock(content):
        if kind == "registry":
            address = index_address(url)
        else:
            # what follows is the revision, and trust is given to the repository
            address = package_address(f"git+{url.partition('?')[0]}" if kind == "git" else url)
        draft.comes_from(address, path, None, url)


def _read_package(draft: Draft, package: Any, path: str) -> None:
    name = package.get("name") if isinstance(package, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise unreadable(
            f"{path} has a package without a valid name.", "Write the lock anew.", file=path
        )
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if "directory" in package:
        raise unsupported(
            f"'{name}' in {path} is a directory: files of the project belong to the code.",
            "Write the lock without the project itself, as `uv export --no-emit-project` does.",
            file=path,
            spec=name,
            name=normal,
        )
    version = package.get("version")
    spec = f"{name}=={version}" if isinstance(version, str) else name
    parsed = Parsed(normal, spec, "", pinned=True, extras=frozenset())
    draft.require(described(parsed, spec[:200], path, None))
    for address, written in _places(package):
        draft.comes_from(address, path, None, written)


def _places(package: dict[str, Any]) -> list[tuple[Address, str]]:
    found = []
    for key, prefix in (("vcs", "git+"), ("archive", "")):
        table = package.get(key)
        url = table.get("url") if isinstance(table, dict) else None
        if isinstance(url, str):
            found.append((package_address(prefix + url.removeprefix(prefix)), url))
    if isinstance(index := package.get("index"), str):
        return [*found, (index_address(index), index)]
    wheels = package.get("wheels")
    for wheel in wheels if isinstance(wheels, list) else ():
        url = wheel.get("url") if isinstance(wheel, dict) else None
        if isinstance(url, str) and url.startswith(PYPI_FILES):
            found.append((Address(OriginKind.INDEX, PYPI), ""))
        elif isinstance(url, str):
            server = re.sub(r"(://[^/]*).*", r"\1", url)
            found.append((package_address(server), url))
    return list(dict.fromkeys(found))


def lock_name(path: str, kind: str, variant: str | None) -> str:
    """Return where the lock of a definition is written: beside it, by a name that tools accept.

    PEP 751 allows `pylock.toml` and `pylock.<name>.toml`, with no dot in the name.
    """
    directory, name = posixpath.split(path)
    stem = re.sub(r"[^a-z0-9_]+", "-", posixpath.splitext(name)[0].lower()).strip("-")
    if variant and stem.endswith(f"-{variant.lower()}"):
        variant = None
    if kind == "pyproject":
        own = "uv.lock"
    elif kind == "conda":
        own = f"{'-'.join(filter(None, (stem, variant)))}.pixi.lock"
    elif kind == "pixi":
        own = "pixi.lock"
    elif kind == "pylock":
        own = name
    else:
        parts = [stem if stem != "requirements" or kind == "inline" else "", variant or ""]
        label = "-".join(filter(None, parts))
        own = f"pylock.{label}.toml" if label else "pylock.toml"
    return posixpath.join(directory, own)
