"""Files that a notebook wrote: found by comparing its project before and after, then kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from element_jupyter.core.runs import Artifact

IGNORED_DIRECTORIES: Final = frozenset(
    {"__pycache__", ".ipynb_checkpoints", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
MOST_LISTED: Final = 10_000

State = dict[str, tuple[int, int]]
"""Size and time of the last change (ns) of each file, by its path inside the project."""


def survey(project: Path, *, without: Path) -> State:
    """Return the state of every regular file; links are not followed."""
    return dict(_files(project, str(without)))


def _files(project: Path, without: str) -> Iterator[tuple[str, tuple[int, int]]]:
    pending = [str(project)]
    start = len(str(project)) + 1
    while pending:
        directory = pending.pop()
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in IGNORED_DIRECTORIES and entry.path != without:
                        pending.append(entry.path)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:  # gone since
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield entry.path[start:], (found.st_size, found.st_mtime_ns)


def collect(project: Path, before: State, destination: Path, *, without: Path) -> list[Artifact]:
    """Keep what was written or changed since, under its own path; returns what is kept.

    At most `MOST_LISTED` are returned, in the order of their paths; all are kept.
    """
    kept: list[Artifact] = []
    for path, (size, changed) in sorted(_files(project, str(without))):
        if before.get(path) == (size, changed):
            continue
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _keep(project / path, target)
        if len(kept) < MOST_LISTED and path.isprintable():
            kept.append(Artifact(path=path, size_bytes=size))
    return kept


def _keep(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target, follow_symlinks=False)
