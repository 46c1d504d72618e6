"""How much disk a directory takes: what `du -x` counts, of directories that others may change.

No symbolic link is followed, whatever is put in the place of what while it is walked: each
directory is opened from the one above it. What vanishes meanwhile is not counted, and a file with
several names is counted once.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psutil

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the file system's own blocks are: stat(2)."""
_SPARE: Final = 64
"""Descriptors that are left for everything else."""


class Kept(NamedTuple):
    """What a directory takes."""

    used_bytes: int = 0
    """On disk: of a sparse file, what is written."""
    files: int = 0
    """Of every kind, directories among them."""
    left_out: int = 0
    """Directories that could not be read, or are deeper than can be walked."""


def give_way() -> None:
    """Let everything else on this machine go before what this process does from now on."""
    process = psutil.Process()
    process.nice(19)
    process.ionice(psutil.IOPRIO_CLASS_IDLE)


def disk_usage(path: Path) -> Kept:
    """Measure a directory, and nothing of another file system that is mounted in it.

    Raises:
        OSError: it is not there, is not a directory, or cannot be read.
    """
    root = os.open(path, _DIRECTORY)
    status = os.fstat(root)
    used_bytes, files, left_out = status.st_blocks * _BLOCK_BYTES, 1, 0
    several_names: set[int] = set()
    deepest = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE
    # of each directory that is open, the names that are still to be looked at
    walked: list[tuple[int, Iterator[str]]] = [(root, iter(()))]
    try:
        walked[0] = root, _names(root)
        while walked:
            directory, names = walked[-1]
            if (name := next(names, None)) is None:
                os.close(walked.pop()[0])
                continue
            found = _status(name, directory)
            if found is None or found.st_dev != status.st_dev or found.st_ino in several_names:
                continue
            inside = stat.S_ISDIR(found.st_mode)
            if found.st_nlink > 1 and not inside:
                several_names.add(found.st_ino)
            used_bytes += found.st_blocks * _BLOCK_BYTES
            files += 1
            if inside and len(walked) < deepest and (opened := _opened(name, directory)):
                walked.append(opened)
            elif inside:
                left_out += 1
    finally:
        for each, _ in walked:
            os.close(each)
    return Kept(used_bytes, files, left_out)


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as entries:
        return iter([entry.name for entry in entries])


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _opened(name: str, directory: int) -> tuple[int, Iterator[str]] | None:
    """Open a directory; None where it cannot be: something else has its name by now."""
    try:
        inside = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return None
    try:
        return inside, _names(inside)
    except OSError:
        os.close(inside)
        return None
