"""What the files of jobs name in the blob store, which must therefore be kept there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from element_jupyter.adapters.job_files import disk

_DIGEST = re.compile(r"(\block_id['\"]?\s*:\s*['\"]?)?\b([0-9a-f]{64})\b")


class Named(NamedTuple):
    """Digests of snapshots' manifests and of locks."""

    snapshots: set[str]
    locks: set[str]


def named(root: Path) -> Named:
    """Read all files of all jobs, those that are broken too: what they name may be mended.

    Raises:
        OSError: a file cannot be read.
    """
    found = Named(set(), set())
    for team in disk.directories(root):
        for path in _files(Path(team.path)):
            for key, digest in _DIGEST.findall(path.read_text(errors="replace")):
                (found.locks if key else found.snapshots).add(digest)
    return found


def is_named(root: Path, digest: str, teams: Iterable[str]) -> bool:
    """Tell whether a job of one of these teams names a snapshot now, or did in a version."""
    for team in teams:
        for path in _files(root / team):
            if digest in {said for key, said in _DIGEST.findall(_text(path)) if not key}:
                return True
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it was deleted meanwhile
        return ""


def _files(team: Path) -> Iterator[Path]:
    for job in disk.directories(team):
        yield from Path(job.path).glob("*.yaml")
        yield from Path(job.path).glob("versions/*.yaml")
