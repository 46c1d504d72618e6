"""What names an environment: the hashes of what is in it, never the text of its definition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from element_jupyter.core.values import Digest, Value

SCHEMA = 1
"""Raised when environments of the same artefacts must be built anew."""

EnvironmentId = Annotated[str, StringConstraints(pattern=r"^(py|cf)-[0-9a-f]{32}$")]
"""`py-` (uv) or `cf-` (conda) and 32 hexadecimal digits; safe as a path segment."""


class Backend(StrEnum):
    """What locks and installs."""

    UV = "uv"
    RATTLER = "rattler"


class Interpreter(Value):
    """A Python on this machine."""

    path: str
    implementation: str
    """`cpython`."""
    version: str
    """All of it: `3.11.7`."""
    build: Digest
    """sha256 of `sys.version`, which names compiler and date of build."""
    platform: str
    """`linux-x86_64-glibc2.36`; of a conda lock `linux-64`."""


class Artefact(Value):
    """One file that is installed."""

    name: str
    version: str
    sha256: Digest
    filename: str = ""
    url: str = ""
    """Where it comes from, without credentials."""


def environment_id(
    backend: Backend, platform: str, artefacts: Iterable[Artefact], interpreter: Interpreter | None
) -> str:
    """Return the id of what these artefacts make; a conda lock brings its interpreter along."""
    rows = sorted((each.name, each.version, each.sha256) for each in artefacts)
    python = interpreter and [interpreter.implementation, interpreter.version, interpreter.build]
    document = json.dumps([SCHEMA, backend, python, platform, rows], separators=(",", ":"))
    prefix = {Backend.UV: "py", Backend.RATTLER: "cf"}[backend]
    return f"{prefix}-{hashlib.sha256(document.encode()).hexdigest()[:32]}"


def lock_id(content: bytes) -> Digest:
    """Return the name of a lock: the sha256 of its bytes, under which the blob store has it."""
    return hashlib.sha256(content).hexdigest()
