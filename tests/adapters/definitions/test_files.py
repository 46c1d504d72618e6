"""A tree on disk lets nothing out of it be read, and waits for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import DiskFiles, find
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.errors import Invalid, TooLarge


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("numpy\n")
    return tmp_path / "tree"


def test_a_link_inside_the_tree_is_followed(tree: Path) -> None:
    (tree / "sub/base.txt").write_text("numpy\n")
    (tree / "requirements.txt").symlink_to("sub/base.txt")
    assert DiskFiles(tree).read("requirements.txt") == b"numpy\n"


@pytest.mark.parametrize("target", ["../secret.txt", "/etc/hostname"])
def test_a_link_out_of_the_tree_is_refused(tree: Path, target: str) -> None:
    (tree / "requirements.txt").symlink_to(target)
    with pytest.raises(Invalid, match="leads out of the project"):
        DiskFiles(tree).read("requirements.txt")
    with pytest.raises(EnvironmentFailed, match="leads out of the project"):
        find(DiskFiles(tree), "n.ipynb")


def test_a_directory_that_is_a_link_out_of_the_tree_is_empty(tree: Path) -> None:
    (tree / "out").symlink_to("..")
    assert DiskFiles(tree).names("out") == frozenset()
    with pytest.raises(Invalid, match="leads out of the project"):
        DiskFiles(tree).read("out/secret.txt")


def test_links_in_a_circle_are_refused(tree: Path) -> None:
    (tree / "requirements.txt").symlink_to("requirements.txt")
    with pytest.raises(Invalid, match="cannot be read"):
        DiskFiles(tree).read("requirements.txt")


@pytest.mark.parametrize(
    "path", ["../secret.txt", "/etc/hostname", "sub/../../secret.txt", "", ".", "a\0b"]
)
def test_no_path_leads_out(tree: Path, path: str) -> None:
    assert DiskFiles(tree).read(path) is None


def test_what_is_no_file_is_none_and_nobody_waits_for_a_pipe(tree: Path) -> None:
    os.mkfifo(tree / "requirements.txt")
    assert DiskFiles(tree).read("requirements.txt") is None
    assert DiskFiles(tree).read("sub") is None
    assert DiskFiles(tree).read("nowhere") is None
    assert DiskFiles(tree).read("sub/nowhere/x") is None
    assert DiskFiles(tree).names("nowhere") == frozenset()


def test_a_file_that_is_too_large_is_refused(tree: Path) -> None:
    with (tree / "uv.lock").open("wb") as file:
        file.truncate(10_000_001)
    with pytest.raises(TooLarge, match="10 MB"):
        DiskFiles(tree).read("uv.lock")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_an_error_with_a_sentence(tree: Path) -> None:
    (tree / "requirements.txt").write_text("numpy\n")
    (tree / "requirements.txt").chmod(0)
    with pytest.raises(EnvironmentFailed, match=r"'requirements\.txt' cannot be read"):
        find(DiskFiles(tree), "n.ipynb")


def test_a_tree_that_is_itself_reached_by_a_link(tree: Path) -> None:
    (tree / "requirements.txt").write_text("numpy\n")
    (tree.parent / "link").symlink_to("tree")
    assert isinstance(find(DiskFiles(tree.parent / "link"), "n.ipynb"), Found)


def test_a_large_notebook_does_not_keep_the_file_beside_it_from_counting(tree: Path) -> None:
    (tree / "requirements.txt").write_text("numpy\n")
    (tree / "n.ipynb").write_bytes(b" " * 10_000_001)
    found = find(DiskFiles(tree), "n.ipynb")
    assert isinstance(found, Found)
    assert "was not read" in found.notices[0]


def test_finding_a_requirements_file_imports_no_parser_of_other_files(tree: Path) -> None:
    (tree / "requirements.txt").write_text("numpy>=2\n")
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from pathlib import Path\n"
        "from element_jupyter.adapters.definitions import DiskFiles, find\n"
        "print(*({'yaml', 'tomlkit', 'tomllib', 'packaging'} & set(sys.modules) - before))\n"
        "find(DiskFiles(Path(sys.argv[1])), 'n.ipynb')\n"
        "print(*({'yaml', 'tomlkit', 'tomllib'} & set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tree)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
