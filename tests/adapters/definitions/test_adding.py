"""Adding a requirement changes what was asked for, and nothing else in the file."""

from __future__ import annotations

import codecs
import hashlib
import json
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from element_jupyter.adapters.definitions import DiskFiles, Edit, Missing, add, apply, find, shared
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.errors import Conflict, Invalid
from tests.adapters.definitions import definition_cases
from tests.adapters.definitions.definition_cases import Tree, notebook, plant
from tests.adapters.definitions.test_kinds import CONDA, INLINE, PYPROJECT, REQUIREMENTS


class Added(NamedTuple):
    path: str
    before: str | bytes
    requirements: list[str]
    after: str | bytes
    added: list[str] | None = None
    """None is all of them."""


CASES = {
    "at the end of requirements.txt": Added("requirements.txt", "# ours\nnumpy  # fast\n", ["humanize>=4"], "# ours\nnumpy  # fast\nhumanize>=4\n"),
    "behind a last line without an end": Added("requirements.txt", "numpy", ["humanize"], "numpy\nhumanize\n"),
    "to an empty file": Added("requirements.txt", "", ["humanize"], "humanize\n"),
    "in place of another version": Added("requirements.txt", "b\nNumPy<2 # old\na\n", ["numpy>=2"], "b\nnumpy>=2 # old\na\n"),
    "what is there already": Added("requirements.txt", "numpy>=2\n", ["numpy", "NumPy >= 2"], "numpy>=2\n", []),
    "a part of it is there already": Added("requirements.txt", "numpy>=2\n", ["numpy", "scipy"], "numpy>=2\nscipy\n", ["scipy"]),
    "behind a continuation": Added("requirements.txt", "numpy \\\n  <2\n", ["numpy>=1"], "numpy \\\n  <2\nnumpy>=1\n"),
    "with CRLF": Added("requirements.txt", b"numpy\r\nscipy\r\n", ["a"], b"numpy\r\nscipy\r\na\r\n"),
    "with a byte order mark": Added("requirements.txt", b"\xef\xbb\xbfnumpy\n", ["a"], b"\xef\xbb\xbfnumpy\na\n"),
    "in UTF-16": Added("requirements.txt", codecs.BOM_UTF16_LE + "numpy\r\n".encode("utf-16-le"), ["a"], codecs.BOM_UTF16_LE + "numpy\r\na\r\n".encode("utf-16-le")),
    "to a list in pyproject.toml": Added("pyproject.toml", '[project]\nname = "p" # me\nversion = "0"\ndependencies = [\n  # first\n  "numpy", # fast\n]\n\n[tool.ruff]\nx = 1\n', ["humanize>=4"], '[project]\nname = "p" # me\nversion = "0"\ndependencies = [\n  # first\n  "numpy", # fast\n  "humanize>=4",\n]\n\n[tool.ruff]\nx = 1\n'),
    "to a list on one line": Added("pyproject.toml", '[project]\nname = "p"\nversion = "0"\ndependencies = ["numpy"]\n', ["a", "b"], '[project]\nname = "p"\nversion = "0"\ndependencies = ["numpy", "a", "b"]\n'),
    "to an empty list": Added("pyproject.toml", '[project]\nname = "p"\nversion = "0"\ndependencies = []\n', ["a"], '[project]\nname = "p"\nversion = "0"\ndependencies = ["a"]\n'),
    "in place, in pyproject.toml": Added("pyproject.toml", '[project]\nname = "p"\nversion = "0"\ndependencies = ["NumPy<2", "b"]\n', ["numpy>=2"], '[project]\nname = "p"\nversion = "0"\ndependencies = ["numpy>=2", "b"]\n'),
    "to the group in use": Added("pyproject.toml", '[dependency-groups]\nother = ["x"]\ndev = ["pytest"] # d\n', ["a"], '[dependency-groups]\nother = ["x"]\ndev = ["pytest", "a"] # d\n'),
    "to settings of uv only": Added("pyproject.toml", "[tool.uv]\nmanaged = true\n", ["a"], '[tool.uv]\nmanaged = true\n\n[dependency-groups]\ndev = ["a"]\n'),
    "with CRLF in pyproject.toml": Added("pyproject.toml", b'[project]\r\nname = "p"\r\nversion = "0"\r\ndependencies = [\r\n  "b",\r\n]\r\n', ["a"], b'[project]\r\nname = "p"\r\nversion = "0"\r\ndependencies = [\r\n  "b",\r\n  "a",\r\n]\r\n'),
    "below pip": Added("environment.yml", "# ours\ndependencies:\n  - python=3.12 # why\n  - pip:\n      - tqdm # t\n\n# end\n", ["humanize>=4"], "# ours\ndependencies:\n  - python=3.12 # why\n  - pip:\n      - tqdm # t\n      - humanize>=4\n\n# end\n"),
    "with a pip list that is new": Added("environment.yml", "dependencies:\n- python=3.12 # why\nchannels:\n- conda-forge\n", ["humanize"], "dependencies:\n- python=3.12 # why\n- pip\n- pip:\n    - humanize\nchannels:\n- conda-forge\n"),
    "with pip there already": Added("environment.yml", "dependencies:\n    - pip\n", ["humanize"], "dependencies:\n    - pip\n    - pip:\n        - humanize\n"),
    "below an empty pip": Added("environment.yml", "dependencies:\n  - python\n  - pip:\n", ["humanize"], "dependencies:\n  - python\n  - pip:\n      - humanize\n"),
    "in place below pip": Added("environment.yml", "dependencies:\n  - python\n  - pip:\n    - 'humanize>=3,<4' # h\n", ["humanize>=4,<5"], "dependencies:\n  - python\n  - pip:\n    - 'humanize>=4,<5' # h\n"),
    "in place of a conda package": Added("environment.yml", "dependencies:\n  - conda-forge::numpy=1.26 # n\n", ["numpy >= 2"], "dependencies:\n  - conda-forge::numpy>=2 # n\n"),
    "to lists on one line": Added("environment.yml", "dependencies: [python, {pip: [tqdm]}]\n", ["a>=1,<2"], "dependencies: [python, {pip: [tqdm, 'a>=1,<2']}]\n"),
    "to a list on one line without pip": Added("environment.yml", "dependencies: [python]\n", ["a", "b"], "dependencies: [python, pip, pip: [a, b]]\n"),
    "with a marker": Added("environment.yml", "dependencies:\n  - pip:\n    - tqdm\n", ["a; python_version < '3.13'"], "dependencies:\n  - pip:\n    - tqdm\n    - 'a; python_version < ''3.13'''\n"),
    "with CRLF in environment.yml": Added("environment.yml", b"dependencies:\r\n  - pip:\r\n    - tqdm\r\n", ["a"], b"dependencies:\r\n  - pip:\r\n    - tqdm\r\n    - a\r\n"),
}  # fmt: skip


