"""Files that are made to take for ever, each within the size that is allowed, take seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import find
from element_jupyter.core.errors import ElementError
from tests.adapters.definitions.definition_cases import plant

PROJECT = '[project]\nname = "p"\nversion = "0"\ndependencies = ["a"]\n'
MOST_SECONDS = 8.0
"""Of processor time; each takes less than two where nothing else runs."""

HOSTILE = {
    "spaces over many lines": {"requirements.txt": "a" + "  \\\n" * 200_000 + "x --x"},
    "spaces on one line": {"requirements.txt": "a" + " " * 990_000 + "--x"},
    "comments that are none": {"requirements.txt": "a" + " #" * 490_000},
    "long markers": {"requirements.txt": ("a;" + "os_name=='a' and " * 100 + "os_name=='b'\n") * 400},
    "many indexes": {"requirements.txt": "".join(f"-i https://a{i}.example\n" for i in range(30_000))},
    "slashes": {"environment.yml": f"dependencies:\n - {'a/' * 200} \n"},
    "many items": {"environment.yml": f"dependencies: [{'a,' * 490_000}]"},
    "many brackets": {"environment.yml": "[" * 990_000},
    "empty lines": {"pyproject.toml": PROJECT.replace('["a"]', "[1]") + "\n" * 990_000},
    "lines of spaces": {"pyproject.toml": PROJECT.replace('["a"]', "[1]") + (" " * 19_000 + "\n") * 50},
    "keys of many parts": {"pyproject.toml": PROJECT + f"[x]\n{'a.' * 400_000}b = 1\n"},
    "arrays in arrays": {"pyproject.toml": "x = " + "[" * 990_000},
    "names that are not where they are looked for": {"pyproject.toml": PROJECT.replace('"a"', ",".join(f'"p{i}\\u0020"' for i in range(9_999)))},
    "many sources": {"pyproject.toml": PROJECT + "[tool.uv.sources]\n" + "".join(f'p{i} = {{git = "https://x.example/{i}"}}\n' for i in range(15_000))},
    "groups that double one another": {"pyproject.toml": "[dependency-groups]\n" + "".join(f'g{i} = [{{include-group = "g{i + 1}"}}, {{include-group = "g{i + 1}"}}]\n' for i in range(60)) + 'g60 = ["a"]\n'},
    "a lock of many parts": {"pylock.toml": "a." * 4_000_000 + "b = 1"},
    "a lock of many places": {"pyproject.toml": PROJECT, "uv.lock": "".join(f'source = {{ url = "https://x{i}.example/a" }}\n' for i in range(100_000))},
    "beginnings of blocks": {"n.ipynb": '{"cells":[{"cell_type":"code","source":"' + "# /// script\\n" * 200_000 + '"}]}'},
    "a block without end": {"n.ipynb": '{"cells":[{"cell_type":"code","source":"# /// script\\n' + "# a\\n" * 1_000_000 + '"}]}'},
    "a notebook of brackets": {"n.ipynb": '{"environment":' + "[" * 5_000_000},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_takes_for_ever(name: str, tmp_path: Path) -> None:
    files = plant(tmp_path, HOSTILE[name])
    began = time.process_time()
    sentence = ""
    try:
        find(files, "n.ipynb")
    except ElementError as error:
        sentence = error.message
    assert time.process_time() - began < MOST_SECONDS
    assert len(sentence) < 1_000
