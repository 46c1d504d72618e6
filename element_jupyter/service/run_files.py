"""What a runner fetches for its run by REST, and what it hands over so that people find it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final, TypeVar

from element_jupyter.core.errors import Forbidden, TooLarge
from element_jupyter.core.runs import Run, RunState
from element_jupyter.core.snapshots import MANIFEST_ENTRIES, Blobs, Manifest, load, size_in_words
from element_jupyter.service.files import move_inside
from element_jupyter.service.http import BlobAnswer, Upload

OUTPUT: Final = "output.ipynb"
ARTIFACTS: Final = "artifacts"
NOTEBOOK_BYTES: Final = 1_000_000_000
"""A runner keeps 500 MB of outputs, which may be twice that as JSON."""
_REMEMBERED: Final = 16

T = TypeVar("T")


class RunFiles:
    """The files of runs whose runners see nothing of the control plane's; all of it blocks."""

    def __init__(
        self,
        directory: Path,
        blobs: Blobs,
        *,
        artifact_bytes: int,
        notebook_bytes: int = NOTEBOOK_BYTES,
    ) -> None:
        self.artifact_bytes = artifact_bytes
        self.notebook_bytes = notebook_bytes
        self._directory = directory
        self._blobs = blobs
        self._digests: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._sizes: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, run: Run) -> Manifest:
        """Return what the run's snapshot holds.

        Raises:
            NotFound: it is not stored.
        """
        found = load(self._blobs, run.snapshot_id)
        with self._lock:
            _remember(self._digests, run.snapshot_id, found.digests)
        return found

    def blob(self, run: Run, digest: str) -> BlobAnswer:
        """Return a file of the run's snapshot, or the lock that it is pinned to.

        Raises:
            Forbidden: it is neither.
            NotFound: it is not stored.
        """
        # once a run has started, its record has the lock that its runner has told
        own_lock = run.lock_id if run.state is RunState.STARTING else None
        if digest != own_lock and digest not in self._digests_of(run):
            raise Forbidden(
                f"The blob {digest} is no part of this run.",
                "A run may read the files of its own snapshot, and its lock before it starts.",
            )
        size_bytes = self._blobs.size(digest)
        return BlobAnswer(self._blobs.open(digest), size_bytes)

    def _digests_of(self, run: Run) -> frozenset[str]:
        with self._lock:
            found = self._digests.get(run.snapshot_id)
        return self.manifest(run).digests if found is None else found

    def put_notebook(self, run_id: str, upload: Upload) -> None:
        """Put the executed notebook in the place of the one before."""
        _sync(upload.path)
        move_inside(upload.path, self._directory / run_id, OUTPUT)

    def put_artifact(self, run_id: str, path: str, upload: Upload) -> None:
        """Keep a file that the run left, in the place of one of the same path.

        Raises:
            TooLarge: the run would leave more than it may.
            Conflict: something else is in the way of the path.
        """
        _sync(upload.path)
        with self._lock:
            root = self._directory / run_id / ARTIFACTS
            sizes = self._sizes.get(run_id)
            if sizes is None:
                sizes = _sizes(root)
            _remember(self._sizes, run_id, sizes)
            total = sum(sizes.values()) - sizes.get(path, 0) + upload.size_bytes
            if total > self.artifact_bytes:
                limit = size_in_words(self.artifact_bytes)
                raise TooLarge(
                    f"The files that the run leaves are larger than {limit} together.",
                    "Write large results to shared storage, or ask an administrator for more"
                    " (Element.run_artifact_bytes).",
                )
            if path not in sizes and len(sizes) >= MANIFEST_ENTRIES:
                raise TooLarge(f"The run leaves more than {MANIFEST_ENTRIES:,} files.")
            move_inside(upload.path, root, path)
            sizes[path] = upload.size_bytes


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


def _sizes(root: Path) -> dict[str, int]:
    return {
        path.relative_to(root).as_posix(): path.lstat().st_size
        for parent, _, names in os.walk(root)
        for path in (Path(parent, name) for name in names)
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
