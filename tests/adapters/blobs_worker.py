"""A process that saves, collects or restores until it is told to stop or killed.

`python -m tests.adapters.blobs_worker WHAT STORE ARGUMENTS…`, see the functions.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from element_jupyter.adapters.blobs import FsspecBlobs, collect, restore, save
from element_jupyter.core.snapshots import Entry, Manifest


class Project(NamedTuple):
    manifest: Manifest
    sources: dict[str, Path]


def a_project(*files: Path) -> Project:
    digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    entries = tuple(
        Entry(path=file.name, digest=digest, size_bytes=file.stat().st_size)
        for file, digest in digests.items()
    )
    return Project(Manifest(entries=entries), {digest: file for file, digest in digests.items()})


def named(jobs: Path) -> set[str]:
    return {job.name for job in jobs.iterdir()}


def upload(store: str, files: str, jobs: str, count: str, seed: str) -> None:
    """Save `count` snapshots of random files, and name each as a job would."""
    random.seed(seed)
    choice = sorted(Path(files).iterdir())
    for _ in range(int(count)):
        project = a_project(*random.sample(choice, 20))
        (Path(jobs) / save(FsspecBlobs(store), project)).touch()


def collect_until(store: str, jobs: str, grace_seconds: str, stop: str) -> None:
    """Collect over and over; print how many blobs went."""
    count = 0
    while not Path(stop).exists():
        count += collect(FsspecBlobs(store), lambda: named(Path(jobs)), float(grace_seconds)).count
    print(count)


def collect_once(store: str, jobs: str, grace_seconds: str) -> None:
    """Collect."""
    collect(FsspecBlobs(store), lambda: named(Path(jobs)), float(grace_seconds))


def save_all(store: str, files: str) -> None:
    """Save one snapshot of all files."""
    save(FsspecBlobs(store), a_project(*sorted(Path(files).iterdir())))


def restore_one(store: str, snapshot_id: str, directory: str) -> None:
    """Restore."""
    restore(FsspecBlobs(store), snapshot_id, Path(directory))


WORK: dict[str, Callable[..., None]] = {
    work.__name__: work for work in (upload, collect_until, collect_once, save_all, restore_one)
}

if __name__ == "__main__":
    WORK[sys.argv[1]](*sys.argv[2:])
