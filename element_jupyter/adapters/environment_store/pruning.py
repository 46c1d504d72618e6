"""What environments weigh, which of them nobody needs, and how they and all litter go."""

# there are tens of thousands of files
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from element_jupyter.adapters.environment_store.building_lock import is_held, remove_if_free
from element_jupyter.adapters.environment_store.bytecode import BytecodePool
from element_jupyter.adapters.environment_store.compared import Compared
from element_jupyter.adapters.environment_store.contents import read_manifest
from element_jupyter.adapters.environment_store.holding import Holders
from element_jupyter.adapters.environment_store.layout import Layout, remove_tree
from element_jupyter.adapters.environment_store.remembering import Memory
from element_jupyter.core.environments.keeping import Holder, Manifest
from element_jupyter.core.values import Value

LOCKS_KEPT_SECONDS: Final = 90 * 86_400.0
"""A lock that neither a definition nor an environment leads to; jobs keep theirs elsewhere."""

_COMPARED_KEPT_SECONDS: Final = 30 * 86_400.0
_BLOCK_BYTES: Final = 512


class _Size(Value):
    own_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Kept:
    """An environment of the store, what it weighs and who uses it."""

    manifest: Manifest
    own_bytes: int
    """What removing it frees: files that are only here, and directories."""
    shared_bytes: int
    """Files that other environments or the cache have too."""
    last_used_at: datetime | None
    holders: tuple[Holder, ...]


class Shelf:
    """Lists environments and takes them away."""

    def __init__(self, layout: Layout, holders: Holders, memory: Memory) -> None:
        self._layout = layout
        self._holders = holders
        self._memory = memory

    def list(self) -> list[Kept]:
        """Return all environments, the latest used first."""
        kept = [each for path in self._directories() if (each := self._kept(path)) is not None]
        return sorted(kept, key=_last, reverse=True)

    def measure(self, environment_id: str) -> _Size:
        """Return what an environment weighs; known from the last time unless it has changed."""
        note = self._layout.sizes / environment_id
        with contextlib.suppress(OSError, ValidationError):
            return _Size.model_validate_json(note.read_bytes())
        size = _measured(self._layout.environment(environment_id))
        with contextlib.suppress(OSError):
            temporary = note.with_name(f".{environment_id}.{os.getpid()}")
            temporary.write_bytes(size.model_dump_json().encode())
            temporary.replace(note)
        return size

    def measure_anew(self, environment_id: str | None = None) -> None:
        """Forget what one environment, or all, weighed: something was added or removed."""
        names = [environment_id] if environment_id else os.listdir(self._layout.sizes)
        for name in names:
            with contextlib.suppress(OSError):
                (self._layout.sizes / name).unlink()

    def prune(
        self, keep: Collection[str], unused_for: timedelta, *, dry_run: bool
    ) -> Sequence[Kept]:
        """Take away what nobody holds, keeps, or has used for a while; return it.

        What definitions were locked to is kept, so that the same versions are built again. Each
        environment goes by a rename, in a moment in which nobody begins to hold it.
        """
        limit = datetime.now(UTC) - unused_for
        going = [
            each
            for each in self.list()
            if each.manifest.environment_id not in keep
            and not each.holders
            and _last(each) <= limit
        ]
        if dry_run:
            return going
        gone = [
            (each, grave)
            for each in going
            if (grave := self._take(each.manifest.environment_id, limit)) is not None
        ]
        for _, grave in gone:
            remove_tree(grave)
        if gone:
            self.measure_anew()
        return [each for each, _ in gone]

    def remove(self, environment_id: str) -> bool:
        """Take one environment away, however lately it was used; False when somebody holds it."""
        grave = self._take(environment_id, datetime.max.replace(tzinfo=UTC))
        if grave is not None:
            remove_tree(grave)
            self.measure_anew()
        return grave is not None

    def _take(self, environment_id: str, limit: datetime) -> Path | None:
        """Take an environment off, unless it is held or was used after a time; where it is now."""
        with self._holders.none_begin():
            used_at = self._used_at(environment_id)
            if self._holders.of(environment_id) or (used_at is not None and used_at > limit):
                return None
            grave = self._layout.discard(self._layout.environment(environment_id))
            self._forget(environment_id)
        return grave

    def sweep(self, minimum_age: timedelta, builds_kept: timedelta) -> None:
        """Remove what dead processes have left, and what was taken away; idempotent."""
        seconds = minimum_age.total_seconds()
        limit = time.time() - seconds
        limit_of_builds = time.time() - builds_kept.total_seconds()
        for path in self._older(self._layout.tmp, limit):
            if not _is_worked_in(path):
                grave = self._layout.discard(path)
                if grave is not None:
                    remove_tree(grave)
        for path in self._older(self._layout.trash, limit):
            remove_tree(path)
        for path in self._older(self._layout.builds, limit_of_builds):
            quiet = not any(self._younger(path, limit_of_builds))
            if quiet and not is_held(self._layout.building / f"{path.name}.lock"):
                remove_tree(path)
        for path in self._older(self._layout.building, limit):
            remove_if_free(path)
        for path in self._directories():
            if read_manifest(path) is None and path.stat().st_ctime < limit:
                self._layout.discard(path)
        for path in self._layout.held.glob("*/"):
            self._holders.of(path.name)
        BytecodePool(self._layout).sweep(seconds)
        Compared(self._layout.compared).sweep(max(seconds, _COMPARED_KEPT_SECONDS))
        needed = {each.lock_id for path in self._directories() if (each := read_manifest(path))}
        self._memory.forget_locks(needed, max(seconds, LOCKS_KEPT_SECONDS))

    def _directories(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(self._layout.envs.iterdir())

    def _kept(self, path: Path) -> Kept | None:
        manifest = read_manifest(path)
        if manifest is None or manifest.environment_id != path.name:
            return None
        try:
            size = self.measure(path.name)
        except FileNotFoundError:  # removed meanwhile
            return None
        return Kept(
            manifest=manifest,
            own_bytes=size.own_bytes,
            shared_bytes=size.shared_bytes,
            last_used_at=self._used_at(path.name),
            holders=self._holders.of(path.name),
        )

    def _used_at(self, environment_id: str) -> datetime | None:
        try:
            seconds = (self._layout.used / environment_id).stat().st_mtime
        except OSError:
            return None
        return datetime.fromtimestamp(seconds, UTC)

    def _forget(self, environment_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._layout.used / environment_id).unlink()
        remove_tree(self._layout.held / environment_id)

    def _younger(self, directory: Path, limit: float) -> Iterator[bool]:
        with contextlib.suppress(FileNotFoundError):
            yield from (path.stat().st_mtime >= limit for path in directory.iterdir())

    def _older(self, directory: Path, limit: float) -> Iterator[Path]:
        for path in sorted(directory.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                # a rename changes it: what is in the trash is as old as its being there
                if path.stat(follow_symlinks=False).st_ctime < limit:
                    yield path


def _last(kept: Kept) -> datetime:
    return max(kept.manifest.built_at, kept.last_used_at or kept.manifest.built_at)


def _is_worked_in(directory: Path) -> bool:
    """Tell whether the process lives that has made a directory in `tmp/`: it has it locked."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _measured(directory: Path) -> _Size:
    own = shared = 0
    waiting = [os.fspath(directory)]
    while waiting:
        here = waiting.pop()
        own += os.lstat(here).st_blocks * _BLOCK_BYTES
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink == 1:
                    own += status.st_blocks * _BLOCK_BYTES
                else:
                    shared += status.st_blocks * _BLOCK_BYTES
    return _Size(own_bytes=own, shared_bytes=shared)
