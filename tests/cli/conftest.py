"""A control plane for the commands to talk to: real process, real database, real kernels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from element_jupyter.cli.main import main
from tests.cli.control_plane import ControlPlane, a_project


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def control_plane(postgres, tmp_path_factory) -> Iterator[ControlPlane]:
    plane = ControlPlane(
        tmp_path_factory.mktemp("cli") / "data", postgres.url(postgres.new_database())
    )
    yield plane
    plane.end()


@pytest.fixture
def element(control_plane, capsys, monkeypatch, tmp_path):
    """Run a command against the control plane, as typed in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(control_plane.data))
    monkeypatch.setenv("ELEMENT_OWNER", "ada")
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: str) -> Said:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def project(tmp_path):
    """A directory with a notebook, a module beside it and a file that the notebook reads."""
    return a_project(tmp_path / "project")


@pytest.fixture
def a_job(element, project, request):
    """The name of a job that is saved, of this test's own."""
    name = "job-" + request.node.name.lower().replace("_", "-").replace("[", "-").strip("]-")[
        -40:
    ].strip("-")
    said = element("schedule", project / "sales.ipynb", "--name", name)
    assert said.code == 0, said.err
    yield name
    element("jobs", "delete", name, "--yes")
    shutil.rmtree(project)
