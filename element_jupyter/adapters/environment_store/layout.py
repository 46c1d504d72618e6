"""Where everything in the store is, and the few ways in which its files are written and removed."""

# there are tens of thousands of files
# ruff: noqa: PTH101, PTH118

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.errors import Invalid

_SAFE: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?")
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PRIVATE: Final = 0o700
_READABLE: Final = 0o755


@dataclass(frozen=True)
class Layout:
    """The directories of one store; all on one file system, for hard links and renames."""

    root: Path

    @property
    def envs(self) -> Path:
        return self.root / "envs"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def building(self) -> Path:
        return self.root / "building"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def pyc(self) -> Path:
        return self.root / "pyc"

    @property
    def held(self) -> Path:
        return self.root / "held"

    @property
    def used(self) -> Path:
        return self.root / "used"

    @property
    def sizes(self) -> Path:
        return self.root / "sizes"

    @property
    def compared(self) -> Path:
        return self.root / "compared"

    @property
    def uv_cache(self) -> Path:
        return self.root / "uv-cache"

    @property
    def rattler_cache(self) -> Path:
        return self.root / "rattler-cache"

    @property
    def interpreters(self) -> Path:
        return self.root / "interpreters.json"

    @property
    def trust(self) -> Path:
        return self.root / "trust.json"

    def prepare(self) -> None:
        """Make the directories that are not there; idempotent, and nothing in a read-only store.

        Others may read the environments, and nobody else may write anything.
        """
        for directory, mode in (
            (self.root, _READABLE),
            (self.envs, _READABLE),
            *((each, _READABLE) for each in (self.index, self.locks)),
            *((each, _PRIVATE) for each in (self.building, self.builds, self.tmp, self.trash)),
            *((each, _PRIVATE) for each in (self.held, self.used, self.sizes, self.pyc)),
            *((each, _PRIVATE) for each in (self.uv_cache, self.rattler_cache)),
        ):
            if not directory.is_dir():
                with room(self.root):
                    directory.mkdir(mode=mode, parents=True, exist_ok=True)
                    directory.chmod(mode)

    def environment(self, environment_id: str) -> Path:
        return self.envs / safe(environment_id)

    def discard(self, path: Path) -> Path | None:
        """Take a directory away by one rename into the trash; None when another was faster."""
        grave = self.trash / uuid.uuid4().hex
        self.trash.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        try:
            path.rename(grave)
        except FileNotFoundError:
            return None
        return grave


def safe(name: str) -> str:
    """Return a name that may be a path segment here.

    Raises:
        Invalid: it may not.
    """
    if not _SAFE.fullmatch(name):
        raise Invalid(f"'{name[:80]}' names nothing in the environment store.")
    return name


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file whole or not at all; if `durable`, have it on disk before that is seen."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(tree: Path) -> None:
    """Remove a directory although what is in it is read-only; others may do the same meanwhile."""
    for directory, names, _ in os.walk(tree):
        for name in (".", *names):
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                mode = os.lstat(path).st_mode
                if stat.S_ISDIR(mode) and mode & 0o700 != _PRIVATE:
                    os.chmod(path, _PRIVATE)
    # what is left over, a sweep takes
    shutil.rmtree(tree, ignore_errors=True)


@contextlib.contextmanager
def room(place: Path) -> Iterator[None]:
    """Tell a full disk in words.

    Raises:
        EnvironmentFailed: `disk_full`, with how much is free and how to have more.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise EnvironmentFailed(_full(place, error)) from error


def _full(place: Path, error: OSError) -> Failure:
    try:
        free = f"{shutil.disk_usage(place).free / 1e6:,.1f} MB"
    except OSError:
        free = "few bytes"
    why = {
        errno.ENOSPC: f"it needs more than the {free} that are free there",
        errno.EDQUOT: f"your quota of that disk is used up, of which {free} are free",
        errno.EFBIG: f"a file would be larger than this process may write, though {free} are free",
    }[error.errno or errno.ENOSPC]
    return Failure(
        code=FailureCode.DISK_FULL,
        title="No room for the environment",
        summary=f"The environment cannot be stored below {place}: {why}.",
        hints=(
            "Run `element env prune`: it removes the environments that nothing uses.",
            "Or let Element.environment_store be on a larger disk.",
        ),
        retryable=True,
    )
