"""Files inside a directory, by paths that may come from a stranger."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from element_jupyter.core.errors import Conflict, NotFound, Unavailable

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY: Final = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY}
)


def open_inside(root: Path, path: str) -> tuple[BinaryIO, int]:
    """Open a regular file inside `root`, and say its size.

    Raises:
        NotFound: there is none, or the path or a link on it leads out.
    """
    missing = NotFound("There is no such file.")
    try:
        inside = (root / path).resolve(strict=True)
        if not inside.is_relative_to(root.resolve(strict=True)):
            raise missing
        # what has become a link since it was resolved is refused, and a pipe does not block
        descriptor = os.open(inside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError, RuntimeError):
        raise missing from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise missing
    return os.fdopen(descriptor, "rb"), found.st_size


def move_inside(source: Path, root: Path, path: str) -> None:
    """Move a file to a path below `root` on the same file system; no link is followed.

    The path is relative and does not climb (`SnapshotPath`). A reader sees the old file or the new.

    Raises:
        Conflict: a part of the path is a file or a link, or its end is a directory.
        Unavailable: the disk does not take it.
    """
    *parents, name = path.split("/")
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        directory = os.open(root, _DIRECTORY)
        try:
            for parent in parents:
                with suppress(FileExistsError):
                    os.mkdir(parent, 0o700, dir_fd=directory)
                above, directory = directory, os.open(parent, _DIRECTORY, dir_fd=directory)
                os.close(above)
            os.rename(source, name, dst_dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise Conflict(
                f"'{path}' cannot be a file: a directory, a file or a link is in its way.",
                "Give it another name.",
                field="path",
            ) from error
        raise Unavailable(f"'{path}' cannot be stored: {error.strerror}.") from error
