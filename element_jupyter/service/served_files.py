"""Files that are served by names that may come from a stranger."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from element_jupyter.core.errors import NotFound


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
