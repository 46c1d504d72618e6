"""Outputs of runs that were put away: a trash beside the runs' own directories, on the same disk.

What is moved is moved by renaming, so it is in one place or the other whatever is killed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_OUTPUTS: Final = ("output.ipynb", "artifacts")
_TRASH: Final = ".trash"


class RunTrash:
    """The outputs of runs below a directory; all of it blocks."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def size_bytes(self, run_id: str) -> int:
        """Return what a run's outputs take, where they are now."""
        places = (self._runs / run_id, self._runs / _TRASH / run_id)
        return sum(_size(place / name) for place in places for name in _OUTPUTS)

    def put_away(self, run_id: str) -> None:
        """Move a run's outputs into the trash."""
        _move(self._runs / run_id, self._runs / _TRASH / run_id)

    def restore(self, run_id: str) -> None:
        """Move a run's outputs back."""
        _move(self._runs / _TRASH / run_id, self._runs / run_id)

    def remove(self, run_id: str) -> None:
        """Remove a run's outputs from the trash.

        Raises:
            OSError: something of it could not be removed.
        """
        place = self._runs / _TRASH / run_id
        if place.exists():
            shutil.rmtree(place)


def _move(source: Path, target: Path) -> None:
    for name in _OUTPUTS:
        if (source / name).exists():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            (source / name).rename(target / name)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    return sum(
        Path(at, name).lstat().st_size
        for at, _, names in os.walk(path, followlinks=False)
        for name in names
    )
