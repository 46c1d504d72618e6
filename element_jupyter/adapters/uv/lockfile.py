"""Locks as PEP 751 documents: read, put in one form, selected from, joined, written.

The form is canonical: packages and files sorted, keys in one order, no times, no credentials; so
the same resolution gives the same bytes, whoever made it. Locks of people are universal more often
than not; nothing of that is lost, but for source distributions that may not be built anyway.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.version import Version

from element_jupyter.adapters.uv.interpreters import Target
from element_jupyter.adapters.uv.process import without_credentials
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Requirement
from element_jupyter.core.environments.identity import Artefact, Backend

SCHEMA: Final = 1
"""Of `[tool.element]`."""

_USER: Final = re.compile(r"(?<=//)[^/@]*@")

Document = dict[str, Any]
Source = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist


def read(content: bytes, name: str = "pylock.toml") -> Document:
    """Return a lock as a document that is known to be valid.

    Raises:
        EnvironmentFailed: it is not; `parse_error`.
    """
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
        Pylock.from_dict(document)
    except PylockUnsupportedVersionError as error:
        raise _malformed(name, f"{error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise _malformed(name, f"It is no valid lock: {error}.") from error
    return document


def ours(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Element wrote about a lock into it; empty for one of others."""
    tool = document.get("tool")
    said = tool.get("element") if isinstance(tool, dict) else None
    return said if isinstance(said, dict) else {}


def select(
    document: Mapping[str, Any],
    target: Target,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] | None = None,
) -> list[tuple[Package, Source]]:
    """Return what of a lock is installed for an interpreter, sorted by name.

    Raises:
        EnvironmentFailed: it has nothing that fits; `no_wheel` or `python_mismatch`.
    """
    lock = Pylock.from_dict(document)
    try:
        chosen = list(
            lock.select(
                environment=target.environment,  # type: ignore[arg-type]
                tags=target.tags,
                extras=extras,
                dependency_groups=groups,
            )
        )
    except PylockSelectError as error:
        raise _unselectable(str(error)) from error
    return sorted(chosen, key=lambda each: each[0].name)


def artefact(package: Package, source: Source) -> Artefact:
    """Return what of a package is installed.

    A commit of a repository has no file; its hash is that of the commit's address and name.

    Raises:
        EnvironmentFailed: it has no sha256; `hash_mismatch`.
    """
    if isinstance(source, PackageVcs):
        what = [source.type, source.url, source.commit_id, source.subdirectory]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        return Artefact(
            name=package.name,
            version=str(package.version or source.commit_id[:12]),
            sha256=digest,
            url=source.url or "",
        )
    digest = "" if isinstance(source, PackageDirectory) else source.hashes.get("sha256", "")
    if isinstance(source, PackageDirectory) or not digest:
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.HASH_MISMATCH,
                title="A package cannot be verified",
                summary=f"The lock has no sha256 of {package.name}, so what is installed could be"
                " anything.",
                hints=("Make the lock anew with a tool that writes sha256 hashes, such as uv.",),
            )
        )
    url = source.url or ""
    filename = getattr(source, "filename", "") or unquote(urlsplit(url).path.rpartition("/")[2])
    return Artefact(
        name=package.name,
        version=str(package.version or "0"),
        sha256=digest,
        filename=filename,
        url=url,
    )


def reduced(chosen: Iterable[tuple[Package, Source]]) -> list[Document]:
    """Return packages with one file each, and no condition."""
    packages = []
    for package, source in chosen:
        table = {"name": str(package.name)}
        if package.version is not None:
            table["version"] = str(package.version)
        if package.index is not None:
            table["index"] = package.index
        packages.append(table | _table_of(package, source))
    return packages


def _table_of(package: Package, source: Source) -> Document:
    """Return a chosen source as it is written in the lock."""
    lock = Pylock(
        lock_version=Version("1.0"),
        created_by="element",
        packages=[
            Package(
                name=package.name,
                version=package.version,
                vcs=source if isinstance(source, PackageVcs) else None,
                directory=source if isinstance(source, PackageDirectory) else None,
                archive=source if isinstance(source, PackageArchive) else None,
                sdist=source if isinstance(source, PackageSdist) else None,
                wheels=[source] if isinstance(source, PackageWheel) else None,
            )
        ],
    )
    (table,) = lock.to_dict()["packages"]
    return {
        key: table[key]
        for key in ("vcs", "directory", "archive", "sdist", "wheels")
        if key in table
    }


