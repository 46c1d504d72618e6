"""Which definition a notebook has, from the platform's side: shared ones, pointers, notebooks."""

from __future__ import annotations

import json

import pytest

from element_jupyter.adapters.definitions import DiskFiles
from element_jupyter.core.environments.definitions import Kind, Pointer
from element_jupyter.core.errors import Invalid


def a_notebook(path, *, source: str = "1", metadata: dict | None = None, padding: int = 0):
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": source,
        "execution_count": None,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "x" * padding}],
    }
    document = {"cells": [cell], "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document))
    return path


def test_a_notebook_without_a_definition_has_the_default_one(deployment):
    (deployment.project / "apt.txt").write_text("graphviz\n")

    found = deployment.environments().find(deployment.project / "a.ipynb")

    assert found.definition.name == "default"
    assert found.definition.title == "default (shared)"
    assert found.definition.why
    assert found.root == deployment.shared
    assert [each.path for each in found.ignored] == ["apt.txt"]
    assert found.notices


def test_the_definition_beside_a_notebook_counts(deployment):
    notebook = deployment.requires("tables")

    found = deployment.environments().find(notebook)

    assert found.definition.kind is Kind.REQUIREMENTS
    assert found.definition.name is None
    assert found.root == deployment.project


def test_a_shared_environment_is_pointed_at_by_its_name(deployment):
    (deployment.shared / "gpu").mkdir()
    (deployment.shared / "gpu" / "requirements.txt").write_text("tables\n")
    metadata = {"element": {"environment": {"name": "gpu"}}}
    notebook = a_notebook(deployment.project / "a.ipynb", metadata=metadata)
    environments = deployment.environments()

    assert environments.find(notebook).definition.name == "gpu"
    assert environments.find(deployment.project, pointer=Pointer(target="gpu")).definition.name
    assert set(environments.shared()) == {"default", "gpu"}


def test_what_is_there_goes_before_a_name(deployment):
    (deployment.shared / "gpu").mkdir()
    (deployment.shared / "gpu" / "requirements.txt").write_text("tables\n")
    (deployment.project / "gpu").mkdir()
    (deployment.project / "gpu" / "requirements.txt").write_text("stools\n")

    found = deployment.environments().find(deployment.project, pointer=Pointer(target="gpu"))

    assert found.definition.path == "gpu/requirements.txt"


def test_a_pointer_at_nothing_is_refused(deployment):
    for target in ("no-such", "../outside", "default/../../x"):
        with pytest.raises(Invalid) as refused:
            deployment.environments().find(deployment.project, pointer=Pointer(target=target))
        assert refused.value.field == "environment"


def test_an_inline_definition_is_read_from_the_notebook_on_disk(deployment):
    source = '# /// script\n# dependencies = ["stools"]\n# ///'
    notebook = a_notebook(deployment.project / "a.ipynb", source=source)

    found = deployment.environments().find(notebook)

    assert found.definition.kind is Kind.INLINE
    assert [each.spec for each in found.definition.requirements] == ["stools"]


def test_a_notebook_of_many_megabytes_keeps_nobody_from_its_definition(deployment):
    deployment.requires("tables")
    notebook = a_notebook(deployment.project / "large.ipynb", padding=12_000_000)

    found = deployment.environments().find(notebook)

    assert found.definition.path == "requirements.txt"
    assert found.notices == ()


def test_a_snapshot_and_the_disk_have_the_same_definition(deployment):
    notebook = deployment.requires("tables")
    environments = deployment.environments()

    on_disk = environments.find(notebook)
    in_snapshot = environments.find_in(DiskFiles(deployment.project), "analysis.ipynb")

    assert in_snapshot.definition == on_disk.definition
    assert in_snapshot.root is None


def test_without_shared_definitions_it_is_said_how_to_have_one(deployment):
    environments = deployment.environments(environments_dir=str(deployment.directory / "none"))

    with pytest.raises(Invalid, match="no shared environment 'default'") as refused:
        environments.find(deployment.project)
    assert "Element.environments_dir" in refused.value.hint