def found_in(root: Path, files: Tree) -> Found:
    found = find(plant(root, files), "n.ipynb")
    assert isinstance(found, Found)
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_is_added(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    files = plant(tmp_path, {case.path: case.before})
    edit = add(found_in(tmp_path, {}), files, None, case.requirements)
    after = case.after.encode() if isinstance(case.after, str) else case.after
    assert edit.content.decode(errors="replace") == after.decode(errors="replace")
    assert list(edit.added) == (case.requirements if case.added is None else case.added)
    assert edit.path == case.path

    apply(edit, tmp_path)
    again = found_in(tmp_path, {})
    wanted = {
        each.split()[0].partition(">")[0].partition(";")[0].lower() for each in case.requirements
    }
    assert wanted <= {each.name for each in again.definition.requirements}
    assert add(again, files, None, case.requirements).added == ()


def test_a_block_in_a_notebook_is_added_to(tmp_path: Path) -> None:
    source = (
        'import os\n# /// script\n# dependencies = [\n#   "tqdm", # t\n# ]\n# ///\nprint("ü")\n'
    )
    document = notebook(source)
    files = plant(tmp_path, {"n.ipynb": json.dumps(document)})
    edit = add(found_in(tmp_path, {}), files, None, ["humanize>=4"])
    expected = source.replace("# ]\n", '#   "humanize>=4",\n# ]\n')
    assert (edit.path, edit.cell, edit.source) == ("n.ipynb", 0, expected)
    apply(edit, tmp_path)
    written = (tmp_path / "n.ipynb").read_text()
    assert json.loads(written)["cells"][0]["source"] == expected.splitlines(keepends=True)
    assert "ü" in written
    assert written.endswith("}\n")
    again = found_in(tmp_path, {})
    assert [each.name for each in again.definition.requirements] == ["tqdm", "humanize"]


def test_a_block_without_a_list_gets_one(tmp_path: Path) -> None:
    files = plant(
        tmp_path,
        {"n.ipynb": json.dumps(notebook("# /// script\n# [tool.uv]\n# offline = true\n# ///\n"))},
    )
    apply(add(found_in(tmp_path, {}), files, None, ["humanize"]), tmp_path)
    assert [each.name for each in found_in(tmp_path, {}).definition.requirements] == ["humanize"]


def test_the_open_notebook_counts_and_not_what_was_saved(tmp_path: Path) -> None:
    files = plant(tmp_path, {"n.ipynb": json.dumps(notebook("1"))})
    opened = notebook('# /// script\n# dependencies = ["a"]\n# ///')
    found = find(files, "n.ipynb", document=opened)
    assert isinstance(found, Found)
    edit = add(found, files, opened, ["b"])
    assert edit.source == '# /// script\n# dependencies = ["a", "b"]\n# ///'


def test_without_a_definition_a_file_is_made_that_has_what_the_default_names(
    tmp_path: Path,
) -> None:
    project = '[project]\nname = "d"\nversion = "0"\ndependencies = ["ipykernel>=7", "pandas>=2"]\n'
    default = shared(plant(tmp_path / "shared", {"default/pyproject.toml": project}), "default")
    files = plant(tmp_path / "tree", {"a/n.ipynb": "{}"})
    assert isinstance(find(files, "a/n.ipynb"), Missing)
    edit = add(default, files, None, ["pandas<3", "humanize"], notebook="a/n.ipynb")
    apply(edit, tmp_path / "tree")
    text = (tmp_path / "tree/a/requirements.txt").read_text()
    assert text.splitlines()[1:] == ["ipykernel>=7", "pandas<3", "humanize"]
    assert text.startswith("# ")
    assert edit.added == ("pandas<3", "humanize")
    with pytest.raises(Conflict, match="has changed"):
        apply(edit, tmp_path / "tree")


REFUSED: dict[str, tuple[Tree, str, str]] = {
    "pixi": ({"pixi.toml": "", "pixi.lock": ""}, "a", "Only pixi"),
    "a lock": ({"pylock.toml": 'lock-version = "1.0"\npackages = []\n'}, "a", "is a lock"),
    "hashes": ({"requirements.txt": f"numpy==2.0 --hash=sha256:{'a' * 64}\n"}, "a", "is a lock"),
    "an option": (
        {"requirements.txt": ""},
        "--index-url https://evil.example",
        "not a requirement",
    ),
    "a second line": ({"requirements.txt": ""}, "a\n-i https://evil.example", "not a requirement"),
    "a path": ({"requirements.txt": ""}, "./lib", "not a requirement"),
    "an address": ({"requirements.txt": ""}, "https://x.example/a.whl", "not a requirement"),
    "nothing": ({"requirements.txt": ""}, "", "not a requirement"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_added_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    tree, requirement, sentence = REFUSED[name]
    with pytest.raises(Invalid, match=sentence) as caught:
        add(found_in(tmp_path, tree), plant(tmp_path, {}), None, [requirement])
    assert caught.value.hint


def test_a_shared_environment_is_the_administrators(tmp_path: Path) -> None:
    files = plant(tmp_path, {"gpu/requirements.txt": "torch\n"})
    with pytest.raises(Invalid, match="only the administrator"):
        add(shared(files, "gpu"), files, None, ["a"])


def test_writing_keeps_the_mode_and_goes_through_links(tmp_path: Path) -> None:
    files = plant(tmp_path, {"real.txt": "numpy\n"})
    (tmp_path / "real.txt").chmod(0o640)
    (tmp_path / "requirements.txt").symlink_to("real.txt")
    apply(add(found_in(tmp_path, {}), files, None, ["a"]), tmp_path)
    assert (tmp_path / "requirements.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "numpy\na\n"
    assert stat.S_IMODE((tmp_path / "real.txt").stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["real.txt", "requirements.txt"]


def test_a_file_that_has_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    files = plant(tmp_path, {"requirements.txt": "numpy\n"})
    edit = add(found_in(tmp_path, {}), files, None, ["a"])
    plant(tmp_path, {"requirements.txt": "scipy\n"})
    with pytest.raises(Conflict, match="has changed"):
        apply(edit, tmp_path)
    assert (tmp_path / "requirements.txt").read_text() == "scipy\n"
    assert [each.name for each in tmp_path.iterdir()] == ["requirements.txt"]


@pytest.mark.parametrize("path", ["../x.txt", "nowhere/x.txt"])
def test_nothing_is_written_where_it_cannot_be(path: str, tmp_path: Path) -> None:
    root = plant(tmp_path / "tree", {})
    assert root.names("") == frozenset()
    with pytest.raises(Invalid, match=r"outside of the project|cannot be written"):
        apply(Edit(path, b"a\n", ("a",), None), tmp_path / "tree")
    assert [each.name for each in tmp_path.iterdir()] == ["tree"]


def test_the_edit_says_what_it_was_made_from(tmp_path: Path) -> None:
    files = plant(tmp_path, {"requirements.txt": "numpy\n"})
    edit = add(found_in(tmp_path, {}), files, None, ["a"])
    assert edit.before == hashlib.sha256(b"numpy\n").hexdigest()


EVERYWHERE = {
    f"{name}, in {kind}": case
    for kind, table in (("requirements", REQUIREMENTS), ("projects", PYPROJECT), ("conda", CONDA), ("cells", INLINE))
    for name, case in table.items()
    if case.fails is None and case.wins != "-" and case.lock != "requirements.txt" and "order of hashes" not in name
}  # fmt: skip


@pytest.mark.parametrize("name", EVERYWHERE)
def test_whatever_the_definition_is_the_rest_of_it_stays(name: str, tmp_path: Path) -> None:
    case = EVERYWHERE[name]
    before = definition_cases.found_in(tmp_path, case)
    assert isinstance(before, Found)
    files = DiskFiles(tmp_path)
    edit = add(before, files, None, ["zebra-stripes>=1,<2"])
    apply(edit, tmp_path)
    after = find(files, case.notebook, variant=case.variant)
    assert isinstance(after, Found)
    old = [each.spec for each in before.definition.requirements]
    new = [each.spec for each in after.definition.requirements]
    assert sorted(new) == sorted([*old, "zebra-stripes>=1,<2"]) or "pip" in new
    assert set(old) < set(new)
    origins = [(each.kind, each.location) for each in before.definition.origins]
    assert [(each.kind, each.location) for each in after.definition.origins] == origins
    comments = [line for line in str(case.files.get(edit.path, "")).split("\n") if "# why" in line]
    assert all(line in edit.content.decode(errors="replace") for line in comments)