def tidied(packages: Iterable[Mapping[str, Any]], *, may_build: Collection[str]) -> list[Document]:
    """Return packages in the canonical form; no source distributions but of those in `may_build`.

    `*` in it is all. What is left without a file is left out.
    """
    kept = []
    for package in packages:
        table = {key: value for key, value in package.items() if key in _PACKAGE_KEYS}
        if "*" not in may_build and table["name"] not in may_build and table.get("wheels"):
            table.pop("sdist", None)
        for kind in ("vcs", "directory", "archive", "sdist"):
            if kind in table:
                table[kind] = _plain_file(table[kind])
        if "wheels" in table:
            wheels = [_plain_file(each) for each in table["wheels"]]
            table["wheels"] = sorted(wheels, key=lambda each: json.dumps(each, sort_keys=True))
        if "index" in table:
            table["index"] = _plain_url(table["index"])
        kept.append(table)
    return sorted(kept, key=lambda each: json.dumps(each, sort_keys=True))


def written(
    packages: Sequence[Mapping[str, Any]],
    *,
    requires_python: str = "",
    meaning: str = "",
    python: str = "",
    indexes: Mapping[str, str] | None = None,
    consistent: bool = True,
    built: Mapping[str, Mapping[str, str]] | None = None,
) -> bytes:
    """Return the bytes of a lock.

    `meaning` is the definition's, `python` the full version of the interpreter that it was made
    for, `indexes` the URLs of the definition's own indexes by the names under which credentials are
    kept; not `consistent` is one whose definition overrides what packages say that they need.
    `built` has the wheels that were made of source, see `building`.

    Raises:
        EnvironmentFailed: something in it looks like a credential, which nothing may keep.
    """
    lines = [
        'lock-version = "1.0"',
        'created-by = "element"',
        *([f"requires-python = {_text(requires_python)}"] if requires_python else []),
    ]
    for package in packages:
        lines += ["", "[[packages]]"]
        for key in _PACKAGE_KEYS:
            value = package.get(key)
            if key == "wheels" and value:
                lines += ["wheels = [", *(f"    {_inline(each)}," for each in value), "]"]
            elif value is not None and key != "wheels":
                lines.append(f"{key} = {_value(value)}")
    lines += [
        "",
        "[tool.element]",
        f"schema = {SCHEMA}",
        f"backend = {_text(Backend.UV)}",
        f"python = {_text(python)}",
        f"meaning = {_text(meaning)}",
    ]
    if not consistent:
        lines.append("consistent = false")
    if indexes:
        lines += ["", "[tool.element.indexes]"]
        lines += [f"{_text(name)} = {_text(_plain_url(indexes[name]))}" for name in sorted(indexes)]
    for name, wheel in sorted((built or {}).items()):
        lines += ["", f"[tool.element.built.{_text(name)}]"]
        lines += [f"{key} = {_text(value)}" for key, value in wheel.items()]
    text = "\n".join(lines) + "\n"
    if without_credentials(text) != text and re.search(r"://[^/\s\"@]*:[^/\s\"@]*@", text):
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.INTERNAL,
                title="The lock has credentials in it",
                summary="A URL in the lock has a password, and the lock was thrown away.",
                hints=("Put credentials into ~/.netrc, not into URLs.",),
            )
        )
    return text.encode()


def preferences(document: Mapping[str, Any]) -> bytes:
    """Return a lock that prefers the versions of another, and holds to nothing else of it."""
    versions = {
        (each["name"], each["version"]) for each in document["packages"] if "version" in each
    }
    lines = ['lock-version = "1.0"', 'created-by = "element"']
    for name, version in sorted(versions):
        lines += ["[[packages]]", f"name = {_text(name)}", f"version = {_text(version)}"]
    return ("\n".join(lines) + "\n").encode()


