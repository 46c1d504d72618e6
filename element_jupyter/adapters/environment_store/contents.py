"""What the records in an environment say is in it: of wheels `RECORD`, of conda `conda-meta`.

`RECORD` lists a wheel's files with their hashes, relative to site-packages:
https://packaging.python.org/en/latest/specifications/recording-installed-packages/. A file of
`conda-meta` lists a conda package's, relative to the prefix; `sha256_in_prefix` is of the file
after the prefix was written into it. Whatever neither knows (a record itself, the scripts of venv)
is noted with its hash when an environment is published, in `.element/files.json`.
"""

# there are tens of thousands of files
# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import binascii
import csv
import errno
import functools
import hashlib
import io
import json
import os
import posixpath
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from element_jupyter.core.environments.keeping import Fault, Manifest

OURS: Final = ".element"
MANIFEST: Final = f"{OURS}/manifest.json"
LOCK: Final = f"{OURS}/lock"
NOTED: Final = f"{OURS}/files.json"

_READ_BYTES: Final = 1 << 20
_UNUSUAL: Final = re.compile(r"^/|^\.|/[./]|/$")
"""Paths that are not in their shortest form, and some that are."""
_FIELD: Final = re.compile(rb"^(Name|Version):[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)


class Digest(NamedTuple):
    """What a record says of a file."""

    algorithm: str
    hexadecimal: str
    size: int | None

    @property
    def sha256(self) -> str | None:
        return self.hexadecimal if self.algorithm == "sha256" else None


@dataclass
class Contents:
    """What the records say; paths are POSIX, relative to the prefix."""

    files: dict[str, Digest] = field(default_factory=dict)
    unhashed: set[str] = field(default_factory=set)
    """Named without a hash: the records themselves, above all."""
    wheels: dict[str, list[str]] = field(default_factory=dict)
    """By the sha256 of its RECORD, the files of each wheel that have a hash."""
    distributions: list[tuple[str, str]] = field(default_factory=list)
    """Normalised names and versions."""
    faults: list[Fault] = field(default_factory=list)


def recorded(prefix: Path) -> Contents:
    """Read all records of an environment; one that cannot be read is a fault."""
    contents = Contents()
    owned = _read_conda(prefix, contents)
    for packages, name in _wheels(prefix):
        if f"{packages}/{name}/METADATA" not in owned:
            _read_wheel(prefix, packages, f"{packages}/{name}", contents)
    return contents


def recorded_of(prefix: Path, distributions: Collection[str]) -> Contents:
    """Read the records of a few wheels only, by their normalised names."""
    contents = Contents()
    for packages, name in _wheels(prefix):
        if normalised(name.partition("-")[0]) in distributions:
            _read_wheel(prefix, packages, f"{packages}/{name}", contents)
    return contents


def _wheels(prefix: Path) -> Iterator[tuple[str, str]]:
    for packages in site_packages(prefix):
        for name in sorted(os.listdir(prefix / packages)):
            if name.endswith(".dist-info"):
                yield packages, name


def read_manifest(prefix: Path) -> Manifest | None:
    """Return the manifest of an environment; None when it is missing or damaged."""
    try:
        return Manifest.model_validate_json((prefix / MANIFEST).read_bytes())
    except ValidationError:
        return None
    except OSError as error:
        # a process that may open no more files must not take an environment for damaged
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            raise
        return None


def site_packages(prefix: Path) -> list[str]:
    """Return the directories, relative to the prefix, that Python imports packages from."""
    try:
        names = sorted(os.listdir(prefix / "lib"))
    except OSError:
        return []
    found = (f"lib/{name}/site-packages" for name in names if name.startswith("python"))
    return [each for each in found if (prefix / each).is_dir()]


def walk(
    prefix: Path, directories: list[str] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a directory but directories, with its path relative to it.

    The directories, in full, are added to the list, each after the one that it is in.
    """
    waiting = [(os.fspath(prefix), "")]
    while waiting:
        directory, relative = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{relative}{entry.name}/"))
                    if directories is not None:
                        directories.append(entry.path)
                else:
                    yield f"{relative}{entry.name}", entry


def is_bytecode(path: str) -> bool:
    """Tell whether a path is where Python looks for the byte-code of a module beside it."""
    return path.endswith(".pyc") and "__pycache__/" in path


def read_only(mode: int) -> int:
    """Return the mode that a file of this mode is sealed with."""
    return 0o555 if mode & stat.S_IXUSR else 0o444


def hash_of(path: str, algorithm: str = "sha256", *, seal: bool = False) -> str:
    """Return the hash of a file's content, in hexadecimal; `seal` makes it read-only, too.

    Raises:
        OSError: it cannot be read, or is a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if seal and (mode := stat.S_IMODE(status.st_mode)) != (sealed := read_only(mode)):
            os.fchmod(descriptor, sealed)
        # most files are small: a large buffer for each would take longer than the reading
        wanted = min(status.st_size + 1, _READ_BYTES)
        content = os.read(descriptor, wanted)
        digest = _new(algorithm)(content, usedforsecurity=False)
        while len(content) == wanted:
            wanted = _READ_BYTES
            content = os.read(descriptor, wanted)
            digest.update(content)
    finally:
        os.close(descriptor)
    return str(digest.hexdigest())


@functools.cache
def _new(algorithm: str) -> Callable[..., Any]:
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        raise ValueError(f"no hash of files is called {algorithm!r}")
    constructor: Callable[..., Any] = getattr(hashlib, algorithm)
    return constructor


@functools.cache
def _length(algorithm: str) -> int:
    return int(_new(algorithm)(usedforsecurity=False).digest_size)


def note(entry: os.DirEntry[str]) -> str:
    """Return what is noted of a file that no record knows: its sha256, or where it links to."""
    return f"link:{os.readlink(entry.path)}" if entry.is_symlink() else hash_of(entry.path)


def noted(prefix: Path) -> dict[str, str]:
    """Return what was noted at publishing.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        document = json.loads((prefix / NOTED).read_bytes())
    except OSError as error:
        raise ValueError(str(error)) from error
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as of any other content
    return document


def normalised(name: str) -> str:
    """Return a distribution's name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


# -------------------------------------------------------------------------------------- the kinds


def _read_wheel(prefix: Path, packages: str, directory: str, contents: Contents) -> None:
    record = f"{directory}/RECORD"
    try:
        contents.distributions.append(_named(prefix / directory / "METADATA"))
        said = (prefix / record).read_bytes()
        paths = contents.wheels.setdefault(hashlib.sha256(said).hexdigest(), [])
        for row in csv.reader(io.StringIO(said.decode(), newline="")):
            if row:
                path = f"{packages}/{row[0]}"
                if _UNUSUAL.search(row[0]):
                    path = posixpath.normpath(posixpath.join(packages, row[0]))
                _add(contents, path, record, *row[1:3])
                if path in contents.files:
                    paths.append(path)
    except (OSError, ValueError, csv.Error) as error:
        contents.faults.append(Fault(path=record, problem=f"cannot be read: {error}"))
    contents.unhashed.add(record)


def _add(contents: Contents, path: str, record: str, digest: str = "", size: str = "") -> None:
    if path.startswith(("/", "../")):
        problem = f"names a file outside of the environment: {path[:200]}"
        contents.faults.append(Fault(path=record, problem=problem))
        return
    algorithm, _, encoded = digest.partition("=")
    if not encoded:
        contents.unhashed.add(path)
        return
    try:
        standard = encoded.replace("-", "+").replace("_", "/")
        raw = binascii.a2b_base64(standard + "=" * (-len(encoded) % 4))
        if _length(algorithm) != len(raw):
            raise ValueError("of another length")
    except (ValueError, binascii.Error):
        contents.faults.append(Fault(path=record, problem=f"has no hash of {path[:200]}"))
        contents.unhashed.add(path)
        return
    contents.files[path] = Digest(algorithm, raw.hex(), int(size) if size.isdigit() else None)


def _named(metadata: Path) -> tuple[str, str]:
    header = metadata.read_bytes().partition(b"\n\n")[0]
    fields: Mapping[bytes, bytes] = {
        match[1]: match[2] for match in reversed(list(_FIELD.finditer(header)))
    }
    if len(fields) != 2:
        raise ValueError("METADATA has no name and version")
    return normalised(fields[b"Name"].decode()), fields[b"Version"].decode()


def _read_conda(prefix: Path, contents: Contents) -> set[str]:
    """Read `conda-meta`; return all paths that conda packages own."""
    owned: set[str] = set()
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        relative = f"conda-meta/{path.name}"
        contents.unhashed.add(relative)
        try:
            document = json.loads(path.read_bytes())
            contents.distributions.append((normalised(document["name"]), str(document["version"])))
            for each in document["paths_data"]["paths"]:
                owned.add(_add_conda(contents, each))
        except (OSError, ValueError, KeyError, TypeError) as error:
            contents.faults.append(Fault(path=relative, problem=f"cannot be read: {error!r}"))
    return owned


def _add_conda(contents: Contents, each: Mapping[str, Any]) -> str:
    path: str = posixpath.normpath(each["_path"])
    digest = each.get("sha256_in_prefix") or each.get("sha256")
    if digest and each.get("path_type") in {None, "hardlink"}:
        # the size is of the file before the prefix was written into it
        size = None if each.get("sha256_in_prefix") else each.get("size_in_bytes")
        contents.files[path] = Digest("sha256", digest, size)
    else:
        contents.unhashed.add(path)
    return path
