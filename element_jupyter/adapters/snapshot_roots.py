"""Of which directory each snapshot was taken: a person's own list, kept in their data directory.

A snapshot says nothing of where its files lay, so that the same files are the same snapshot
everywhere. Whoever asks later whether a notebook is still as it was scheduled needs to know it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1 << 20
"""When the list is longer, its older half is forgotten."""


class SnapshotRoots:
    """Which directory is behind a snapshot, in a file with a line for each; the last one counts."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def remember(self, snapshot_id: str, root: Path) -> None:
        """Note of which directory a snapshot was taken.

        Raises:
            OSError: the file cannot be written.
        """
        if self.root_of(snapshot_id) == root:
            return
        line = json.dumps([snapshot_id, os.fspath(root)]).encode() + b"\n"
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._file, flags, 0o600), "r+b") as kept:
            fcntl.flock(kept, fcntl.LOCK_EX)
            if kept.seek(0, os.SEEK_END) > MAX_BYTES:
                kept.seek(0)
                lines = kept.readlines()
                kept.seek(0)
                kept.writelines(lines[len(lines) // 2 :])
                kept.truncate()
            kept.write(line)

    def root_of(self, snapshot_id: str) -> Path | None:
        """Return the directory; None when it is not known, such as of what others have taken."""
        try:
            with self._file.open("rb") as kept:
                fcntl.flock(kept, fcntl.LOCK_SH)
                lines = kept.readlines()
        except FileNotFoundError:
            return None
        mark = json.dumps([snapshot_id])[:-1].encode() + b","
        # a line that was cut short, by a disk that was full, is none
        found = [line for line in lines if line.startswith(mark) and line.endswith(b"]\n")]
        return Path(json.loads(found[-1])[1]) if found else None
