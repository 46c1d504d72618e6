"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from element_jupyter.core.job_files import FILE_BYTES, FileInvalid

TEMPORARY = ".element-"
"""How the names of unfinished files begin; a kill may leave one."""


@dataclass(frozen=True)
class Signature:
    """What tells, without reading it, that a file has changed."""

    inode: int
    size_bytes: int
    modified_ns: int


def signature(path: Path) -> Signature | None:
    """Return the signature of a file; None when there is none."""
    try:
        return _signature(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read(path: Path) -> tuple[bytes, Signature]:
    """Return the content of a regular file, of which it is.

    Raises:
        FileInvalid: it is a link, a directory, a pipe, too large, or unreadable.
    """
    try:
        # a pipe must not block, and a link would name a file that is no job of this store
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileInvalid(f"The file cannot be read: {error.strerror}.") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileInvalid("This is not a regular file.")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > FILE_BYTES:
            raise FileInvalid(f"The file is larger than {FILE_BYTES:,} bytes.")
        return file.read(FILE_BYTES + 1), _signature(found)


def write(path: Path, content: bytes, *, expected: Signature | None = None) -> Signature | None:
    """Put a whole file in place, durably; it replaces what is there.

    With `expected`, only if the file there is still that one: else None is returned.
    """
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            written = _signature(os.fstat(file.fileno()))
        if expected is not None and signature(path) != expected:
            temporary.unlink()
            return None
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return written


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make what was renamed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def directories(path: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the directories in one, without hidden ones and links."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield entry
    except (FileNotFoundError, NotADirectoryError):
        return


def _signature(found: os.stat_result) -> Signature:
    return Signature(found.st_ino, found.st_size, found.st_mtime_ns)
