"""What holds for every definition, whatever is in it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from element_jupyter.adapters.definitions import Missing, find, shared
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import DEFINITION_FILES, Found
from element_jupyter.core.errors import ElementError
from tests.adapters.definitions.definition_cases import Tree, plant
from tests.adapters.definitions.test_kinds import CONDA, INLINE, LOCKS, PYPROJECT, REQUIREMENTS
from tests.adapters.definitions.test_precedence import CASES as PRECEDENCE


class Memory:
    """Files of a dictionary."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def names(self, directory: str) -> frozenset[str]:
        start = f"{directory}/" if directory else ""
        below = (path[len(start) :] for path in self._files if path.startswith(start))
        return frozenset(path.partition("/")[0] for path in below)


ANY_FILE = st.sampled_from(
    [
        *DEFINITION_FILES,
        "pixi.lock",
        "uv.lock",
        ".python-version",
        "runtime.txt",
        "n.ipynb",
        "binder/requirements.txt",
        "requirements-gpu.txt",
        "b.txt",
    ]
)
PIECES = st.sampled_from(
    ["numpy", "==", "[", "]", "{", "}", '"', "'", "\n", " ", ":", "- ", "=", "#", ";", "@", "\\\n", "-r b.txt", "-c b.txt", "-r requirements.txt", "--hash=sha256:aa", "https://u:p@x.example/s", "[project]", "[tool.uv]", "[tool.element]", "[dependency-groups]", "dependencies", "name", "version", "dynamic", "pip", "include-group", "lock-version", "packages", "&a", "*a", "!!x", "\0", "\ud7ff", "3.12", "file:///x", "${X}", "# /// script\\n", "# ///", '"cells"', '"cell_type": "code"', '"source"', '"metadata"', '"element"', '"environment"', "sources", "index", "url", "true", "null", "dev"]
)  # fmt: skip
TEXT = st.lists(PIECES, max_size=30).map("".join).map(str.encode)
CONTENT = st.one_of(st.binary(max_size=300), TEXT)


def answered(files: dict[str, bytes], variant: str | None) -> None:
    """Look that there is an answer, or a sentence that can be shown."""
    found: Found | Missing | ElementError
    try:
        found = find(Memory(files), "n.ipynb", variant=variant)
    except ElementError as error:
        found = error
    if isinstance(found, EnvironmentFailed):
        assert found.failure.culprits
        found.failure.model_dump_json()
    if isinstance(found, ElementError):
        assert found.message
        assert found.hint
        found.problem.model_dump_json()
    elif isinstance(found, Found):
        found.definition.model_dump_json()


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(ANY_FILE, CONTENT, max_size=4), st.sampled_from([None, "gpu"]))
@example({"environment.yml": b"\xff\xfe- \xd8\x00"}, None)
@example({"pyproject.toml": b"[project]\nname = 1"}, None)
@example({"n.ipynb": b'{"metadata": {"element": {"environment": "\\ud800"}}}'}, None)
@example(
    {
        "n.ipynb": b'{"cells": [{"cell_type": "code", "source": "# /// script\\n# \\ud800 = 1\\n# ///"}]}'
    },
    None,
)
@example({"pyproject.toml": b'[tool.uv.sources]\n"\\u0000(" = {path = "x"}'}, None)
def test_any_bytes_give_an_answer_or_a_sentence(
    files: dict[str, bytes], variant: str | None
) -> None:
    answered(files, variant)


EVERY_CASE = [
    case.files
    for table in (REQUIREMENTS, PYPROJECT, CONDA, INLINE, LOCKS, PRECEDENCE)
    for case in table.values()
    if case.files and sum(map(len, case.files.values())) < 2_000
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVERY_CASE), st.data())
def test_so_does_everything_that_was_nearly_right(files: Tree, data: st.DataObject) -> None:
    plain = {path: each.encode() if isinstance(each, str) else each for path, each in files.items()}
    path = data.draw(st.sampled_from(sorted(plain)))
    content = plain[path]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    put = data.draw(st.one_of(PIECES.map(str.encode), st.binary(max_size=3)))
    cut = data.draw(st.booleans())
    plain[path] = content[:start] + put + (content[end:] if cut else content[start:])
    answered(plain, data.draw(st.sampled_from([None, "gpu"])))


