"""One builder per name: an exclusive flock, which the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_GLANCE_SECONDS: Final = 0.002
_GLANCES: Final = 3


@contextmanager
def exclusively(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file alone; `on_wait` is called once when another holds it.

    The file is removed by who holds it, before it is let go. Who then gets the lock of a removed
    file sees that another, or none, is at its path, and begins anew: so two never hold one name.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _taken(descriptor):
                on_wait()
                on_wait = _nothing
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, file):
                try:
                    yield
                finally:
                    file.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def remove_if_free(file: Path) -> None:
    """Remove a lock file that a killed process has left; one that is held stays."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if _taken(descriptor) and _is_at(descriptor, file):
            file.unlink()
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Tell whether somebody holds a lock file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    # who asks whether a lock is held has it for a moment, and is nobody to wait for
    for _ in range(_GLANCES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_GLANCE_SECONDS)
        else:
            return True
    return False


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        there = file.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _nothing() -> None:
    pass
