"""Files that are put inside a directory, by paths that come from a stranger."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from element_jupyter.core.errors import Conflict, Unavailable

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY: Final = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY}
)


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