def uv_preferences(document: Mapping[str, Any], index: str) -> bytes:
    """Return a `uv.lock` that prefers the versions of a lock; `index` is of those without one.

    A package of several versions, for several systems, has none that is preferred.
    """
    named: dict[str, set[tuple[str, str]]] = {}
    for each in document["packages"]:
        if "version" in each and "wheels" in each:
            versions = named.setdefault(each["name"], set())
            versions.add((each["version"], each.get("index") or index))
    lines = ["version = 1", 'requires-python = ">=3"']
    for name, versions in sorted(named.items()):
        if len(versions) == 1:
            ((version, registry),) = versions
            lines += ["", "[[package]]", f"name = {_text(name)}", f"version = {_text(version)}"]
            lines.append(f"source = {{ registry = {_text(registry)} }}")
    return ("\n".join(lines) + "\n").encode()


# ------------------------------------------------------------------------------------- canonical

_PACKAGE_KEYS: Final = (
    "name",
    "version",
    "marker",
    "requires-python",
    "index",
    "vcs",
    "directory",
    "archive",
    "sdist",
    "wheels",
)
_FILE_KEYS: Final = (
    "type",
    "name",
    "url",
    "path",
    "requested-revision",
    "commit-id",
    "subdirectory",
    "size",
    "hashes",
)


def _plain_file(table: Mapping[str, Any]) -> Document:
    file = {key: table[key] for key in _FILE_KEYS if key in table}
    if "path" in file and "url" not in file and "type" not in file:
        path = Path(file["path"])
        if path.is_absolute():
            file["url"] = path.as_uri()
            del file["path"]
    if "url" in file:
        file["url"] = _plain_url(file["url"])
    return file


def _plain_url(url: str) -> str:
    # the user of an SSH address is no secret, and part of it
    keep_user = "ssh://" in url.lower()[:12]
    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1@", url) if keep_user else _USER.sub("", url)


def _value(value: Any) -> str:
    return _inline(value) if isinstance(value, dict) else _text(str(value))


def _inline(table: Mapping[str, Any]) -> str:
    parts = []
    for key in _FILE_KEYS:
        value = table.get(key)
        if isinstance(value, dict):
            inner = ", ".join(f"{name} = {_text(value[name])}" for name in sorted(value))
            parts.append(f"{key} = {{ {inner} }}")
        elif isinstance(value, int):
            parts.append(f"{key} = {value}")
        elif value is not None:
            parts.append(f"{key} = {_text(str(value))}")
    return f"{{ {', '.join(parts)} }}"


def _text(value: str) -> str:
    # a TOML basic string is a JSON string but for DEL
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------------------------------- failures


def _malformed(name: str, why: str) -> EnvironmentFailed:
    return EnvironmentFailed(
        Failure(
            code=FailureCode.PARSE_ERROR,
            title=f"{name} cannot be read",
            summary=f"{name}: {why}",
            hints=("Write it anew with the tool that made it, for example `uv export`.",),
            culprits=(Requirement(name="", spec=name, file=name),),
        )
    )


def _unselectable(said: str) -> EnvironmentFailed:
    if match := re.search(r"No wheel found .* for package '(?P<name>[^']+)'", said):
        return EnvironmentFailed(
            Failure(
                code=FailureCode.NO_WHEEL,
                title="A package has no wheel for this machine",
                summary=f"The lock has no wheel of {match['name']} for this Python and platform.",
                hints=("Lock again here, or ask for another version of it or of Python.",),
            )
        )
    if "python_full_version" in said:
        return EnvironmentFailed(
            Failure(
                code=FailureCode.PYTHON_MISMATCH,
                title="The lock is for another Python",
                summary=f"The lock does not fit this Python: {said.replace('_', ' ')}.",
                hints=("Lock again, or say in the definition which Python it needs.",),
            )
        )
    return EnvironmentFailed(
        Failure(
            code=FailureCode.NOT_SUPPORTED,
            title="The lock does not fit this machine",
            summary=f"{said.rstrip('.')}.",
            hints=("Lock again here.",),
        )
    )
