"""Wheels that are built from source: in the sandbox, once, when a definition is locked.

What a build gives is not decided by its source alone: the tools that it takes are newer tomorrow,
and compilers write down where they ran. So the wheel itself goes into the lock, in base64, and
whoever installs the lock runs no build script and needs neither trust in one nor a sandbox:

    [tool.element.built.docopt]
    source = "…"        what it was built from: the hash that `lockfile.artefact` gives
    name = "docopt-0.6.2-py3-none-any.whl"
    sha256 = "…"
    content = "…"
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from packaging.pylock import Package
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from element_jupyter.adapters.uv import lockfile
from element_jupyter.adapters.uv.lockfile import Document, Source
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Definition

if TYPE_CHECKING:
    from element_jupyter.adapters.uv.locking import Resolving

LARGEST_BYTES: Final = 10_000_000
"""Of all the wheels together that a lock may carry."""

_UNPACKED_BYTES: Final = 200_000_000
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

Built = Mapping[str, Mapping[str, str]]
"""`[tool.element.built]`, by the packages' names."""


def build(
    resolving: Resolving, sources: Sequence[tuple[Package, Source]], definition: Definition
) -> dict[str, Mapping[str, str]]:
    """Build what is no wheel, and return it as it goes into the lock.

    Raises:
        EnvironmentFailed: something cannot be built, or is too large to be kept.
    """
    if not sources:
        return {}
    cache = resolving.built(lockfile.reduced(sources), definition)
    built: dict[str, Mapping[str, str]] = {}
    for package, source in sources:
        name = str(package.name)
        path = _wheel_of(cache, name)
        content = _canonical(read_plainly(path, cache), name)
        built[name] = {
            "source": lockfile.artefact(package, source).sha256,
            "name": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "content": base64.b64encode(content).decode(),
        }
    size = sum(len(each["content"]) for each in built.values()) * 3 // 4
    if size > LARGEST_BYTES:
        raise _refused(
            ", ".join(sorted(built)),
            f"have {size / 1e6:.0f} MB when they are built, and a lock, which has to carry them so"
            f" that every run gets the same, may have {LARGEST_BYTES / 1e6:.0f} MB",
        )
    return built


def of_lock(document: Document) -> Built:
    """Return the wheels that a lock carries; nothing of what is malformed."""
    said = lockfile.ours(document).get("built", {})
    keys = ("source", "name", "sha256", "content")
    return {
        str(name): each
        for name, each in (said.items() if isinstance(said, dict) else ())
        if isinstance(each, dict) and all(isinstance(each.get(key), str) for key in keys)
    }


def without_wheels(content: bytes) -> bytes:
    """Return a lock for people and their git, who have no use for what it carries."""
    text, found, _ = content.partition(b"\n[tool.element.built.")
    return text if found else content


def unpacked(built: Mapping[str, str], name: str, directory: Path) -> Document:
    """Write a wheel that a lock carries, and return its table for a lock beside it.

    Raises:
        EnvironmentFailed: it is not what its hash says; `hash_mismatch`.
    """
    try:
        content = base64.b64decode(built["content"], validate=True)
        owner, *_ = parse_wheel_filename(built["name"])
    except (ValueError, InvalidWheelFilename):
        content, owner = b"", canonicalize_name("")
    is_name = "/" not in built["name"]
    if hashlib.sha256(content).hexdigest() != built["sha256"] or owner != name or not is_name:
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.HASH_MISMATCH,
                title="A package that was built is damaged",
                summary=f"The lock carries a wheel of {name}, and it is not what its hash says.",
                hints=("Lock the definition again: `element env lock`.",),
            )
        )
    (directory / built["name"]).write_bytes(content)
    wheel = {"name": built["name"], "path": built["name"], "hashes": {"sha256": built["sha256"]}}
    return {"wheels": [wheel]}


def without_times(prefix: Path) -> None:
    """Take away what uv notes of files that came from a directory: the time at which that was."""
    for note in prefix.glob("lib/python*/site-packages/*.dist-info/uv_cache.json"):
        record = note.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        name = f"{note.parent.name}/{note.name},"
        replaced = note.with_name("RECORD.new")
        replaced.write_text("".join(each for each in lines if not each.startswith(name)))
        replaced.replace(record)
        note.unlink()


def read_plainly(path: Path, top: Path) -> bytes:
    """Read a file that a build may have made, and never what it has put a link to.

    Raises:
        EnvironmentFailed: it is no file, lies elsewhere, or is too large.
    """
    try:
        # nothing of the sandbox runs any more
        if path.parent.resolve().is_relative_to(top.resolve()):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode) and status.st_size <= _UNPACKED_BYTES:
                    return file.read()
    except OSError:
        pass
    raise _refused("a build script", "has left something else than the file that it should have")


def _wheel_of(cache: Path, name: str) -> Path:
    """Return the wheel that uv has built; `sdists-v*` is where it keeps these."""
    found = []
    for path in cache.glob("sdists-v*/**/*.whl"):
        try:
            owner, *_ = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if owner == name and not path.is_dir():
            found.append(path)
    if len(found) != 1:
        raise _refused(name, f"gave {len(found)} wheels when it was built")
    return found[0]


def _canonical(content: bytes, name: str) -> bytes:
    """Return a wheel with the same files, and without times, order and what is beside them."""
    packed = io.BytesIO()
    total = 0
    try:
        with (
            zipfile.ZipFile(io.BytesIO(content)) as old,
            zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for info in sorted(old.infolist(), key=lambda each: each.filename):
                mode = info.external_attr >> 16
                parts = PurePosixPath(info.filename).parts
                if stat.S_ISLNK(mode) or ".." in parts or info.filename.startswith("/"):
                    raise _refused(name, f"has the file {info.filename!r}, which leads elsewhere")
                total += info.file_size
                if total > _UNPACKED_BYTES:
                    raise _refused(name, "is too large")
                if info.is_dir():
                    continue
                plain = zipfile.ZipInfo(info.filename, _EPOCH)
                plain.external_attr = (0o755 if mode & 0o111 else 0o644) << 16
                plain.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(plain, old.read(info))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise _refused(name, f"was built to something that is no wheel: {error}") from error
    return packed.getvalue()


def _refused(name: str, why: str) -> EnvironmentFailed:
    return EnvironmentFailed(
        Failure(
            code=FailureCode.NOT_SUPPORTED,
            title="What was built from source cannot be used",
            summary=f"{name[0].upper()}{name[1:]} {why}.",
            hints=("Have a wheel of it built once, and put on an index.",),
        )
    )
