"""What the files of jobs name in the blob store, which must therefore be kept there."""

from __future__ import annotations

import re
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
        for job in disk.directories(Path(team.path)):
            for path in (*Path(job.path).glob("*.yaml"), *Path(job.path).glob("versions/*.yaml")):
                for key, digest in _DIGEST.findall(path.read_text(errors="replace")):
                    (found.locks if key else found.snapshots).add(digest)
    return found
