"""From a definition to what is built of it: file reads only, no tool, no lock."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from element_jupyter import config
from element_jupyter.adapters.environment_store import EnvironmentStore
from element_jupyter.adapters.environment_store.layout import room
from element_jupyter.adapters.uv import Interpreters
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import Definition, Found, Kind, definition_key
from element_jupyter.core.environments.identity import Backend, Interpreter
from element_jupyter.core.environments.keeping import Manifest
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.values import Digest
from element_jupyter.platform.environments.engines import conda_platform
from element_jupyter.platform.environments.rules import may_use


@dataclass(frozen=True)
class Target:
    """What a definition is made for on this machine."""

    backend: Backend
    interpreter: Interpreter | None
    """None for conda, whose interpreter is among the packages."""
    platform: str
    key: Digest
    """Under which its lock is remembered, and the id of its build."""


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Put into words why nothing can be written to the store.

    Raises:
        EnvironmentFailed: the disk is full.
        Unavailable: it may not be written, or is no directory.
    """
    try:
        with room(store):
            yield
    except OSError as error:
        raise Unavailable(
            f"The store of environments in {store} cannot be written: {error.strerror}.",
            "Make it writable, or choose another directory: Element.environment_store.",
        ) from error


class Lookup:
    """The store of a deployment, and what of definitions is in it."""

    def __init__(self, settings: config.Element) -> None:
        self._settings = settings

    @functools.cached_property
    def store(self) -> EnvironmentStore:
        return EnvironmentStore(self._settings.store)

    def interpreters(self, variables: Mapping[str, str] | None = None) -> Interpreters:
        """Return the Pythons of this machine, as these variables (default: ours) find them."""
        return Interpreters(
            self._settings.store / "interpreters.json",
            os.environ if variables is None else variables,
        )

    def target(self, definition: Definition, variables: Mapping[str, str] | None = None) -> Target:
        """Return what a definition is made for.

        Raises:
            EnvironmentFailed: no Python here is what it asks for.
        """
        if definition.kind in {Kind.PIXI, Kind.CONDA}:
            subdir = conda_platform()
            key = definition_key(definition, "", subdir)
            return Target(Backend.RATTLER, None, subdir, key)
        found = self.interpreters(variables).choose(definition.python, self._settings.python)
        key = definition_key(definition, found.version, found.platform)
        return Target(Backend.UV, found, found.platform, key)

    def key(self, definition: Definition) -> Digest:
        """Return the id of the build of a definition, of which there may be none."""
        try:
            return self.target(definition).key
        except EnvironmentFailed:
            # the build tells why there is none
            return definition_key(definition, "", "")

    def ready(self, target: Target, found: Found) -> tuple[Manifest, Path] | None:
        """Return the built environment that is remembered for a definition, if it is there.

        What another project's people have trusted is not there for this one.
        """
        indexed = self.store.indexed(target.key)
        kept = self.store.get(indexed.environment_id) if indexed else None
        if kept is None or not may_use(self._settings, found, kept[0].packages):
            return None
        return kept