REQUIREMENT = st.sampled_from(
    [
        "numpy>=2",
        "Pandas[excel]~=2.2",
        "scipy",
        "a-b==1.0 ; python_version < '3.14'",
        "x @ https://x.example/x-1-py3-none-any.whl",
    ]
)
NOISE = st.sampled_from(["", "# why", "   ", "\t# x", "# -r nothing"])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(REQUIREMENT, unique=True),
    st.lists(NOISE, max_size=6),
    st.randoms(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_comments_order_and_line_ends_never_change_what_is_meant(
    requirements: list[str], noise: list[str], chance: random.Random, end: str, mark: bytes
) -> None:
    shuffled = [*requirements, *noise]
    chance.shuffle(shuffled)
    plain = find(Memory({"requirements.txt": "\n".join(requirements).encode()}), "n.ipynb")
    other = find(Memory({"requirements.txt": mark + end.join(shuffled).encode()}), "n.ipynb")
    assert isinstance(plain, Found)
    assert isinstance(other, Found)
    assert plain.definition.meaning == other.definition.meaning
    specs = sorted(each.spec for each in plain.definition.requirements)
    assert sorted(each.spec for each in other.definition.requirements) == specs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(REQUIREMENT.filter(lambda text: "@" not in text), unique=True, min_size=1),
    st.lists(NOISE, max_size=4),
    st.randoms(),
)
def test_so_it_is_in_a_project_and_in_a_conda_file(
    requirements: list[str], noise: list[str], chance: random.Random
) -> None:
    def meaning(items: list[str], extra: list[str]) -> tuple[str, str]:
        listed = "".join(f'  "{each}",\n' for each in items)
        comments = "".join(f"{each}\n" for each in extra if each.startswith("#"))
        project = f'{comments}[project]\nname = "p"\nversion = "0"\ndependencies = [\n{comments}{listed}]\n'
        quoted = "".join(f"    - {each!r}\n" for each in items)
        conda = f"{comments}dependencies:\n  - python=3.12\n{comments}  - pip:\n{quoted}"
        found = [
            find(Memory({"pyproject.toml": project.encode()}), "n.ipynb"),
            find(Memory({"environment.yml": conda.replace("\\'", "''").encode()}), "n.ipynb"),
        ]
        assert all(isinstance(each, Found) for each in found)
        return tuple(each.definition.meaning for each in found)  # type: ignore[return-value]

    items = [each.replace("'", "") if "'" in each else each for each in requirements]
    items = [each.partition(";")[0].strip() for each in items]
    shuffled = list(items)
    chance.shuffle(shuffled)
    assert meaning(items, []) == meaning(shuffled, noise)


@pytest.mark.parametrize("name", ["nowhere", "../x", "", ".hidden", "a/b"])
def test_there_are_no_other_shared_environments_than_directories(name: str, tmp_path: Path) -> None:
    with pytest.raises(ElementError, match="There is no shared environment"):
        shared(plant(tmp_path, {"gpu/requirements.txt": "torch"}), name)


def test_a_shared_environment_is_found_by_its_name(tmp_path: Path) -> None:
    found = shared(plant(tmp_path, {"gpu/requirements.txt": "torch"}), "gpu")
    assert (found.definition.name, found.definition.path) == ("gpu", "gpu/requirements.txt")
    assert found.definition.title == "gpu (shared)"


def test_a_shared_environment_without_a_definition_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="has no definition") as caught:
        shared(plant(tmp_path, {"gpu/pixi.toml": ""}), "gpu")
    assert "no pixi.lock" in caught.value.hint
