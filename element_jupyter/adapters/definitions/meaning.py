"""From a draft to a definition: its lock, its Python, and the hash of what it means.

The hash covers requirements, constraints, indexes in their order, Python and the chosen extras and
groups, each in one way of writing; and a lock's own bytes when a lock is used. Comments, order,
line ends, byte order marks and credentials are not in it.
"""

from __future__ import annotations

import hashlib
import json
import posixpath

from element_jupyter.adapters.definitions.pylock import lock_name, meaning_of_lock, note_uv_lock
from element_jupyter.adapters.definitions.python_version import combined
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.core.environments.definitions import Definition, Kind

SCHEMA = 1
"""Raised when the same definition must be locked anew."""


def finish(draft: Draft, *, why: str, name: str | None = None, own_lock: bool = True) -> Definition:
    """Return the definition that a draft has become; without `own_lock` no lock beside it counts.

    Raises:
        EnvironmentFailed: what it says about Python is wrong.
    """
    python, python_from = combined(draft)
    document = json.dumps([SCHEMA, draft.kind, draft.says, python], sort_keys=True)
    meaning = hashlib.sha256(document.encode()).hexdigest()
    beside = draft.kind in {Kind.PYPROJECT, Kind.CONDA, Kind.REQUIREMENTS, Kind.INLINE}
    if beside and draft.lock_path is None and own_lock:
        _take_lock(draft, meaning)
    elif not own_lock and draft.kind is Kind.PYPROJECT and draft.lock_path is not None:
        del draft.files[draft.lock_path], draft.contents[draft.lock_path]
        draft.lock_path = None
    if draft.lock_path is not None and draft.lock_path != draft.path:
        if posixpath.basename(draft.lock_path) == "uv.lock":
            note_uv_lock(draft, draft.lock_path, draft.contents[draft.lock_path])
        both = f"{meaning} {draft.files[draft.lock_path]}"
        alone, meaning = meaning, hashlib.sha256(both.encode()).hexdigest()
        # a locker compares what its copy says with what the definition means, lock and all
        copy = draft.contents[draft.lock_path].replace(alone.encode(), meaning.encode())
        draft.contents[draft.lock_path] = copy
    elif draft.kind is Kind.PYLOCK:
        both = f"{meaning} {draft.files[draft.path]}"
        meaning = hashlib.sha256(both.encode()).hexdigest()
    return Definition(
        kind=draft.kind,
        path=draft.path,
        name=name,
        why=why,
        entry=draft.entry,
        lock_path=draft.lock_path,
        files=dict(sorted(draft.files.items())),
        meaning=meaning,
        python=python,
        python_from=python_from,
        requirements=tuple(draft.requirements),
        extras=draft.extras,
        groups=draft.groups,
        variant=draft.variant,
        variants=draft.variants,
        origins=tuple(draft.origins),
    )


def _take_lock(draft: Draft, meaning: str) -> None:
    """Use the lock beside a definition if it says that it was made from just this."""
    path = lock_name(draft.path, draft.kind, draft.variant)
    if draft.kind is Kind.PYPROJECT:
        path = posixpath.join(draft.directory, "pylock.toml")
    if not draft.reader.has(path) or (content := draft.reader.raw(path)) is None:
        return
    said = meaning_of_lock(content)
    if said == meaning:
        draft.take(path, content)
        draft.lock_path = path
    elif said is None:
        draft.ignore(path, f"it does not say that it was made from {draft.path}")
    else:
        draft.ignore(path, f"it is older than {draft.path}: `element env lock` writes it anew")
        draft.notice(
            f"{path} was made from another {draft.path} than this one, so it does not count: "
            "`element env lock` writes it anew."
        )
