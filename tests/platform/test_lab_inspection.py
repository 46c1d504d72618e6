"""What is said of a notebook and the project around it on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from element_jupyter import config
from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.inspection.findings import FindingCode, Severity
from element_jupyter.platform.lab_inspection import NotebookInspector


@pytest.fixture(params=["repository", "directory"])
def project(request, tmp_path, monkeypatch) -> Path:
    """A project with a notebook at its top; with git, and without."""
    home = tmp_path / "home"
    root = home / "project"
    root.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (root / "requirements.txt").touch()
    if request.param == "repository":
        subprocess.run(["git", "init", "-q", root], check=True)
    return root


def put(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def a_document(*sources: str, language: str = "python"):
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in sources]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "k", "language": language}},
        "cells": cells,
    }


def inspected(root: Path, *sources: str, at: str = "n.ipynb", language: str = "python", **settings):
    file = root / at
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(a_document(*sources, language=language)))
    return NotebookInspector(config.Element(owner="ann", **settings))(file, at, None)


def found(root: Path, *sources: str, **options):
    findings = inspected(root, *sources, **options).findings
    return [each for each in findings if each.code is not FindingCode.NO_PARAMETERS]


# ------------------------------------------------------------------------------- left out: modules


def test_a_module_that_is_left_out_is_named_with_the_way_in(project):
    put(project, ".gitignore", text="helpers.py\n")
    put(project, "helpers.py", "other.py")

    (finding,) = found(project, "x = 1", "import helpers, other, json, pandas")

    assert (finding.code, finding.severity) == (FindingCode.LEFT_OUT, Severity.WARNING)
    assert (finding.paths, finding.cell) == (("helpers.py",), 1)
    assert "'helpers.py', which the notebook imports, is left out" in finding.message
    assert "!/helpers.py" in finding.hint


def test_the_way_in_is_one(project):
    put(project, ".gitignore", text="lib/\n*.secret\n__pycache__/\n")
    put(project, "lib/deep/helpers.py", "lib/deep/__init__.py")
    (finding,) = found(project, "from lib.deep import helpers")
    lines = [word for word in finding.hint.split() if word.startswith("!")]

    put(project, ".elementignore", text="\n".join(lines))

    assert found(project, "from lib.deep import helpers") == []


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("import lib.a", ("lib/a.py",)),
        ("from lib import a", ("lib/a.py",)),
        ("from lib.a import f", ("lib/a.py",)),
        ("def f():\n    import lib.a", ("lib/a.py",)),
        ("from lib import *", ()),
        ("import lib", ()),
        ("import a", ()),
        ("import sys\nsys.path.insert(0, 'lib')\nimport a", ("lib/a.py",)),
        ("%cd lib\nimport a", ("lib/a.py",)),
        ("from . import a", ()),
        ("# import lib.a", ()),
    ],
)
def test_a_module_is_looked_for_where_python_would(project, source, paths):
    put(project, ".gitignore", text="lib/\n")
    put(project, "lib/a.py")

    assert tuple(path for finding in found(project, source) for path in finding.paths) == paths


def test_a_module_is_looked_for_beside_the_notebook(project):
    put(project, ".gitignore", text="helpers.py\n")
    put(project, "helpers.py", "sub/helpers.py")

    (finding,) = found(project, "import helpers", at="sub/n.ipynb")

    assert finding.paths == ("sub/helpers.py",)


def test_what_a_module_imports_is_looked_at_too(project):
    put(project, ".gitignore", text="deep.py\nc.py\n")
    put(project, "a.py", text="from pkg import b\n")
    put(project, "pkg/__init__.py", "deep.py", "pkg/c.py")
    put(project, "pkg/b.py", text="import deep\nfrom .c import f\nfrom . import gone\n")

    (finding,) = found(project, "import a")

    assert set(finding.paths) == {"deep.py", "pkg/c.py"}


def test_modules_that_import_one_another_are_looked_at_once(project):
    put(project, "a.py", text="import b\n")
    put(project, "b.py", text="import a\n")

    assert found(project, "import a") == []


def test_a_directory_that_is_called_like_a_library_is_none(project):
    put(project, ".gitignore", text="wandb/\n")
    put(project, "wandb/run-1/log.txt")

    assert found(project, "import wandb") == []


# --------------------------------------------------------------------------------- left out: files


def test_a_file_that_is_left_out_is_named_with_the_way_in(project):
    put(project, ".gitignore", text="*.csv\n/big/\n")
    put(project, "data/x.csv", "big/y.bin", "data/z.json")

    (finding,) = found(
        project, "a = pd.read_csv('data/x.csv')", "open('big/y.bin')", "open('data/z.json')"
    )

    assert (finding.code, finding.severity) == (FindingCode.LEFT_OUT, Severity.WARNING)
    assert (finding.paths, finding.cell) == (("data/x.csv", "big/y.bin"), 0)
    lines = [word for word in finding.hint.split() if word.startswith("!")]
    put(project, ".elementignore", text="\n".join(lines))
    assert found(project, "open('data/x.csv')", "open('big/y.bin')") == []


def test_a_file_that_is_nowhere_is_not_spoken_of(project):
    assert found(project, "open('nothing.csv')", "import nothing") == []


def test_a_directory_that_is_read_is_found_when_nothing_of_it_is_taken(project):
    put(project, ".gitignore", text="raw/\nempty/\n")
    put(project, "raw/a.csv", "kept/a.csv")
    (project / "empty").mkdir()

    (finding,) = found(
        project, "os.listdir('raw')", "os.listdir('kept')", "os.listdir('empty')", "x = 'raw'"
    )

    assert finding.paths == ("raw",)


def test_wildcards_are_looked_up(project):
    put(project, ".gitignore", text="*.csv\n")
    put(project, "data/a.csv", "data/b.csv", "data/c.txt")

    (finding,) = found(project, "glob.glob('data/*')")

    assert finding.paths == ("data/a.csv", "data/b.csv")


def test_many_files_are_one_finding(project):
    put(project, ".gitignore", text="*.csv\n")
    put(project, *(f"{number}.csv" for number in range(30)))

    (finding,) = found(project, f"files = {[f'{number}.csv' for number in range(30)]}")

    assert "and 27 more" in finding.message
    assert len(finding.paths) == 20


def test_a_file_larger_than_a_snapshot_may_be_is_not_to_be_taken_along(project):
    put(project, ".gitignore", text="*.bin\n")
    put(project, "a.bin", text="x" * 2000)

    (finding,) = found(project, "open('a.bin')", snapshot_refuse_bytes=1000)

    assert "at most 1.0 kB" in finding.hint
    assert "elementignore" not in finding.hint


def test_a_file_behind_a_link_of_the_project_is_there(project):
    put(project, "real/a.csv")
    (project / "data").symlink_to("real")

    assert found(project, "open('data/a.csv')") == []


def test_what_the_notebook_makes_itself_is_not_left_out(project):
    put(project, ".gitignore", text="out/\ncache.csv\n")
    put(project, "out/a.csv", "cache.csv")

    assert found(project, "df.to_csv('out/a.csv')", "pd.read_csv('out/a.csv')") == []
    assert found(project, "if os.path.exists('cache.csv'): pd.read_csv('cache.csv')") == []


def test_a_notebook_that_is_left_out_is_an_error(project):
    put(project, ".gitignore", text="n.ipynb\n")

    (finding,) = found(project, "x = 1")

    assert (finding.code, finding.severity) == (FindingCode.LEFT_OUT, Severity.ERROR)
    assert finding.paths == ("n.ipynb",)
    assert ".elementignore" in finding.hint


def test_in_the_home_directory_little_is_taken(project):
    home = project.parent
    put(home, "sub/a.csv")

    about, data = sorted(found(home, "open('sub/a.csv')"), key=lambda each: each.severity)

    assert "too broad" in about.message
    assert data.paths == ("sub/a.csv",)
    assert "directory of its own" in data.hint


# ----------------------------------------------------------------------------------------- outside


def test_a_file_beside_the_project_is_outside(project):
    put(project.parent, "x.csv")

    (finding,) = found(project, "open('../x.csv')")

    assert (finding.code, finding.severity) == (FindingCode.OUTSIDE, Severity.WARNING)
    assert (finding.paths, finding.cell) == (("../x.csv",), 0)


def test_a_file_of_the_home_directory_is_outside(project, monkeypatch):
    monkeypatch.setattr("element_jupyter.platform.lab_inspection.PASSING", ())
    put(project.parent, "x.csv")

    (finding,) = found(project, "open(os.path.expanduser('~/x.csv'))", "open('~/x.csv')")

    assert finding.code is FindingCode.OUTSIDE
    assert finding.paths == (str(project.parent / "x.csv"),)
    assert "only where its machine has it" in finding.message


def test_a_file_of_the_project_by_its_whole_path_is_read_where_it_is(project):
    put(project, "x.csv")

    (finding,) = found(project, f"open({str(project / 'x.csv')!r})")

    assert (finding.code, finding.paths) == (FindingCode.OUTSIDE, ("x.csv",))
    assert "whole path" in finding.message


@pytest.mark.parametrize("path", ["/etc/hostname", "/dev/null", "/proc/self/status", "/tmp", "/"])
def test_what_every_machine_has_is_not_outside(project, path):
    assert found(project, f"open({path!r})", f"os.listdir({path!r})") == []


# --------------------------------------------------------------------------------- too large, none


def test_a_project_over_the_limit_is_an_error_and_near_it_a_warning(project):
    put(project, "a.bin", text="x" * 2000)

    (near,) = found(project, snapshot_warn_bytes=1000)
    (over,) = found(project, snapshot_refuse_bytes=1000)

    assert (near.code, near.severity) == (FindingCode.TOO_LARGE, Severity.WARNING)
    assert (over.code, over.severity) == (FindingCode.TOO_LARGE, Severity.ERROR)
    assert "a.bin (2.0 kB)" in near.message
    assert near.hint == over.hint != ""
    assert near.hint not in near.message


def test_what_cannot_be_in_a_snapshot_is_an_error(project):
    os.mkfifo(project / "pipe")

    (finding,) = found(project)

    assert (finding.code, finding.severity) == (FindingCode.NO_SNAPSHOT, Severity.ERROR)
    assert "pipe" in finding.message
    assert finding.hint


def test_a_link_out_of_the_project_is_an_error(project):
    (project / "out.txt").symlink_to("/etc/hostname")

    (finding,) = found(project)

    assert (finding.code, finding.severity) == (FindingCode.NO_SNAPSHOT, Severity.ERROR)
    assert "out.txt" in finding.message


# ------------------------------------------------------------------------------------------- whole


def test_errors_come_before_warnings_and_those_before_the_rest(project):
    put(project, ".gitignore", text="*.csv\nn.ipynb\n")
    put(project, "a.csv")

    severities = [each.severity for each in inspected(project, "open('a.csv')").findings]

    assert severities == [Severity.ERROR, Severity.WARNING, Severity.INFO]


@pytest.mark.parametrize("language", ["R", "julia", "bash"])
def test_other_languages_are_not_looked_into(project, language):
    put(project, ".gitignore", text="*.csv\nhelpers.py\n")
    put(project, "a.csv", "helpers.py")

    assert found(project, "import helpers\nopen('a.csv')", language=language) == []


def test_nothing_is_run(project):
    put(project, "helpers.py", text="open('ran', 'w')\n")

    inspected(project, "import helpers\nopen('ran', 'w')\n!touch ran\n%run helpers.py")

    assert not (project / "ran").exists()


def test_a_module_behind_a_link_is_not_read(project, tmp_path):
    put(tmp_path, "secret.py", text="import hidden\n")
    put(project, ".gitignore", text="*.py\n")
    (project / "helpers.py").symlink_to(tmp_path / "secret.py")
    put(project, "hidden.py")

    findings = found(project, "import helpers")

    assert all("hidden.py" not in finding.paths for finding in findings)


def test_a_saved_notebook_that_is_none_is_told_at_its_path(project):
    put(project, "n.ipynb", text="{}")
    put(project, "large.ipynb", text=" " * 64_000_001)
    inspect = NotebookInspector(config.Element(owner="ann"))

    with pytest.raises(Invalid, match="not a notebook") as refused:
        inspect(project / "n.ipynb", "n.ipynb", None)
    with pytest.raises(TooLarge) as too_large:
        inspect(project / "large.ipynb", "large.ipynb", None)

    assert refused.value.field == too_large.value.field == "path"


def test_a_project_that_is_gone_is_an_error_in_words(project):
    shutil.rmtree(project)

    inspect = NotebookInspector(config.Element(owner="ann"))
    findings = inspect(project / "n.ipynb", "n.ipynb", a_document("x = 1")).findings

    assert findings[0].code is FindingCode.NO_SNAPSHOT
    assert "no directory" in findings[0].message


def test_a_project_without_end_is_not_walked_to_its_end(project, monkeypatch):
    monkeypatch.setattr("element_jupyter.adapters.project.listing.MANIFEST_ENTRIES", 5)
    put(project, *(f"images/{number}.png" for number in range(10)))

    (finding,) = found(project)

    assert (finding.code, finding.severity) == (FindingCode.TOO_LARGE, Severity.ERROR)
    assert finding.message == "The project has more than 5 files."
