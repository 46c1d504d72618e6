"""Writing a lock beside its definition, for a person to keep in git."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from element_jupyter.adapters.definitions import lock_name
from element_jupyter.adapters.uv.building import without_wheels
from element_jupyter.core.environments.building import Tell
from element_jupyter.core.environments.definitions import Found, Kind
from element_jupyter.core.errors import Invalid
from element_jupyter.core.values import Value
from element_jupyter.platform.environments.ensuring import Maker


class Change(Value):
    """One package whose version a lock changes; None where it is not in it."""

    name: str
    before: str | None
    after: str | None


class LockFile(Value):
    """What locking a definition makes of the lock beside it."""

    path: str
    is_current: bool
    """Whether the file said all this before."""
    written: bool
    changes: tuple[Change, ...]


def lock_beside(
    maker: Maker,
    found: Found,
    without_locks: Callable[[], Found],
    tell: Tell,
    *,
    upgrade: bool = False,
    write: bool = True,
) -> LockFile:
    """Lock a definition, with the versions of the lock beside it as far as they can be kept.

    `without_locks` finds it again, as if no lock were beside it.

    Raises:
        EnvironmentFailed: it cannot be locked.
        Invalid: its lock is another tool's to write, or the directory cannot be written.
    """
    definition = found.definition
    if found.root is None:
        raise Invalid(f"{definition.title} is not on disk.", field="notebook")
    if definition.kind is Kind.PIXI:
        raise Invalid(
            f"{definition.path} is locked by pixi.lock, which pixi writes.",
            "Run `pixi lock` in its directory.",
            field="notebook",
        )
    if definition.kind is Kind.PYLOCK:
        raise Invalid(
            f"{definition.path} is a lock itself.",
            "Name the packages that you want in a requirements.txt beside it.",
            field="notebook",
        )
    name = lock_name(definition.path, definition.kind, definition.variant)
    if definition.kind is Kind.PYPROJECT:
        name = definition.lock_path or name  # that of a workspace is further up
    path = found.root / name
    before = path.read_bytes() if path.is_file() else None
    if path.name == "uv.lock":
        after = _uv_lock(maker, found, name, tell, upgrade=upgrade)
    else:
        after = without_wheels(
            maker.resolve(without_locks(), tell, previous=before, upgrade=upgrade)
        )
    if write and after != before:
        _write(path, after)
    return LockFile(
        path=str(path),
        is_current=after == before,
        written=write and after != before,
        changes=_changes(before, after),
    )


def _uv_lock(maker: Maker, found: Found, name: str, tell: Tell, *, upgrade: bool) -> bytes:
    with maker.lookup.store.workspace() as scratch:
        maker.resolve(found, tell, previous=None, upgrade=upgrade, scratch=scratch)
        # the one that `uv lock` has written in its copy of the project
        # a build script may have left links
        top = scratch.resolve()
        plain = (each for each in top.rglob("uv.lock") if each.resolve() == each)
        made = [each for each in plain if each.is_file() and each.as_posix().endswith(f"/{name}")]
        return min(made, key=lambda each: len(each.parts)).read_bytes()


def _write(path: Path, content: bytes) -> None:
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Invalid(
            f"The lock cannot be written to {path}: {error.strerror}.",
            "Nothing needs it there: environments are built from the store's own copy. To keep it"
            " in git, make the directory writable.",
            field="notebook",
        ) from error


def _changes(before: bytes | None, after: bytes) -> tuple[Change, ...]:
    old, new = _versions(before), _versions(after)
    return tuple(
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _versions(lock: bytes | None) -> Mapping[str, str]:
    """Return the packages of a lock of either tool; of one that cannot be read none."""
    if lock is None:
        return {}
    try:
        document = cast("Any", tomllib.loads(lock.decode()))
        rows = document.get("packages") or document.get("package") or ()
        return {each["name"]: each.get("version", "") for each in rows}
    except (ValueError, KeyError, TypeError, AttributeError):
        return _conda_versions(lock)


def _conda_versions(lock: bytes) -> Mapping[str, str]:
    names = re.findall(rb"/([A-Za-z0-9_.-]+?)-([^-/\s\"]+)-[^-/\s\"]+\.(?:conda|tar\.bz2)", lock)
    return {name.decode(): version.decode() for name, version in names}
