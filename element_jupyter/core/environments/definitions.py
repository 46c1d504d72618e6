"""What is found beside a notebook, which of it counts, and why."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Protocol

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from element_jupyter.core.errors import Invalid
from element_jupyter.core.values import Digest, Value

DEFINITION_FILES: Final = (
    "pixi.toml",
    "pyproject.toml",
    "environment.yml",
    "environment.yaml",
    "requirements.txt",
    "requirements.in",
    "pylock.toml",
)
"""In the order of precedence inside one directory; a `binder/` or `.binder/` in it comes after."""

LARGEST_DEFINITION_BYTES: Final = 10_000_000
"""Limit of one file; a `uv.lock` of 500 packages has 1 MB."""


class Kind(StrEnum):
    """What a definition is written as."""

    INLINE = "inline"
    PIXI = "pixi"
    PYPROJECT = "pyproject"
    CONDA = "conda"
    REQUIREMENTS = "requirements"
    PYLOCK = "pylock"


class OriginKind(StrEnum):
    """What else than the deployment's own indexes a definition takes packages from."""

    INDEX = "index"
    FIND_LINKS = "find_links"
    CHANNEL = "channel"
    URL = "url"
    VCS = "vcs"
    SDIST = "sdist"
    """A package that exists as source only: its location is the package's name."""


class Origin(Value):
    """A place that packages come from, without credentials, and where it is named."""

    kind: OriginKind
    location: str
    named_in: str = ""
    """`requirements.txt:3`."""


class Requirement(Value):
    """One requirement as a person wrote it."""

    name: str
    """Normalised (PEP 503)."""
    spec: str
    """As written, without credentials."""
    file: str
    line: int | None = None


class Ignored(Value):
    """A file that was found and does not count, and why: one sentence without a full stop."""

    path: str
    reason: str


class Definition(Value):
    """What names the packages of a notebook; paths are relative to the tree it was found in."""

    kind: Kind
    path: str
    """The file; for an inline definition the notebook."""
    name: str | None = None
    """Of a shared environment, when it is one; `default` when nothing was found."""
    why: str
    """One sentence: why this one and no other."""
    entry: str
    """The file among `Found.contents` that the locker starts from."""
    lock_path: str | None = None
    """A lock of the person's own among `Found.contents`: `uv.lock`, `pixi.lock`, `pylock.toml`."""
    files: dict[str, Digest]
    """Every file that counts (the closure), by its path, with its sha256."""
    meaning: Digest
    """sha256 of what the files say, normalised: comments, order and line ends do not count."""
    python: str = ""
    """PEP 440 specifiers that the interpreter must meet; empty is any."""
    python_from: str = ""
    """The file that says so."""
    requirements: tuple[Requirement, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    variant: str | None = None
    variants: tuple[str, ...] = ()
    """The variants that the definition offers."""
    origins: tuple[Origin, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: `requirements.txt`, `gpu (shared)`, `train.ipynb, inline`."""
        if self.name is not None:
            return f"{self.name} (shared)"
        inline = ", inline" if self.kind is Kind.INLINE else ""
        variant = f" [{self.variant}]" if self.variant else ""
        return f"{self.path}{inline}{variant}"


@dataclass(frozen=True)
class Found:
    """The answer of a search: what counts, what does not, and what to say about it."""

    definition: Definition
    contents: Mapping[str, bytes] = field(default_factory=dict)
    """The closure's files by path, for a scratch copy in which a locker works.

    An inline definition is the file `script.py` there. Include lines keep their relative paths.
    """
    ignored: tuple[Ignored, ...] = ()
    notices: tuple[str, ...] = ()
    """Sentences: what was found that Element never executes (`postBuild`, `apt.txt`, …), or a lock
    that is older than its definition."""
    root: Path | None = None
    """The top of the tree on disk, which trust is given to; None in a snapshot."""


class Files(Protocol):
    """A tree of files to search: a directory on disk, or a snapshot. Paths are POSIX, relative."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a regular file inside the tree; None when there is none.

        Raises:
            Invalid: it is larger than `LARGEST_DEFINITION_BYTES`, or cannot be read; named.
        """
        ...

    def names(self, directory: str) -> frozenset[str]:
        """Return the names in a directory (`""` is the top); empty when there is none."""
        ...


def definition_key(definition: Definition, python: str, platform: str) -> Digest:
    """Return the key under which the lock of a definition is remembered.

    `python` is the interpreter's full version that will be used, `platform` its platform tag.
    """
    document = [1, definition.kind, definition.meaning, definition.variant, python, platform]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


# -------------------------------------------------------------------------------------- pointers

_POINTER: Final = re.compile(r"(?P<target>[^\[\]\x00-\x1f]{1,1000})(?:\[(?P<variant>[^\[\]]*)\])?")

Variant = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
]


class Pointer(Value):
    """What a person points at instead of a search: a path, or the name of a shared environment.

    Written `envs/gpu`, `environment.yml`, `data-science`, each with a variant if wanted: `.[gpu]`.
    A path is taken from where the pointer is written (the notebook's directory, the project's top
    for a job); only if nothing is there, it is looked up as a name.
    """

    target: Annotated[str, Field(min_length=1, max_length=1000)]
    variant: Variant | None = None


def parse_pointer(text: str) -> Pointer:
    """Read a pointer from its text.

    Raises:
        Invalid: it is none; field `environment`.
    """
    match = _POINTER.fullmatch(text.strip())
    with suppress(ValidationError):
        if match is not None:
            return Pointer(target=match["target"].strip(), variant=match["variant"])
    shown = text[:80].encode(errors="replace").decode()
    raise Invalid(
        f"'{shown}' does not point at an environment.",
        "Give a file, a directory or the name of a shared environment, and if wanted a variant:"
        " environment.yml, envs/gpu, data-science[gpu].",
        field="environment",
    )


def pointer_in(notebook: Mapping[str, JsonValue]) -> Pointer | None:
    """Return what a notebook's `metadata.element.environment` points at; None without one.

    It is `{"path": …, "variant": …}` or `{"name": …}`.

    Raises:
        Invalid: it is malformed; field `environment`.
    """
    metadata = notebook.get("metadata")
    ours = metadata.get("element") if isinstance(metadata, dict) else None
    said = ours.get("environment") if isinstance(ours, dict) else None
    if said is None:
        return None
    if isinstance(said, str):
        return parse_pointer(said)
    target = (said.get("path") or said.get("name")) if isinstance(said, dict) else None
    variant = said.get("variant") if isinstance(said, dict) else None
    if not isinstance(target, str) or not isinstance(variant, str | None):
        raise Invalid(
            "The notebook's metadata.element.environment does not point at an environment.",
            'It is like {"path": "../envs/gpu"} or {"name": "data-science"}.',
            field="environment",
        )
    return parse_pointer(f"{target}[{variant}]" if variant else target)
