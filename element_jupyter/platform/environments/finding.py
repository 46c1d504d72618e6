"""Which definition a notebook has: on disk, in a snapshot, among the shared ones."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from element_jupyter import config
from element_jupyter.adapters import definitions
from element_jupyter.adapters.definitions import (
    DiskFiles,
    Edit,
    Missing,
    PointsAtNothing,
    document_of,
)
from element_jupyter.adapters.project import find_root
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import Files, Found, Pointer
from element_jupyter.core.errors import Invalid

DEFAULT: Final = "default"
"""The shared definition of notebooks that have none of their own."""


def find(
    settings: config.Element,
    notebook: Path,
    *,
    document: Mapping[str, Any] | None,
    pointer: Pointer | None,
    variant: str | None,
    own_lock: bool = True,
) -> Found:
    """Find the definition of a notebook or directory on disk; see `Environments.find`."""
    place = _Place.of(notebook)
    if document is None and not place.is_directory:
        document = _document(place.root / place.inside)
    found = find_in(
        settings,
        DiskFiles(place.root),
        place.inside,
        document=document,
        pointer=pointer,
        pointer_from=None,
        variant=variant,
        is_directory=place.is_directory,
        own_lock=own_lock,
    )
    return found if found.definition.name else replace(found, root=place.root)


def add(
    settings: config.Element,
    notebook: Path,
    requirements: Sequence[str],
    *,
    document: Mapping[str, Any] | None,
    variant: str | None = None,
) -> Edit:
    """Add requirements to the definition of a notebook or directory; see `Environments.add`."""
    found = find(settings, notebook, document=document, pointer=None, variant=variant)
    place = _Place.of(notebook)
    beside = posixpath.join(place.inside, "any") if place.is_directory else place.inside
    edit = definitions.add(found, DiskFiles(place.root), document, requirements, notebook=beside)
    if edit.added:
        definitions.apply(edit, place.root)
    return edit


@dataclass(frozen=True)
class _Place:
    """Where a notebook or directory is in its tree."""

    root: Path
    inside: str
    """Its path; empty for the top."""
    is_directory: bool

    @classmethod
    def of(cls, notebook: Path) -> _Place:
        path = notebook.expanduser().absolute()
        is_directory = path.is_dir()
        root = find_root(path / "any" if is_directory else path)
        real = path.resolve() if is_directory else path.parent.resolve() / path.name
        inside = real.relative_to(root).as_posix()
        return cls(root, "" if inside == "." else inside, is_directory)


def find_in(
    settings: config.Element,
    files: Files,
    notebook: str,
    *,
    document: Mapping[str, Any] | None,
    pointer: Pointer | None,
    pointer_from: str | None,
    variant: str | None = None,
    is_directory: bool = False,
    own_lock: bool = True,
) -> Found:
    """Find the definition of a notebook in a tree; `pointer_from` None is the notebook's place."""
    beside = notebook if is_directory else posixpath.dirname(notebook)
    try:
        found = definitions.find(
            files,
            notebook,
            document=document,
            pointer=pointer,
            pointer_from=beside if pointer_from is None else pointer_from,
            variant=variant,
            own_lock=own_lock,
        )
    except PointsAtNothing as error:
        named = error.pointer
        if named.target not in _names(settings):
            raise
        why = "It is pointed at by its name."
        return _shared(settings, named.target, variant or named.variant, why, own_lock=own_lock)
    if isinstance(found, Missing):
        why = "The project has no definition of its own, and this is for all that have none."
        default = _shared(settings, DEFAULT, variant, why, own_lock=own_lock)
        return replace(
            default,
            ignored=found.ignored + default.ignored,
            notices=found.notices + default.notices,
        )
    return found


def shared(settings: config.Element, *, readable_only: bool = False) -> dict[str, Found]:
    """Return the shared definitions by name.

    Raises:
        EnvironmentFailed: one cannot be read; not with `readable_only`.
    """
    found: dict[str, Found] = {}
    for name in _names(settings):
        try:
            found[name] = _shared(settings, name, None, "It is shared.")
        except (EnvironmentFailed, Invalid):
            if not readable_only:
                raise
    return found


def shared_directory(settings: config.Element) -> Path:
    """Return where the shared definitions are: as configured, or those that come with Element."""
    if settings.environments_dir:
        return Path(settings.environments_dir)
    package = Path(config.__file__).parent
    packaged = package / "shared_environments"
    return packaged if packaged.is_dir() else package.parent / "hub_config" / "environments"


def _names(settings: config.Element) -> list[str]:
    try:
        with os.scandir(shared_directory(settings)) as entries:
            return sorted(
                each.name for each in entries if each.is_dir() and not each.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _shared(
    settings: config.Element, name: str, variant: str | None, why: str, *, own_lock: bool = True
) -> Found:
    directory = shared_directory(settings)
    if name not in _names(settings):
        raise Invalid(
            f"There is no shared environment '{name}' in {directory}.",
            f"Make the directory {directory / name} with a definition file in it, or correct "
            "Element.environments_dir.",
            field="environment",
        )
    found = definitions.shared(DiskFiles(directory), name, variant=variant, own_lock=own_lock)
    definition = found.definition.model_copy(update={"why": why})
    return replace(found, definition=definition, root=directory)


def _document(notebook: Path) -> Mapping[str, Any] | None:
    """Return a notebook's JSON; empty when it says nothing of its environment."""
    if notebook.suffix != ".ipynb":
        return None
    try:
        content = notebook.read_bytes()
    except OSError:
        return {}  # one that is not saved yet has a definition beside it all the same
    return document_of(content) or {}
