"""Commands about jobs and runs say which environment they have, and why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from element_jupyter import config
from element_jupyter.platform.environments.composition import Environments
from tests.cli.control_plane import ControlPlane
from tests.package_index import PackageIndex

JOB = """\
project: project
name: {name}
environment: {environment}
tasks: [{{notebook: sales.ipynb}}]
"""


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as served:
        served.kernel()
        served.wheel("tables", "1.0")
        served.wheel("chairs", "1.0", requires=["tables>=2"])
        yield served


@pytest.fixture(scope="module")
def control_plane(postgres, tmp_path_factory, index) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("cli")
    store = directory / "store"
    plane = ControlPlane(
        directory / "data",
        postgres.url(postgres.new_database()),
        ELEMENT_ENVIRONMENTS="True",
        ELEMENT_ENVIRONMENT_STORE=str(store),
        ELEMENT_INDEX_URLS=index.url,
    )
    yield plane
    plane.end()
    made = Environments(config.Element(data_dir=str(plane.data), environment_store=str(store)))
    for build in (store / "builds").glob("*/events.jsonl"):
        for _ in made.events(build.parent.name):
            pass


@pytest.fixture
def environments(project):
    """Definitions in the project."""
    for name, requirements in {
        "requirements.txt": "tables",
        "envs/lab/requirements.txt": "tables==1.0",
        "envs/none/requirements.txt": "tables\nchairs",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(requirements)
    return project / "envs"


def test_a_job_and_its_runs_say_what_they_are_pinned_to(element, project, environments):
    said = element("schedule", project / "sales.ipynb", "--name", "beside")
    assert said.code == 0, said.err
    stored = element("jobs", "show", "beside", "--json").json
    pin = stored["pins"]["main"]
    line = f"Environment requirements.txt, Python {pin['python']}  {pin['environment_id']}"
    assert line in said.out
    assert line in element("jobs", "show", "beside").out
    run = element("runs", "start", "beside", "--json").json
    assert (run["environment_id"], run["lock_id"]) == (pin["environment_id"], pin["lock_id"])
    assert line in element("runs", "show", run["run_id"]).out
    element("runs", "stop", run["run_id"])


def test_a_path_that_is_typed_is_taken_from_here(
    element, project, environments, monkeypatch, tmp_path
):
    monkeypatch.chdir(environments)
    said = element("schedule", "../sales.ipynb", "--name", "typed", "--environment", "lab")
    assert said.code == 0, said.err
    stored = element("jobs", "show", "typed", "--json").json
    assert stored["job"]["environment"] == "envs/lab"
    assert stored["pins"]["main"]["definition"] == "envs/lab/requirements.txt"


def test_an_environment_that_cannot_be_is_told_with_what_the_resolver_said(
    element, project, environments, tmp_path
):
    path = project / "sales.ipynb"
    for words in (
        ("schedule", path, "--name", "no", "--environment", environments / "none"),
        ("schedule", path, "--name", "no", "--environment", environments / "none", "--dry-run"),
    ):
        said = element(*words)
        assert said.code == 1
        assert "Error: " in said.err
        assert "Hint: " in said.err
        assert "chairs" in said.err
    (tmp_path / "job.yaml").write_text(JOB.format(name="no", environment="envs/none"))
    refused = element("apply", "-f", tmp_path / "job.yaml")
    assert (refused.code, "chairs" in refused.err) == (1, True)
    (tmp_path / "job.yaml").write_text(JOB.format(name="no", environment="envs/lost"))
    assert "envs/lost" in element("apply", "-f", tmp_path / "job.yaml").err
    assert element("jobs", "show", "no").code == 2


def test_applying_the_same_again_changes_nothing(element, project, environments, tmp_path):
    (tmp_path / "job.yaml").write_text(JOB.format(name="applied", environment="envs/lab"))
    assert "ada/applied created" in element("apply", "-f", tmp_path / "job.yaml").out
    assert "ada/applied unchanged" in element("apply", "-f", tmp_path / "job.yaml").out
    pins = element("jobs", "show", "applied", "--json").json["pins"]
    (project / "requirements.txt").write_text("# other than before")
    assert "ada/applied updated" in element("apply", "-f", tmp_path / "job.yaml").out
    assert element("jobs", "show", "applied", "--json").json["pins"] == pins
