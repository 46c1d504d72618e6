"""What is in a project's files, read in threads: hashing and reading release the interpreter."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from element_jupyter.adapters.project.listing import look
from element_jupyter.adapters.project.refusals import changed, naming, not_a_file, unreadable
from element_jupyter.core import readings
from element_jupyter.core.errors import Invalid
from element_jupyter.core.readings import Reading, Stamp
from element_jupyter.core.snapshots import IGNORE_FILE, Entry, Manifest, SnapshotLimits

CHUNK_BYTES = 1 << 20
BATCH_FILES = 32
WORKERS = min(4, os.cpu_count() or 1)
ATTEMPTS = 3

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes to read."""


@dataclass(frozen=True)
class Scan:
    """A project's manifest, where to read each blob, and what a person should know."""

    manifest: Manifest
    sources: Mapping[str, Path]
    warnings: tuple[str, ...]


def scan(
    root: Path,
    *,
    limits: SnapshotLimits | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    reread: bool = False,
) -> Scan:
    """Read a project's files, only those that changed since the last scan of the same root.

    What was read last is remembered in a file below `cache` (default `~/.cache/element`); if it is
    damaged or gone, or with `reread`, everything is read.

    Raises:
        Invalid: a file that cannot be in a snapshot, or keeps changing; named.
        Conflict: a file went away meanwhile; scan again.
        TooLarge: over a limit; found before any content is read.
    """
    found = look(root)
    limits = limits or SnapshotLimits()
    warnings = (*found.warnings, *limits.check_sizes(found.sizes))
    name = hashlib.sha256(os.fsencode(found.root)).hexdigest()[:32]
    index = (cache or Path.home() / ".cache" / "element") / "snapshots" / name
    known = {} if reread else _known(index)
    read = _read_all(found.root, found.files, known, progress)
    if read != known:
        _remember(index, read)

    entries = [*found.links.values()]
    sources: dict[str, Path] = {}
    for path, (stamp, digest) in read.items():
        executable = bool(found.files[path].st_mode & stat.S_IXUSR)
        with naming(path):
            entries.append(
                Entry(path=path, digest=digest, size_bytes=stamp.size_bytes, executable=executable)
            )
        sources.setdefault(digest, found.root / path)
    with naming("."):
        manifest = Manifest(entries=tuple(entries))
    return Scan(manifest, sources, (*warnings, *manifest.remarks()))


def _read_all(
    root: Path,
    files: Mapping[str, os.stat_result],
    known: dict[str, Reading],
    progress: Progress | None,
) -> dict[str, Reading]:
    now = time.time()
    read: dict[str, Reading] = {}
    todo: list[str] = []
    for path, status in files.items():
        stamp, record = Stamp.of(status), known.get(path)
        if record is None or record.stamp != stamp or stamp.is_racy(now):
            todo.append(path)
        else:
            read[path] = record
    total = sum(files[path].st_size for path in todo)
    done = 0
    lock = threading.Lock()

    def advance(size_bytes: int) -> None:
        nonlocal done
        if progress is not None:
            with lock:
                done += size_bytes
                progress(done, total)

    def read_batch(paths: list[str]) -> list[tuple[str, Reading]]:
        return [(path, _read(root, path, advance)) for path in paths]

    batches = [todo[i : i + BATCH_FILES] for i in range(0, len(todo), BATCH_FILES)]
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="snapshot") as pool:
        futures = [pool.submit(read_batch, batch) for batch in batches]
        try:
            for future in futures:
                read.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return read


def _read(root: Path, path: str, advance: Callable[[int], None]) -> Reading:
    for _ in range(ATTEMPTS):
        hasher = hashlib.sha256()
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(root / path, flags), "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise not_a_file(path)
                while chunk := file.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    advance(len(chunk))
                after = os.fstat(file.fileno())
        except FileNotFoundError as error:
            raise changed(path) from error
        except OSError as error:
            raise unreadable(path, error) from error
        if Stamp.of(before) == Stamp.of(after):
            return Reading(Stamp.of(after), hasher.hexdigest())
    raise Invalid(
        f"'{path}' keeps changing while it is read.",
        f"Stop what writes it, or name it in {IGNORE_FILE}.",
    )


def _known(path: Path) -> dict[str, Reading]:
    try:
        return readings.decode(path.read_bytes())
    except OSError:
        return {}


def _remember(path: Path, read: dict[str, Reading]) -> None:
    partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
            file.write(readings.encode(read, time.time()))
        partial.replace(path)
    except OSError:
        # a cache that cannot be written (a read-only home, a full quota) costs time only
        with suppress(OSError):
            partial.unlink()
