"""Hashes that people write into requirement files: uv takes no notice of them while it resolves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from packaging.utils import canonicalize_name

from element_jupyter.adapters.uv.lockfile import Document
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import (
    Definition,
    Found,
)

_HASH: Final = re.compile(r"--hash[= ](?P<algorithm>\w+):(?P<digest>[0-9a-fA-F]+)")
_NAME: Final = re.compile(r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)")


def hold_to_hashes(document: Document, found: Found) -> None:
    """Leave only those files that a person's hashes allow.

    Raises:
        EnvironmentFailed: there is none left of a package; `hash_mismatch`.
    """
    allowed = written_hashes(found.contents)
    for package in document["packages"]:
        digests = allowed.get(canonicalize_name(package["name"]))
        if not digests:
            continue
        files = [each for each in package.get("wheels", []) if _sha256(each) in digests]
        source = package.get("sdist")
        if source is not None and _sha256(source) not in digests:
            del package["sdist"]
        if "wheels" in package:
            package["wheels"] = files
        archive = package.get("archive")
        if (
            not files
            and "sdist" not in package
            and (archive is None or _sha256(archive) not in digests)
        ):
            raise _other_hash(package, found.definition)


def _sha256(file: Mapping[str, Any]) -> str:
    return str(file.get("hashes", {}).get("sha256", "")).lower()


def written_hashes(contents: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Return the sha256 digests that requirement files allow, by normalised name."""
    allowed: dict[str, set[str]] = {}
    for path, content in contents.items():
        if PurePosixPath(path).suffix not in {".txt", ".in"}:
            continue
        text = content.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        for line in text.replace("\\\n", " ").splitlines():
            name, found = _NAME.match(line), _HASH.findall(line)
            digests = {digest.lower() for kind, digest in found if kind == "sha256"}
            if name and digests:
                allowed.setdefault(canonicalize_name(name["name"]), set()).update(digests)
    return allowed


def _other_hash(package: Mapping[str, Any], definition: Definition) -> EnvironmentFailed:
    name = package["name"]
    return EnvironmentFailed(
        Failure(
            code=FailureCode.HASH_MISMATCH,
            title="A package is not the one that the hashes say",
            summary=f"{definition.path} has hashes for {name}, and the file that the index offers"
            f" for {name} {package.get('version', '')} here has another one.",
            hints=(
                "Write hashes of all platforms: `uv pip compile --universal --generate-hashes`.",
                "If they are of all platforms already, the file was changed: do not install it.",
            ),
            culprits=tuple(each for each in definition.requirements if each.name == name),
        )
    )
