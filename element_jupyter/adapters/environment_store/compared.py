"""Remembers which files were compared with the records of their packages, to spare it.

All environments link to the same files in an installer's cache. Once those of a package had the
hashes that its RECORD says, they have them as long as they are the same files and nobody has
written to them: number, size and time of change of them all are remembered as one hash. Files
that an environment has for itself alone (the scripts in `bin`) are hashed each time, and
`EnvironmentStore.verify` hashes all.
"""

# there are tens of thousands of files

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from element_jupyter.adapters.environment_store.contents import Contents
from element_jupyter.adapters.environment_store.layout import write_atomically

_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_YOUNG_NANOSECONDS: Final = 2_000_000_000
"""Whoever writes to a file once more within the clock's tick leaves no trace in its times."""


class Compared:
    """What was compared before, in a directory with one small file per RECORD."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def left(self, prefix: Path, contents: Contents) -> tuple[list[str], dict[str, str]]:
        """Return the files to compare, and what to `remember` when they are as they should be."""
        found: dict[str, str] = {}
        left = set(contents.files)
        for record, paths in contents.wheels.items():
            linked: list[str] = []
            marks = hashlib.sha256()
            youngest = 0
            sealed = True
            for path in paths:
                with contextlib.suppress(OSError):
                    status = os.lstat(f"{prefix}/{path}")
                    if status.st_nlink > 1:
                        linked.append(path)
                        youngest = max(youngest, status.st_mtime_ns)
                        sealed = sealed and not status.st_mode & _WRITABLE
                        numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                        marks.update(f"{path}\0{numbers}\n".encode())
            if not linked or youngest > time.time_ns() - _YOUNG_NANOSECONDS:
                continue
            if sealed and self._known(record) == marks.hexdigest():
                left.difference_update(linked)
            else:
                found[record] = marks.hexdigest()
        return sorted(left), found

    def remember(self, found: dict[str, str]) -> None:
        """Remember files that were compared; not to be relied on after a crash, nor needed."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for record, mark in found.items():
            write_atomically(self._directory / record, mark.encode(), durable=False)

    def sweep(self, minimum_age_seconds: float) -> None:
        """Forget what was remembered long ago."""
        for path in self._entries():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - minimum_age_seconds:
                    path.unlink()

    def _known(self, record: str) -> str | None:
        try:
            return (self._directory / record).read_text()
        except (OSError, ValueError):
            return None

    def _entries(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from self._directory.iterdir()
