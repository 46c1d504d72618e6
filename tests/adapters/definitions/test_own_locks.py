"""A lock beside a definition counts when it says that it was made from just this definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import find, lock_name
from element_jupyter.core.environments.definitions import Found
from tests.adapters.definitions.definition_cases import notebook, plant

INLINE = json.dumps(notebook('# /// script\n# dependencies = ["humanize"]\n# ///\n'))
PROJECT = '[project]\nname = "p"\nversion = "0"\ndependencies = ["humanize"]\n'
CONDA = "dependencies: [humanize]\n"


def pylock(meaning: str) -> str:
    return f'lock-version = "1.0"\npackages = []\n\n[tool.element]\nschema = 1\nmeaning = "{meaning}"\n'


def conda_lock(meaning: str) -> str:
    return f"# element: {json.dumps({'meaning': meaning})}\nversion: 7\n"


def found(root: Path, *, own_lock: bool = True) -> Found:
    result = find(plant(root, {}), "n.ipynb", own_lock=own_lock)
    assert isinstance(result, Found)
    return result


LOCKED = {
    "requirements.txt": ("requirements.txt", "humanize\n", "pylock.toml", pylock),
    "a notebook": ("n.ipynb", INLINE, "pylock.n.toml", pylock),
    "pyproject.toml": ("pyproject.toml", PROJECT, "pylock.toml", pylock),
    "environment.yml": ("environment.yml", CONDA, "environment.pixi.lock", conda_lock),
}


@pytest.mark.parametrize("kind", LOCKED)
def test_it_counts_until_the_definition_changes(kind: str, tmp_path: Path) -> None:
    path, content, lock, written = LOCKED[kind]
    plant(tmp_path, {path: content})
    before = found(tmp_path)
    assert before.definition.lock_path is None

    plant(tmp_path, {lock: written(before.definition.meaning)})
    locked = found(tmp_path)
    assert locked.definition.lock_path == lock
    assert lock in locked.contents
    assert lock in locked.definition.files
    assert locked.definition.meaning != before.definition.meaning, "the lock's bytes count"
    assert locked.contents[lock] == written(locked.definition.meaning).encode(), "for the locker"
    assert found(tmp_path, own_lock=False).definition.meaning == before.definition.meaning

    plant(tmp_path, {lock: written(before.definition.meaning) + "# newer\n"})
    assert found(tmp_path).definition.meaning != locked.definition.meaning

    plant(tmp_path, {path: content.replace("humanize", "tqdm")})
    stale = found(tmp_path)
    assert stale.definition.lock_path is None
    assert "older" in {each.path: each.reason for each in stale.ignored}[lock]
    assert "`element env lock`" in stale.notices[0]


def test_without_it_a_uv_lock_does_not_count_either(tmp_path: Path) -> None:
    plant(tmp_path, {"pyproject.toml": PROJECT, "uv.lock": "version = 1\n"})
    assert found(tmp_path).definition.lock_path == "uv.lock"
    plain = found(tmp_path, own_lock=False)
    assert plain.definition.lock_path is None
    assert "uv.lock" not in plain.contents


@pytest.mark.parametrize(
    ("path", "kind", "variant", "lock"),
    [
        ("a/requirements.txt", "requirements", None, "a/pylock.toml"),
        ("requirements-gpu.txt", "requirements", "gpu", "pylock.requirements-gpu.toml"),
        ("reqs.dev.txt", "requirements", None, "pylock.reqs-dev.toml"),
        ("a/My Analysis (2).ipynb", "inline", None, "a/pylock.my-analysis-2.toml"),
        ("requirements.ipynb", "inline", None, "pylock.requirements.toml"),
        ("a/pyproject.toml", "pyproject", "gpu", "a/uv.lock"),
        ("environment.yml", "conda", None, "environment.pixi.lock"),
        ("pylock.toml", "pylock", None, "pylock.toml"),
    ],
)
def test_a_lock_has_a_name_that_tools_accept(
    path: str, kind: str, variant: str | None, lock: str
) -> None:
    assert lock_name(path, kind, variant) == lock
