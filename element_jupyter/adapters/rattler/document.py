"""The lock of a conda environment: a `pixi.lock` (version 7) below a line of ours.

    # element: {"backend": "rattler", "meaning": "…", "platform": "linux-64", "python": "3.12.4"}
    {"version": 7, "platforms": […], "environments": {…}, "packages": […]}

It names one environment on one platform, every package by URL and sha256; those of a `pip:` section
too, with the sha256 in the URL's fragment. Packages are sorted, and it has no time of its own. It
is JSON, which is YAML too: there, a hash that looks like a number is a string to everybody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urlsplit

import yaml

from element_jupyter.adapters.rattler.failures import failed
from element_jupyter.core.environments.building import FailureCode
from element_jupyter.core.environments.identity import Artefact, Backend

_HEADER: Final = "# element: "
_NUMBERS: Final = frozenset({"size", "timestamp", "legacy_bz2_size", "build_number"})
"""The keys of a package whose values are no strings."""


@dataclass(frozen=True)
class Document:
    """A lock, read."""

    meaning: str
    python: str
    platform: str
    lock: Mapping[str, Any]
    """What rattler has written: `version`, `platforms`, `environments`, `packages`."""

    @property
    def text(self) -> str:
        """What rattler reads of it."""
        return json.dumps(self.lock, indent=1) + "\n"

    @property
    def content(self) -> bytes:
        ours = {
            "backend": Backend.RATTLER.value,
            "meaning": self.meaning,
            "platform": self.platform,
            "python": self.python,
        }
        return f"{_HEADER}{json.dumps(ours)}\n{self.text}".encode()

    @property
    def conda(self) -> tuple[Artefact, ...]:
        return tuple(_conda(each) for each in self.lock["packages"] if "conda" in each)

    @property
    def wheels(self) -> tuple[Artefact, ...]:
        return tuple(_wheel(each) for each in self.lock["packages"] if "pypi" in each)

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        """Everything that is installed, by name."""
        files = (*self.conda, *self.wheels)
        return tuple(sorted(files, key=lambda each: (each.name, each.version, each.sha256)))


def from_rattler(text: str) -> dict[str, Any]:
    """Return a lock that rattler has written in YAML, with the types that it has there."""
    # this loader makes strings only: what is one in YAML 1.2 may be a number in 1.1
    lock: dict[str, Any] = yaml.load(text, yaml.CBaseLoader)  # noqa: S506
    lock["version"] = int(lock["version"])
    for package in lock["packages"]:
        for key in _NUMBERS & package.keys():
            package[key] = int(package[key])
    return lock


def parse(content: bytes) -> Document:
    """Read a lock that `Document.content` has made.

    Raises:
        EnvironmentFailed: it is none; damaged.
    """
    try:
        first, _, rest = content.decode().partition("\n")
        ours, lock = json.loads(first.removeprefix(_HEADER)), json.loads(rest)
        found = Document(ours["meaning"], ours["python"], ours["platform"], lock)
        if not found.artefacts or ours["backend"] != Backend.RATTLER:
            raise ValueError("it has no conda packages")
        for each in found.artefacts:
            # of others, rattler compares no hash
            if urlsplit(each.url).scheme not in {"http", "https"}:
                raise ValueError(f"{each.filename} is not had by http or https")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise failed(
            FailureCode.DAMAGED,
            "The lock is damaged",
            "The lock of this environment cannot be read.",
            "Lock the definition anew.",
            output=str(error),
        ) from error
    return found


def is_document(content: bytes) -> bool:
    """Tell whether it is a lock of ours, and not one of another tool."""
    return content.startswith(_HEADER.encode())


def wheel(name: str, version: str, url: str, sha256: str) -> Artefact:
    """Return a wheel as an artefact; its file's name is the end of the URL."""
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    return Artefact(name=name, version=version, sha256=sha256, filename=filename, url=url)


def _conda(package: Mapping[str, str]) -> Artefact:
    url = package["conda"]
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    stem = filename.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, _ = stem.rsplit("-", 2)
    return Artefact(
        name=package.get("name", name),
        version=package.get("version", version),
        sha256=package["sha256"],
        filename=filename,
        url=url,
    )


def _wheel(package: Mapping[str, str]) -> Artefact:
    url, fragment = urldefrag(package["pypi"])
    sha256 = package.get("sha256") or fragment.removeprefix("sha256=")
    return wheel(package["name"], package.get("version", ""), url, sha256)
