"""Takes away what the damaged files of an environment are hard-linked from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from element_jupyter.adapters.environment_store.contents import site_packages
from element_jupyter.adapters.environment_store.layout import Layout
from element_jupyter.core.environments.keeping import Fault

_UNPACKED: Final = ("uv-cache/archive-v*/*", "rattler-cache/*", "rattler-cache/*/*")
"""Where the caches have a package's files; each match is of one package."""


def drop_sources(layout: Layout, prefix: Path, faults: Iterable[Fault]) -> list[Path]:
    """Take out of the caches what has the damaged files themselves; return what that was.

    A file that was changed in one place is changed in all that link to it, and every later
    environment would have it, however it is pinned. Installers then take the package from where it
    comes from, and look at its hash.
    """
    dropped = _sources(layout, prefix, faults)
    for path in dropped:
        if path.is_dir() and not path.is_symlink():
            layout.discard(path)
        else:
            path.unlink(missing_ok=True)
    return dropped


def _sources(layout: Layout, prefix: Path, faults: Iterable[Fault]) -> list[Path]:
    damaged = {
        (status.st_dev, status.st_ino): fault.path
        for fault in faults
        if (status := _status(prefix / fault.path)) is not None and status.st_nlink > 1
    }
    if not damaged:
        return []
    inside = {
        relative
        for path in damaged.values()
        for relative in (path, *_in_package(path, site_packages(prefix)))
    }
    unpacked = {path for pattern in _UNPACKED for path in layout.root.glob(pattern)}
    found = {
        package
        for package in unpacked
        for relative in inside
        if (status := _status(package / relative)) is not None
        and (status.st_dev, status.st_ino) in damaged
    }
    entries = {path for path in layout.pyc.glob("*/??/*") if _is_among(path, damaged)}
    return sorted(found | entries | _pointers(layout, found))


def _pointers(layout: Layout, unpacked: Iterable[Path]) -> set[Path]:
    """Return what in uv's cache says where packages are unpacked.

    uv trusts what it says of a wheel from a directory, and would fail for a package that is gone.
    The names are 16 random letters, so whatever has one in it is about that package.
    """
    names = [path.name.encode() for path in unpacked if path.parent.name.startswith("archive-v")]
    return {
        path
        for path in layout.uv_cache.glob("wheels-v*/**/*")
        if names and (content := _said(path)) and any(name in content for name in names)
    }


def _said(path: Path) -> bytes:
    try:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def _in_package(path: str, packages: Iterable[str]) -> Iterator[str]:
    """Yield where a module is in an unpacked wheel, and in a conda package for any Python."""
    for each in packages:
        if path.startswith(f"{each}/"):
            module = path.removeprefix(f"{each}/")
            yield from (module, f"site-packages/{module}")


def _is_among(path: Path, damaged: dict[tuple[int, int], str]) -> bool:
    status = _status(path)
    return status is not None and (status.st_dev, status.st_ino) in damaged


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
