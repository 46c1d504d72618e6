"""Content-addressed storage on a directory or any fsspec URL; saving, restoring, collecting.

The layout is `aa/<digest>` below the root, `aa` being the digest's first two characters.

A collection never takes a blob that somebody relies on. On a directory this is exact: `missing`
and `put` renew a blob's time under a shared lock, and a deletion looks at that time again under
the exclusive one, so that either the uploader renews first and the blob stays, or it is told that
the blob is missing and uploads it. The kernel frees the lock of a process that is killed. Object
stores have neither locks nor a conditional delete: there a blob older than `refresh_seconds` counts
as missing and is uploaded again, long before a collection's grace period is over, and `save`
looks again at the end.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from element_jupyter.core.errors import Conflict, Invalid, NotFound, Unavailable
from element_jupyter.core.snapshots import (
    BlobReader,
    Blobs,
    Entry,
    Manifest,
    collect,
    damaged,
    keep,
    load,
)

__all__ = ["FsspecBlobs", "collect", "keep", "load", "restore", "save"]

CHUNK_BYTES = 1 << 20
WORKERS = 8
ATTEMPTS = 3
_DIGEST = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


class Scanned(Protocol):
    """What `save` needs of a scanned project."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def sources(self) -> Mapping[str, Path]: ...


class FsspecBlobs:
    """Blobs below a directory path or an fsspec URL (`s3://bucket/prefix`, `memory://x`)."""

    def __init__(self, url: str | Path, *, refresh_seconds: float = 12 * 3600) -> None:
        fs, root = url_to_fs(str(url), use_listings_cache=False)
        self.url = str(url)
        self._store: _Directory | _Objects
        if isinstance(fs, LocalFileSystem):
            self._store = _Directory(Path(root))
        else:
            self._store = _Objects(fs, root, refresh_seconds)

    def missing(self, digests: Iterable[str]) -> set[str]:
        wanted = {_checked(digest) for digest in digests}
        with self._translated():
            return wanted - self._store.renew(wanted)

    def put(self, digest: str, data: bytes | BinaryIO | Path) -> None:
        _checked(digest)
        if isinstance(data, Path):
            try:
                # a link put in the file's place since it was scanned is not followed
                descriptor = os.open(data, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError as error:
                raise _changed(data) from error
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _changed(data)
                try:
                    self.put(digest, cast("BinaryIO", file))
                except Conflict as error:
                    raise _changed(data) from error
            return
        stream = io.BytesIO(data) if isinstance(data, bytes) else data
        with self._translated():
            self._store.write(digest, _verified(stream, digest))

    def open(self, digest: str) -> BinaryIO:
        _checked(digest)
        with self._translated(digest):
            return self._store.open(digest)

    def size(self, digest: str) -> int:
        _checked(digest)
        with self._translated(digest):
            return self._store.size(digest)

    def digests(self) -> dict[str, float]:
        now = time.time()
        with self._translated():
            return {digest: max(0.0, now - at) for digest, at in self._store.times()}

    def delete(self, digest: str, *, unused_seconds: float = 0) -> int | None:
        _checked(digest)
        with self._translated():
            return self._store.delete(digest, unused_seconds)

    def discard_abandoned(self, older_than_seconds: float) -> int:
        with self._translated():
            return self._store.discard_abandoned(older_than_seconds)

    @contextmanager
    def _translated(self, digest: str | None = None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if digest is None:
                raise Unavailable(f"The blob store lost a file: {error}.") from error
            raise NotFound(f"The blob store has no blob {digest}.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unavailable(
                f"The blob store does not take or give data: {reason}.",
                "Look at its free space and permissions; nothing is lost.",
            ) from error


class _Directory:
    """Blobs as files; each write is on disk before its name appears."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / "partial"

    def renew(self, digests: set[str]) -> set[str]:
        there = set()
        with self._locked(fcntl.LOCK_SH):
            for digest in digests:
                with suppress(FileNotFoundError):
                    os.utime(self._path(digest))
                    there.add(digest)
        return there

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        path = self._path(digest)
        for directory in (self._root, self._partial, path.parent):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._partial / secrets.token_hex(16)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:
                    _write_all(file, chunk)
                os.fsync(descriptor)
            with self._locked(fcntl.LOCK_SH):
                os.utime(partial)
                partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def open(self, digest: str) -> BinaryIO:
        return self._path(digest).open("rb", buffering=0)

    def size(self, digest: str) -> int:
        return self._path(digest).stat().st_size

    def times(self) -> Iterator[tuple[str, float]]:
        for first in range(256):
            with suppress(FileNotFoundError), os.scandir(self._root / f"{first:02x}") as files:
                for file in files:
                    if _DIGEST.fullmatch(file.name):
                        with suppress(FileNotFoundError):
                            yield file.name, file.stat(follow_symlinks=False).st_mtime

    def delete(self, digest: str, unused_seconds: float) -> int | None:
        path = self._path(digest)
        with self._locked(fcntl.LOCK_EX), suppress(FileNotFoundError):
            found = path.stat()
            if time.time() - found.st_mtime >= unused_seconds:
                path.unlink()
                return found.st_size
        return None

    def discard_abandoned(self, older_than_seconds: float) -> int:
        freed = 0
        with suppress(FileNotFoundError), os.scandir(self._partial) as files:
            for file in files:
                with suppress(FileNotFoundError):
                    found = file.stat(follow_symlinks=False)
                    if time.time() - found.st_mtime >= older_than_seconds:
                        Path(file.path).unlink()
                        freed += found.st_size
        return freed

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        path = self._root / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            # closing would not do where another thread has forked meanwhile
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class _Objects:
    """Blobs as objects of an fsspec file system; those past `refresh_seconds` are sent again."""

    def __init__(self, fs: Any, root: str, refresh_seconds: float) -> None:
        self._fs = fs
        self._root = root.rstrip("/")
        self._refresh_seconds = refresh_seconds

    def renew(self, digests: set[str]) -> set[str]:
        oldest = time.time() - self._refresh_seconds
        fresh: set[str] = set()

        def look(prefix: str) -> None:
            found = self._timed(lambda: self._fs.ls(f"{self._root}/{prefix}", detail=True))
            fresh.update(digest for digest, at in found if at > oldest)

        _each(look, {digest[:2] for digest in digests})
        return fresh & digests

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        partial = f"{self._root}/partial/{secrets.token_hex(16)}"
        self._fs.makedirs(f"{self._root}/partial", exist_ok=True)
        try:
            with self._fs.open(partial, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            self._fs.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)
            self._fs.mv(partial, self._path(digest))
        except BaseException:
            with suppress(FileNotFoundError):
                self._fs.rm_file(partial)
            raise

    def open(self, digest: str) -> BinaryIO:
        return cast("BinaryIO", self._fs.open(self._path(digest), "rb"))

    def size(self, digest: str) -> int:
        return int(self._fs.size(self._path(digest)))

    def times(self) -> Iterator[tuple[str, float]]:
        yield from self._timed(lambda: self._fs.find(self._root, detail=True).values())

    def delete(self, digest: str, unused_seconds: float) -> int | None:
        path = self._path(digest)
        with suppress(FileNotFoundError):
            info = self._fs.info(path)
            if time.time() - self._time(info) >= unused_seconds:
                self._fs.rm_file(path)
                return int(info["size"])
        return None

    def discard_abandoned(self, older_than_seconds: float) -> int:
        freed = 0
        with suppress(FileNotFoundError):
            for info in self._fs.ls(f"{self._root}/partial", detail=True):
                if time.time() - self._time(info) >= older_than_seconds:
                    with suppress(FileNotFoundError):
                        self._fs.rm_file(info["name"])
                        freed += int(info["size"])
        return freed

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"

    def _timed(
        self, listing: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> Iterator[tuple[str, float]]:
        with suppress(FileNotFoundError):
            for info in listing():
                name = info["name"].rsplit("/", 1)[-1]
                if _DIGEST.fullmatch(name):
                    yield name, self._time(info)

    def _time(self, info: Mapping[str, Any]) -> float:
        # each file system has a name of its own for it (s3fs, gcsfs, adlfs, sftp, memory)
        for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
            at = info.get(key)
            if isinstance(at, datetime):
                return at.timestamp()
            if isinstance(at, int | float):
                return float(at)
        return float(self._fs.modified(info["name"]).timestamp())


def save(blobs: Blobs, scan: Scanned) -> str:
    """Store what is missing of a scanned project, its manifest last, and return the snapshot id.

    The caller must name the snapshot in what `collect` reads within the grace period.

    Raises:
        Conflict: a file has changed since it was scanned; scan again.
    """
    manifest = scan.manifest
    for _ in range(ATTEMPTS):
        missing = blobs.missing(manifest.digests)
        _each(lambda digest: blobs.put(digest, scan.sources[digest]), missing)
        if blobs.missing({manifest.snapshot_id}):
            blobs.put(manifest.snapshot_id, manifest.to_json())
        if not blobs.missing({*manifest.digests, manifest.snapshot_id}):
            return manifest.snapshot_id
    raise Unavailable("The blob store does not keep what it is given.", "Look at its clock.")


def restore(blobs: BlobReader, snapshot_id: str, directory: Path) -> Manifest:
    """Write a snapshot's files into a directory that is empty or not there yet.

    The directory appears whole or not at all: it is filled beside its place and renamed. It is
    not forced to disk, since after a power failure a run starts again with a new one.

    Raises:
        NotFound: the snapshot or one of its blobs is not stored.
        Invalid: the manifest names what it must not.
        Conflict: the directory holds something.
    """
    manifest = load(blobs, snapshot_id)
    directory = directory.absolute()
    mode = None
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise Conflict(f"'{directory}' is not a directory.", field="directory")
    if directory.is_dir():
        mode = stat.S_IMODE(directory.stat().st_mode)
        if any(directory.iterdir()):
            raise _occupied(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _remove_partial(directory)
        with _new_partial(directory) as filled:
            _fill(filled, blobs, manifest)
            if mode is not None:
                filled.chmod(mode)
            filled.rename(directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _occupied(directory) from error
        reason = error.strerror or str(error)
        raise Unavailable(f"The snapshot cannot be written to '{directory}': {reason}.") from error
    return manifest


def _fill(directory: Path, blobs: BlobReader, manifest: Manifest) -> None:
    by_digest: dict[str, list[Entry]] = {}
    for entry in manifest.entries:
        if entry.link is None:
            by_digest.setdefault(entry.digest, []).append(entry)
    for parent in sorted({(directory / entry.path).parent for entry in manifest.entries}):
        parent.mkdir(parents=True, exist_ok=True)

    def write(entries: list[Entry]) -> None:
        for entry in entries:
            _restore_file(blobs, entry, directory / entry.path)

    # some file systems share one position among all who read a file, so each blob has one reader
    _each(write, by_digest.values())
    # after the files, so that no file is ever written through a link
    for entry in manifest.entries:
        if entry.link is not None:
            (directory / entry.path).symlink_to(entry.link)


def _each(work: Callable[[T], None], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="blobs") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _restore_file(blobs: BlobReader, entry: Entry, path: Path) -> None:
    mode = 0o777 if entry.executable else 0o666
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError as error:
        raise Invalid(f"'{entry.path}' has the same name as another file here.") from error
    written = 0
    with os.fdopen(descriptor, "wb", buffering=0) as target, blobs.open(entry.digest) as source:
        try:
            for chunk in _verified(source, entry.digest):
                written += len(chunk)
                if written > entry.size_bytes:
                    break
                _write_all(target, chunk)
        except Conflict as error:
            raise damaged(entry.digest) from error
    if written != entry.size_bytes:
        raise damaged(entry.digest)


@contextmanager
def _new_partial(directory: Path) -> Iterator[Path]:
    """Make a directory beside and hold its lock; what is left of it at the end is removed."""
    while True:
        partial = directory.with_name(f".{directory.name[:50]}.partial-{secrets.token_hex(8)}")
        partial.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(partial, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # another restore may have taken it for a dead one's before it was locked
            if partial.exists():
                break
            os.close(lock)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def _remove_partial(directory: Path) -> None:
    """Remove what killed restores of the same directory left; a living one holds its lock."""
    for left in directory.parent.glob(f".{glob.escape(directory.name[:50])}.partial-*"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(lock)


def _verified(stream: BinaryIO, digest: str) -> Iterator[bytes]:
    """Yield the stream's chunks.

    Raises:
        Conflict: at the end, when they were not of the digest.
    """
    hasher = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != digest:
        raise Conflict(
            f"The data is not of the digest {digest}.", "It changed meanwhile; try again."
        )


def _write_all(file: Any, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise Invalid("A digest is a sha256 in lower-case hexadecimal.", field="digest")
    return digest


def _changed(path: Path) -> Conflict:
    return Conflict(f"'{path}' has changed since it was read.", "Try again.")


def _occupied(directory: Path) -> Conflict:
    return Conflict(f"'{directory}' is not empty.", "Restore into a new one.", field="directory")
