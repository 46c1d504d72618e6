"""A person's own lock of conda packages: `pixi.lock`, or one of ours beside an `environment.yml`.

It is read and never written: pixi itself is on no index of Python packages, so what its manifest
asks for cannot be solved here. The manifest is read only to see whether the lock is still of it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urldefrag, urlsplit

from packaging.utils import canonicalize_name

from element_jupyter.adapters.rattler.channels import channel_url, needs_trust, refuse_untrusted
from element_jupyter.adapters.rattler.document import wheel
from element_jupyter.adapters.rattler.environment_file import read_environment_file
from element_jupyter.adapters.rattler.failures import failed
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode, Rules
from element_jupyter.core.environments.definitions import Found, Kind, Origin, OriginKind
from element_jupyter.core.environments.identity import Artefact

Ask = Callable[..., dict[str, Any]]

FILES_OF: Final = {"pypi.org": "files.pythonhosted.org"}
"""Where an index has its files, when not at its own address."""


def without_lock(found: Found) -> EnvironmentFailed:
    """Return the failure of a pixi project that was never locked."""
    return failed(
        FailureCode.NOT_SUPPORTED,
        "There is no pixi.lock",
        f"{found.definition.path} is a pixi project without a pixi.lock, and only pixi makes one.",
        "Run `pixi lock`, and keep pixi.lock beside it.",
    )


def read(
    found: Found, rules: Rules, scratch: Path, ask: Ask
) -> tuple[dict[str, Any], tuple[Artefact, ...]]:
    """Read the environment of a lock that a definition stands for, and its Python packages.

    Raises:
        EnvironmentFailed: it is out of date, has none for this platform, or takes packages from
            where they may not come from.
    """
    lock_path = found.definition.lock_path or ""
    path = scratch / "own.lock"
    path.write_bytes(found.contents[lock_path])
    if found.definition.kind is Kind.PIXI:
        environment = found.definition.variant or "default"
        manifest = _manifest(found)
        specs, names = (
            list(_conda_specs(manifest, environment)),
            _python_names(manifest, environment),
        )
    else:
        environment, asked = "default", read_environment_file(found, rules)
        specs, names = list(asked.specs), asked.pip_names
    answer = ask("read", path=str(path), environment=environment, specs=specs)
    wheels = tuple(file for row in answer["wheels"] if (file := _file(row, found)) is not None)
    have = {each.name for each in wheels} | set(answer["versions"])
    unmet = [*answer["unmet"], *sorted(names - have)]
    if unmet:
        raise _stale(found, unmet)
    _refuse_untrusted(found, rules, answer, wheels)
    return answer, wheels


def passed_over(found: Found) -> Iterator[str]:
    """Yield sentences about what a pixi project says and an environment here does not have.

    Raises:
        EnvironmentFailed: the manifest cannot be read.
    """
    if found.definition.kind is not Kind.PIXI:
        return
    path, manifest = found.definition.path, _manifest(found)
    tables = list(_features(manifest, found.definition.variant or "default"))
    if any("activation" in table for table in tables):
        yield (
            f"The activation of {path} is passed over: no script of it runs, and no variable of it"
            " is set."
        )
    own = sorted(
        name
        for table in tables
        for name, said in table.get("pypi-dependencies", {}).items()
        if isinstance(said, dict) and "path" in said
    )
    if own:
        yield (
            f"Not installed, being directories of the project: {', '.join(own)}. They can be"
            " imported where the project's directory is on the path."
        )


def _stale(found: Found, unmet: list[str]) -> EnvironmentFailed:
    lock = found.definition.lock_path or ""
    remake = (
        "`pixi lock`"
        if found.definition.kind is Kind.PIXI
        else "`element env lock`, or remove the lock"
    )
    return failed(
        FailureCode.NO_SOLUTION,
        f"{lock.rpartition('/')[2]} is out of date",
        f"{found.definition.path} asks for {', '.join(unmet[:5])}, and {lock} does not have it.",
        f"Run {remake}.",
    )


def _refuse_untrusted(
    found: Found, rules: Rules, answer: Mapping[str, Any], wheels: tuple[Artefact, ...]
) -> None:
    """Refuse a lock by where its files are: what it says of channels and indexes proves nothing."""
    channels = {channel_url(each, rules) for each in answer["from"]}
    refuse_untrusted(found, sorted(channels), rules)
    # an index may be given with a name: `ours=https://…`
    known = [re.sub(r"^[\w.-]+=(?=https?://)", "", each) for each in rules.index_urls]
    known += rules.find_links
    known += [each.location for each in rules.trusted if each.kind is not OriginKind.CHANNEL]
    hosts = {urlsplit(each).netloc for each in known}
    hosts |= {there for index, there in FILES_OF.items() if index in hosts}
    parts = [urlsplit(each.url) for each in wheels]
    foreign = {f"{each.scheme}://{each.netloc}" for each in parts if each.netloc not in hosts}
    if foreign:
        named_in = found.definition.lock_path or ""
        raise needs_trust(
            Origin(kind=OriginKind.INDEX, location=each, named_in=named_in)
            for each in sorted(foreign)
        )


def _file(row: Mapping[str, str], found: Found) -> Artefact | None:
    """Return a Python package of a lock; None for the project itself, which is not installed."""
    name, (url, fragment) = canonicalize_name(row["name"]), urldefrag(row["url"])
    if url in {".", "./"}:
        return None
    sha256 = row["sha256"] or fragment.removeprefix("sha256=")
    parts = urlsplit(url)
    lock = found.definition.lock_path
    if parts.scheme not in {"http", "https"} or len(sha256) != 64 or "@" in parts.netloc:
        raise failed(
            FailureCode.NOT_SUPPORTED,
            "A package of the lock cannot be verified",
            f"{name} in {lock} is a directory, a repository, or has no sha256.",
            "Depend on a released version of it; code of the project itself needs no package.",
        )
    if not parts.path.endswith(".whl"):
        raise failed(
            FailureCode.NO_WHEEL,
            "A package has no wheel",
            f"{name} in {lock} is source code, which is not built on top of conda packages.",
            "Take a version that has a wheel, or the conda package.",
        )
    return wheel(name, row["version"], url, sha256)


# ---------------------------------------------------------------------------------- the manifest


def _manifest(found: Found) -> dict[str, Any]:
    """Return what a pixi manifest says; from a `pyproject.toml`, its `[tool.pixi]`."""
    entry = found.definition.entry
    try:
        document = tomllib.loads(found.contents[entry].decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise failed(
            FailureCode.PARSE_ERROR,
            "The definition cannot be read",
            f"{found.definition.path} is no TOML: {error}.",
        ) from error
    if entry.rpartition("/")[2] == "pyproject.toml":
        document = document.get("tool", {}).get("pixi", {})
    return document


def _features(manifest: Mapping[str, Any], environment: str) -> Iterator[Mapping[str, Any]]:
    """Yield the tables that have the dependencies of an environment."""
    said = manifest.get("environments", {}).get(environment, [])
    features = said if isinstance(said, list) else said.get("features", [])
    tables = [] if isinstance(said, dict) and said.get("no-default-feature") else [manifest]
    tables += [manifest.get("feature", {}).get(name, {}) for name in features]
    for table in tables:
        yield table
        targets = table.get("target", {})
        yield from (targets[name] for name in ("unix", "linux") if name in targets)


def _conda_specs(manifest: Mapping[str, Any], environment: str) -> Iterator[str]:
    for table in _features(manifest, environment):
        for name, said in table.get("dependencies", {}).items():
            version = said.get("version", "*") if isinstance(said, dict) else said
            yield f"{name} {version}"


def _python_names(manifest: Mapping[str, Any], environment: str) -> frozenset[str]:
    return frozenset(
        canonicalize_name(name)
        for table in _features(manifest, environment)
        for name, said in table.get("pypi-dependencies", {}).items()
        if not (isinstance(said, dict) and "path" in said)
    )
