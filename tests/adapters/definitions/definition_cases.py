"""A table's row about definitions: files, what is asked, and what must be found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import DiskFiles, Missing, find
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import Found, Pointer, parse_pointer
from element_jupyter.core.errors import ElementError

Tree = Mapping[str, str | bytes]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is in a tree, and what `find` must say of it; what is not named is not looked at."""

    files: Tree
    notebook: str = "n.ipynb"
    cell: str | None = None
    """Source of the notebook's one code cell."""
    says: object = None
    """The notebook's metadata.element.environment."""
    pointer: str | None = None
    variant: str | None = None

    wins: str | None = None
    """Path of the definition; `-` when there must be none."""
    kind: str | None = None
    why: str = ""
    names: Sequence[str] | None = None
    specs: Sequence[str] | None = None
    closure: Sequence[str] | None = None
    lock: str | None = None
    """`-` when there must be none."""
    python: str | None = None
    python_from: str | None = None
    extras: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    variants: Sequence[str] | None = None
    origins: Sequence[tuple[str, str]] | None = None
    ignored: Mapping[str, str] | None = None
    """All that is ignored, with a piece of the reason."""
    notices: Sequence[str] | None = None
    """A piece of each."""
    same_as: Tree | None = None
    """Files that mean the same."""
    unlike: Tree | None = None
    """Files that do not."""

    fails: str | None = None
    """The failure's code, or the error's."""
    at: str | None = None
    """Its culprit: `requirements.txt:3`."""
    says_why: str = ""
    hint: str = ""


def plant(root: Path, files: Tree) -> DiskFiles:
    """Write a tree."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return DiskFiles(root)


def notebook(cell: str | None = None, says: object = None) -> dict[str, object]:
    """A notebook with one code cell, and what its metadata say of the environment."""
    metadata = {"element": {"environment": says}} if says is not None else {}
    cells = (
        [] if cell is None else [{"cell_type": "code", "source": cell.splitlines(keepends=True)}]
    )
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def found_in(root: Path, case: Case, files: Tree | None = None) -> Found | Missing:
    tree = plant(root, case.files if files is None else files)
    if case.cell is not None or case.says is not None:
        plant(root, {case.notebook: json.dumps(notebook(case.cell, case.says))})
    pointer: Pointer | None = parse_pointer(case.pointer) if case.pointer else None
    return find(tree, case.notebook, pointer=pointer, variant=case.variant)


def check(case: Case, root: Path) -> None:
    """Look whether a tree gives what the row says."""
    if case.fails is not None:
        _check_failure(case, root)
        return
    found = found_in(root / "tree", case)
    if case.wins == "-":
        assert isinstance(found, Missing)
    else:
        assert isinstance(found, Found), found
        _check_definition(case, found)
        for others, equal in ((case.same_as, True), (case.unlike, False)):
            if others is not None:
                other = found_in(root / f"other {equal}", case, others)
                assert isinstance(other, Found)
                assert (other.definition.meaning == found.definition.meaning) is equal
    if case.ignored is not None:
        reasons = {each.path: each.reason for each in found.ignored}
        assert sorted(reasons) == sorted(case.ignored)
        assert all(piece in reasons[path] for path, piece in case.ignored.items()), reasons
        assert len(reasons) == len(found.ignored)
    if case.notices is not None:
        assert len(found.notices) == len(case.notices), found.notices
        assert all(a in b for a, b in zip(case.notices, found.notices, strict=True)), found.notices


def _check_definition(case: Case, found: Found) -> None:
    definition = found.definition
    seen = {
        "wins": definition.path,
        "kind": definition.kind,
        "names": [each.name for each in definition.requirements],
        "specs": [each.spec for each in definition.requirements],
        "closure": sorted(definition.files),
        "lock": definition.lock_path or "-",
        "python": definition.python,
        "python_from": definition.python_from,
        "extras": list(definition.extras),
        "groups": list(definition.groups),
        "variants": list(definition.variants),
        "origins": [(each.kind.value, each.location) for each in definition.origins],
    }
    for key, value in seen.items():
        expected = getattr(case, key)
        if expected is not None:
            assert value == (list(expected) if isinstance(value, list) else expected), key
    assert case.why in definition.why
    assert definition.entry in found.contents
    assert definition.lock_path is None or definition.lock_path in found.contents
    for path in set(found.contents) & set(definition.files):
        assert not found.contents[path].startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))


def _check_failure(case: Case, root: Path) -> None:
    with pytest.raises(ElementError) as caught:
        found_in(root / "tree", case)
    error = caught.value
    if isinstance(error, EnvironmentFailed):
        assert error.failure.code == case.fails, error
        culprit = error.failure.culprits[0]
        where = f"{culprit.file}:{culprit.line}" if culprit.line else culprit.file
        assert case.at is None or where == case.at
        assert "://user:pw@" not in error.failure.text
    else:
        assert error.code == case.fails, error
    assert case.says_why in error.message, error.message
    assert error.hint, "there is always a way out"
    assert case.hint in error.hint, error.hint
