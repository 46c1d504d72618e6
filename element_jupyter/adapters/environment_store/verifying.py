"""Compares an environment with what its manifest and the records of its packages say."""

# there are tens of thousands of files
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from element_jupyter.adapters.environment_store.compared import Compared
from element_jupyter.adapters.environment_store.contents import (
    LOCK,
    MANIFEST,
    NOTED,
    OURS,
    Contents,
    hash_of,
    is_bytecode,
    normalised,
    note,
    noted,
    read_manifest,
    recorded,
    walk,
)
from element_jupyter.core.environments.keeping import Fault, Manifest, Verification

_THREADS: Final = min(4, os.cpu_count() or 1)
"""Hashing lets go of the interpreter; 14,479 files took 0.25 s with two, 0.45 s with one."""
_SHARE: Final = 200

KnownBytecode = Callable[[str, str, str], bool]
"""Whether the pool has byte-code: the source's path, its sha256, the byte-code's own path."""


class _Task(NamedTuple):
    path: str
    file: str
    algorithm: str
    hexadecimal: str
    seal: bool = False


def verify(
    prefix: Path, environment_id: str, known_bytecode: KnownBytecode, *, quick: bool = False
) -> Verification:
    """Compare every file of a published environment; `quick` looks at names and sizes only.

    The distributions must be those of the manifest, and no file may be there that no record has.
    """
    began = time.monotonic()
    contents = recorded(prefix)
    faults = list(contents.faults)
    manifest = read_manifest(prefix)
    if manifest is None:
        faults.append(Fault(path=MANIFEST, problem="cannot be read"))
    else:
        faults += _of_manifest(prefix, environment_id, manifest)
        faults += distribution_faults(contents, manifest)
    try:
        notes = noted(prefix)
    except ValueError as error:
        faults.append(Fault(path=NOTED, problem=f"cannot be read: {str(error)[:200]}"))
        notes = {}
    count, found = _compare(prefix, contents, notes, known_bytecode, quick=quick)
    faults += found
    return Verification(
        environment_id=environment_id,
        files=count,
        seconds=round(time.monotonic() - began, 3),
        faults=tuple(sorted(faults, key=lambda each: each.path)),
    )


def distribution_faults(contents: Contents, manifest: Manifest) -> list[Fault]:
    """Compare what is installed with the manifest: the same names, the same versions."""
    wanted = Counter(_same(each.name, each.version) for each in manifest.packages)
    there = Counter(_same(name, version) for name, version in contents.distributions)
    return [
        *(
            Fault(path=f"{name} {version}", problem="is in the lock and not installed")
            for name, version in (wanted - there).elements()
        ),
        *(
            Fault(path=f"{name} {version}", problem="is installed and not in the lock")
            for name, version in (there - wanted).elements()
        ),
    ]


def sealed_faults(prefix: Path, contents: Contents, compared: Compared) -> list[Fault]:
    """Compare every file that a record has a hash of and make it read-only.

    Those that are the same files as were compared before are not hashed again.
    """
    left, found = compared.left(prefix, contents)
    tasks = (_Task(path, f"{prefix}/{path}", *contents.files[path][:2], True) for path in left)
    faults = _hashed(list(tasks))
    if not faults:
        compared.remember(found)
    return faults


def _same(name: str, version: str) -> tuple[str, str]:
    from packaging.utils import canonicalize_version

    return normalised(name), canonicalize_version(version)


def _of_manifest(prefix: Path, environment_id: str, manifest: Manifest) -> Iterator[Fault]:
    if manifest.environment_id != environment_id:
        yield Fault(path=MANIFEST, problem=f"is of {manifest.environment_id}")
    try:
        lock = (prefix / LOCK).read_bytes()
    except OSError as error:
        yield Fault(path=LOCK, problem=f"cannot be read: {error.strerror}")
    else:
        if hashlib.sha256(lock).hexdigest() != manifest.lock_id:
            yield Fault(path=LOCK, problem="changed")


def _compare(
    prefix: Path,
    contents: Contents,
    notes: Mapping[str, str],
    known_bytecode: KnownBytecode,
    *,
    quick: bool,
) -> tuple[int, list[Fault]]:
    missing = contents.files.keys() | notes.keys()
    faults: list[Fault] = []
    tasks: list[_Task] = []
    count = 0
    for path, entry in walk(prefix):
        if path.startswith(f"{OURS}/") and path in {MANIFEST, LOCK, NOTED}:
            continue
        count += 1
        missing.discard(path)
        digest = contents.files.get(path)
        problem = None
        if digest is not None:
            if entry.is_symlink():
                problem = "is a link"
            elif quick and digest.size not in {None, entry.stat(follow_symlinks=False).st_size}:
                problem = "changed"
            else:
                tasks.append(_Task(path, entry.path, digest.algorithm, digest.hexadecimal))
        elif path in notes:
            problem = None if quick else _noted_fault(entry, notes[path])
        elif is_bytecode(path):
            problem = None if quick else _bytecode_fault(prefix, path, contents, known_bytecode)
        else:
            problem = "not in the lock"
        if problem is not None:
            faults.append(Fault(path=path, problem=problem))
    faults += [Fault(path=path, problem="missing") for path in missing]
    return count, faults if quick else [*faults, *_hashed(tasks)]


def _hashed(tasks: Sequence[_Task]) -> list[Fault]:
    shares = [tasks[start : start + _SHARE] for start in range(0, len(tasks), _SHARE)]
    with ThreadPoolExecutor(_THREADS) as threads:
        return [fault for faults in threads.map(_hash_share, shares) for fault in faults]


def _hash_share(tasks: Sequence[_Task]) -> list[Fault]:
    faults = []
    for task in tasks:
        try:
            if hash_of(task.file, task.algorithm, seal=task.seal) != task.hexadecimal:
                faults.append(Fault(path=task.path, problem="changed"))
        except FileNotFoundError:
            faults.append(Fault(path=task.path, problem="missing"))
        except OSError as error:
            faults.append(Fault(path=task.path, problem=f"cannot be read: {error.strerror}"))
    return faults


def _noted_fault(entry: os.DirEntry[str], was: str) -> str | None:
    try:
        return None if note(entry) == was else "changed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _bytecode_fault(
    prefix: Path, path: str, contents: Contents, known_bytecode: KnownBytecode
) -> str | None:
    """Say what is wrong with byte-code that no record has: it is the pool's, or Python's own.

    Python writes its own where a kernel may write (its user is root). That has its source's time
    and size in it (PEP 552), and Python leaves it alone when they do not agree.
    """
    directory, _, name = path.rpartition("__pycache__/")
    source = f"{directory}{name.partition('.')[0]}.py"
    digest = contents.files.get(source)
    if digest is None:
        return "is of a module that is not in the lock"
    file = f"{prefix}/{path}"
    try:
        if digest.sha256 is not None and known_bytecode(source, digest.sha256, file):
            return None
        with open(file, "rb") as opened:
            flags, seconds, size = struct.unpack("<4xIII", opened.read(16))
        status = os.stat(f"{prefix}/{source}")
    except (OSError, struct.error) as error:
        return f"cannot be read: {error}"
    if flags == 0 and (seconds, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size):
        return None
    return "is not the byte-code of its module"
