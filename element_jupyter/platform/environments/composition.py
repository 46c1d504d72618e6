"""`Environments`: the one object through which every process of ours deals with environments.

It is made by `environments(settings)` and holds no connection and no lock, so making one costs
nothing. What blocks (`lock`, `ensure`, `ensure_locked`, `verify`, …) is for processes made for it;
servers use `find`, `state_of`, `start_build`, `events` and `cancel`, which wait for no tool.

Environments are made by processes of their own (`build_process`), which outlive whoever asked: the
kernel that is restarted, the server that is closed, the command that is interrupted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from element_jupyter import config
from element_jupyter.core.environments.building import (
    BuildEvent,
    Locked,
    Tell,
)
from element_jupyter.core.environments.definitions import (
    Files,
    Found,
    Origin,
    Pointer,
)
from element_jupyter.core.environments.identity import lock_id
from element_jupyter.core.environments.keeping import (
    EnvironmentSummary,
    Holder,
    Manifest,
    NotebookEnvironment,
    Pin,
    Verification,
)
from element_jupyter.core.values import Digest
from element_jupyter.platform.environments import finding
from element_jupyter.platform.environments.builds import Build, Request
from element_jupyter.platform.environments.following import follow, made_by
from element_jupyter.platform.environments.lookup import Lookup, writing

if TYPE_CHECKING:  # on the way of every kernel's start nothing is imported that it does not need
    from element_jupyter.adapters.definitions import Edit
    from element_jupyter.platform.environments.ensuring import Maker
    from element_jupyter.platform.environments.lock_files import LockFile


@dataclass(frozen=True)
class Environment:
    """A built environment in the store."""

    manifest: Manifest
    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"


class Environments:
    """Finds, locks, builds and keeps environments."""

    def __init__(self, settings: config.Element) -> None:
        self._settings = settings
        self._lookup = Lookup(settings)

    @property
    def owner(self) -> str:
        """The person that this serves."""
        return str(self._settings.owner)

    # ------------------------------------------------------------------------------------- finding

    def find(
        self,
        notebook: Path,
        *,
        document: Mapping[str, Any] | None = None,
        pointer: Pointer | None = None,
        variant: str | None = None,
    ) -> Found:
        """Find the definition of a notebook (or directory) on disk, or the default one.

        The search ends at `find_root(notebook)`, which a job's snapshot has as its top, so that
        both find the same. `document` is the notebook's JSON when it is at hand; else it is read,
        for inline definitions and pointers. `pointer` wins over what the notebook says, and is
        relative to the notebook's directory.

        Raises:
            EnvironmentFailed: what was found cannot be read; names file and line.
            Invalid: the pointer points at nothing.
        """
        return finding.find(
            self._settings, notebook, document=document, pointer=pointer, variant=variant
        )

    def find_in(
        self,
        files: Files,
        notebook: str,
        *,
        document: Mapping[str, Any] | None = None,
        pointer: Pointer | None = None,
    ) -> Found:
        """Find the same in a snapshot; a job's pointer is relative to the top.

        Raises:
            EnvironmentFailed, Invalid: as `find`.
        """
        return finding.find_in(
            self._settings, files, notebook, document=document, pointer=pointer, pointer_from=""
        )

    def shared(self) -> dict[str, Found]:
        """Return the shared definitions by name; `default` is among them.

        Raises:
            EnvironmentFailed: one cannot be read.
        """
        return finding.shared(self._settings)

    # ----------------------------------------------------------------------------- without waiting

    def ready(self, found: Found) -> Environment | None:
        """Return the built environment of a definition, if there is one: at most 5 ms.

        Raises:
            EnvironmentFailed: no Python here is what it asks for.
        """
        kept = self._lookup.ready(self._lookup.target(found.definition), found)
        return Environment(*kept) if kept else None

    def get(self, environment_id: str) -> Environment | None:
        """Return a built environment by its id."""
        kept = self._lookup.store.get(environment_id)
        return Environment(*kept) if kept else None

    def state_of(self, found: Found) -> NotebookEnvironment:
        """Say what the environment of a definition is right now, with its build if one runs."""
        from element_jupyter.platform.environments.state import state_of

        return state_of(self._settings, self._lookup, found)

    def start_build(self, found: Found, *, upgrade: bool = False) -> str:
        """Start a process that builds, unless one does already; return the build's id.

        The process outlives this one. What goes wrong is told by the build's events.

        Raises:
            EnvironmentFailed: the disk is full.
            Unavailable: the store cannot be written.
        """
        request = Request.of(self._settings, found=found, upgrade=upgrade)
        build_id = self._lookup.key(found.definition)
        return self._start(build_id, request, f"Reading {found.definition.title}")

    def events(self, build_id: str, after: int = 0) -> Iterator[BuildEvent | None]:
        """Yield what a build has told after `after`, then as it comes, until it has ended.

        None is yielded when there is nothing new, at most every 0.1 s, so that an asynchronous
        caller can run `next` in a thread and leave. A builder that died before the environment was
        there is told as a failure.

        Raises:
            NotFound: there is no such build.
        """
        return follow(self._build(build_id), self._lookup.store, after)

    def cancel(self, build_id: str) -> None:
        """End a build; it tells the failure `cancelled`. Nothing happens when it has ended.

        Raises:
            NotFound: it can be no build's id.
        """
        self._build(build_id).cancel()

    def end_builds(self) -> None:
        """End every process that builds for this data directory: nobody is there any more."""
        for directory in self._lookup.store.layout.builds.glob("*/"):
            Build(directory).end(self._settings.data_dir)

    # ------------------------------------------------------------------------------------ blocking

    def lock(
        self, found: Found, tell: Tell, *, upgrade: bool = False, user: str = ""
    ) -> tuple[Locked, bytes]:
        """Lock a definition, or remember how it was locked before; return the lock's bytes too.

        Raises:
            EnvironmentFailed: it cannot be locked, and why.
            Unavailable: the store cannot be written.
        """
        return self._maker.lock(found, tell, upgrade=upgrade)

    def ensure(self, found: Found, tell: Tell, *, upgrade: bool = False) -> Environment:
        """Return the environment of a definition, having locked and built it when it is not there.

        Of several that want the same at the same time, in any process, one builds.

        Raises:
            EnvironmentFailed: it cannot be made, and why.
        """
        if not upgrade and (made := self.ready(found)) is not None:
            return made
        return self.follow(self.start_build(found, upgrade=upgrade), tell)

    def ensure_locked(self, pin: Pin, content: bytes, tell: Tell) -> Environment:
        """Return the environment of a pin, having built it from its lock when it is not there.

        Raises:
            EnvironmentFailed: it cannot be made, or the lock gives another environment here.
        """
        from element_jupyter.platform.environments.ensuring import check_lock

        if (made := self.get(pin.environment_id)) is not None:
            return made
        check_lock(pin, content)
        with writing(self._settings.store):
            self._lookup.store.keep_lock(content)
        build_id = lock_id(f"{pin.environment_id} {pin.lock_id}".encode())
        request = Request.of(self._settings, pin=pin)
        return self.follow(self._start(build_id, request, f"Building {pin.definition}"), tell)

    def follow(self, build_id: str, tell: Tell) -> Environment:
        """Pass on what a build tells until it has ended, and return what it has made.

        Raises:
            EnvironmentFailed: it has failed.
            NotFound: there is no such build.
        """
        return Environment(*made_by(self._lookup, self.events(build_id), tell))

    def lock_content(self, lock_id: str) -> bytes | None:
        """Return a lock that this store remembers."""
        return self._lookup.store.lock_content(lock_id)

    # ------------------------------------------------------------------------------ people's files

    def add(
        self,
        notebook: Path,
        requirements: Sequence[str],
        *,
        document: Mapping[str, Any] | None = None,
    ) -> Edit:
        """Add requirements to the definition of a notebook or directory, and write it.

        Where the default definition applies, the notebook gets a `requirements.txt` of its own.

        Raises:
            Invalid: one is no requirement, or the definition cannot be added to.
            Conflict: the file has changed meanwhile.
            EnvironmentFailed: the definition cannot be read.
        """
        return finding.add(self._settings, notebook, requirements, document=document)

    def lock_file(
        self,
        notebook: Path,
        tell: Tell,
        *,
        pointer: Pointer | None = None,
        variant: str | None = None,
        upgrade: bool = False,
        write: bool = True,
    ) -> LockFile:
        """Lock the definition of a notebook or directory, and write the lock beside it.

        Raises:
            EnvironmentFailed: it cannot be locked.
            Invalid: its lock is another tool's to write, or cannot be written there.
        """
        from element_jupyter.platform.environments.lock_files import lock_beside

        wanted: dict[str, Any] = {"document": None, "pointer": pointer, "variant": variant}
        return lock_beside(
            self._maker,
            finding.find(self._settings, notebook, **wanted),
            lambda: finding.find(self._settings, notebook, **wanted, own_lock=False),
            tell,
            upgrade=upgrade,
            write=write,
        )

    # ------------------------------------------------------------------------------------- keeping

    def hold(self, environment_id: str, holder: Holder) -> bool:
        """Say that a process uses an environment; False when that has been removed meanwhile."""
        return self._lookup.store.hold(environment_id, holder)

    def release(self, environment_id: str, holder_id: str) -> None:
        """Say that it uses the environment no longer."""
        self._lookup.store.release(environment_id, holder_id)

    def summaries(self) -> list[EnvironmentSummary]:
        """Return what is in the store, last used first; takes as long as counting files does."""
        from element_jupyter.platform.environments import keeping

        return keeping.summaries(self._settings, self._lookup, self._shared_ids())

    def verify(self, environment_id: str, *, quick: bool = False) -> Verification:
        """Compare every file of an environment with its lock; `quick` looks at sizes and times.

        Raises:
            NotFound: there is no such environment.
        """
        return self._lookup.store.verify(environment_id, quick=quick)

    def repair(self, environment_id: str, tell: Tell) -> Environment:
        """Take a damaged environment away, and build it again from its lock.

        Raises:
            NotFound: there is no such environment.
            EnvironmentFailed: it cannot be built.
        """
        from element_jupyter.platform.environments import keeping

        pin, content = keeping.quarantine(self._lookup, environment_id)
        return self.ensure_locked(pin, content, tell)

    def compile_bytecode(self) -> None:
        """Give environments the byte-code that they lack: the rest of what was interrupted.

        Raises:
            EnvironmentFailed: the disk is full.
        """
        from element_jupyter.platform.environments import keeping

        with writing(self._settings.store):
            self._lookup.store.layout.prepare()
            keeping.compile_bytecode(self._lookup)

    def prune(self, unused_for: timedelta, *, dry_run: bool = False) -> list[EnvironmentSummary]:
        """Remove what no kernel, run, job or shared name uses, and what was not used for so long.

        Returns what was (or would be) removed.
        """
        from element_jupyter.platform.environments import keeping

        shared = self._shared_ids().values()
        return keeping.prune(self._settings, self._lookup, shared, unused_for, dry_run=dry_run)

    def remove(self, environment_id: str) -> None:
        """Remove one environment that nothing uses.

        Raises:
            NotFound: there is none of this id.
            Conflict: something uses it; says what.
        """
        from element_jupyter.platform.environments import keeping

        keeping.remove(self._settings, self._lookup, self._shared_ids(), environment_id)

    def trust(self, project: Path, origins: Iterable[Origin], who: str) -> None:
        """Record that a person lets definitions of a project (`Found.root`) use these origins.

        Raises:
            Unavailable: it cannot be recorded.
        """
        from element_jupyter.platform.environments.rules import Trust

        Trust(self._settings.store).add(project, origins, who)

    # -------------------------------------------------------------------------------------- inside

    @functools.cached_property
    def _maker(self) -> Maker:
        from element_jupyter.platform.environments.ensuring import Maker

        return Maker(self._settings, os.environ)

    def _build(self, build_id: str) -> Build:
        return Build.of(self._settings.store, build_id)

    def _start(self, build_id: Digest, request: Request, message: str) -> Digest:
        from element_jupyter.platform.environments.keeping import note_data_directory
        from element_jupyter.platform.environments.starting import start

        with writing(self._settings.store):
            note_data_directory(self._settings)
            start(Build(self._lookup.store.build_directory(build_id)), request, message)
        return build_id

    def _shared_ids(self) -> dict[str, str]:
        """Return the ids of the shared environments that are locked, by their names."""
        found: dict[str, str] = {}
        for name, each in finding.shared(self._settings, readable_only=True).items():
            indexed = self._lookup.store.indexed(self._lookup.key(each.definition))
            if indexed is not None:
                found[name] = indexed.environment_id
        return found


def environments(settings: config.Element) -> Environments | None:
    """Compose what a process needs; None when `Element.environments` is off."""
    return Environments(settings) if settings.environments else None
