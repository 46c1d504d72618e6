"""The engine under papermill's own commands."""

from __future__ import annotations

import nbformat
import papermill
import pytest
from papermill.engines import papermill_engines

from element_jupyter.platform.papermill_engine import Engine
from tests.runner.conftest import code, notebook


@pytest.fixture(autouse=True)
def registered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill_engines.register("element", Engine)


def test_papermill_runs_a_notebook_with_the_engine(tmp_path):
    nbformat.write(notebook(code("n = 1", "parameters"), "print(n + 1)"), "in.ipynb")

    papermill.execute_notebook(
        "in.ipynb", "out.ipynb", {"n": 2}, engine_name="element", progress_bar=False
    )

    written = nbformat.read("out.ipynb", as_version=4)
    assert written.cells[2].outputs[0].text == "3\n"
    assert written.metadata.papermill.duration > 0


def test_papermill_learns_of_a_failure(tmp_path):
    nbformat.write(notebook("1 / 0"), "in.ipynb")

    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        papermill.execute_notebook(
            "in.ipynb", "out.ipynb", engine_name="element", progress_bar=False
        )
