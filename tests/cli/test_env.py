"""`element env` as people and programs type it, with no platform running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from element_jupyter.cli.main import main
from tests.package_index import PackageIndex
from tests.platform.environments.deployment import (
    Deployment,
    a_deployment,
    an_index,
    builders,
    wait_until,
)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Element = Callable[..., Said]


@pytest.fixture(scope="session")
def env_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def deployment(tmp_path, env_cache, monkeypatch) -> Iterator[Deployment]:
    with an_index() as index, a_deployment(tmp_path / "deployment", index, env_cache) as made:
        (tmp_path / "home").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        monkeypatch.setenv("ELEMENT_DATA_DIR", str(made.data))
        monkeypatch.setenv("ELEMENT_ENVIRONMENT_STORE", str(made.store))
        monkeypatch.setenv("ELEMENT_ENVIRONMENTS_DIR", str(made.shared))
        monkeypatch.setenv("ELEMENT_INDEX_URLS", index.url)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(made.project)
        yield made


@pytest.fixture
def element(deployment, capsys) -> Element:
    def run(*words: object) -> Said:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


def test_show_tells_which_file_won_and_why_and_what_did_not(deployment, element):
    deployment.requires("tables")
    (deployment.project / "requirements.in").write_text("stools\n")
    (deployment.project / "postBuild").write_text("#!/bin/sh\n")

    said = element("env", "show")

    assert said.code == 0
    assert "requirements.txt" in said.out
    assert "It is beside the notebook." in said.out
    assert "not built" in said.out
    assert "requirements.in: requirements.txt goes first in the same directory" in said.out
    assert "postBuild" in said.out
    shown = element("env", "show", "--json").json
    assert shown["state"] == "missing"
    assert shown["definition"]["path"] == "requirements.txt"
    assert "requirements.in" in {each["path"] for each in shown["ignored"]}


def test_build_makes_what_show_then_tells_of(deployment, element):
    deployment.requires("tables")

    said = element("env", "build")

    assert said.code == 0
    assert "3 packages" in said.out
    assert said.err.startswith("Resolving\n")
    assert said.err.splitlines()[-1] == "Ready"
    shown = element("env", "show", "--packages", "--json").json
    assert shown["state"] == "ready"
    assert shown["environment_id"] in said.out
    assert {each["name"] for each in shown["artefacts"]} == {"tables", "chairs", "ipykernel"}
    assert Path(shown["directory"]).is_dir()
    again = element("env", "build", "--json")
    assert again.json["environment_id"] == shown["environment_id"]
    assert again.err == ""


def test_build_tells_a_conflict_in_whole_and_ends_with_one(deployment, element):
    deployment.requires("tables", "chairs<2")

    said = element("env", "build")

    assert said.code == 1
    assert said.out == ""
    assert "chairs<2  (requirements.txt, line 2)" in said.err
    assert "→" in said.err
    as_json = element("env", "build", "--json")
    assert as_json.code == 1
    assert as_json.json["code"] == "environment_failed"
    assert as_json.json["failure"]["code"] == "no_solution"
    assert "failed" in element("env", "show").out


def test_a_definition_that_cannot_be_read_names_the_line(deployment, element):
    deployment.requires("tables", "=== not a requirement")

    said = element("env", "build")

    assert said.code == 1
    assert "requirements.txt, line 2" in said.err


def test_ctrl_c_cancels_a_build(deployment):
    deployment.requires("tables")
    deployment.index.delay_seconds = 30
    building = subprocess.Popen(
        [sys.executable, "-m", "element_jupyter.cli", "env", "build"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    wait_until(lambda: deployment.index.requests)

    building.send_signal(signal.SIGINT)

    building.communicate(timeout=60)
    assert building.returncode == 130
    wait_until(lambda: not builders(deployment.directory))
    environments = deployment.environments()
    failure = environments.state_of(deployment.found("tables")).failure
    assert failure.code == "cancelled"


def test_lock_writes_a_lock_and_checks_it(deployment, element):
    deployment.requires("tables")
    assert element("env", "lock", "--check").code == 1
    assert not (deployment.project / "pylock.toml").exists()

    said = element("env", "lock")

    assert said.code == 0
    assert "tables  - → 1.0" in said.out
    assert f"{deployment.project / 'pylock.toml'} is written." in said.out.splitlines()[-1]
    assert element("env", "lock", "--check").code == 0
    deployment.index.wheel("tables", "1.1")
    dry = element("env", "lock", "--upgrade", "--dry-run", "--json").json
    assert {"name": "tables", "before": "1.0", "after": "1.1"} in dry["changes"]
    assert dry["written"] is False


def test_a_notebook_a_definition_and_a_name_can_be_shown(deployment, element):
    deployment.requires("tables")
    (deployment.project / "envs").mkdir()
    (deployment.project / "envs" / "requirements.txt").write_text("stools\n")
    (deployment.project / "deep").mkdir()
    (deployment.project / "deep" / "a.ipynb").write_text("")

    def path(*words: object) -> str:
        return element("env", "show", *words, "--json").json["definition"]["path"]

    assert path("deep/a.ipynb") == "requirements.txt"
    assert path("envs/requirements.txt") == "envs/requirements.txt"
    assert path("deep/a.ipynb", "--environment", "envs") == "envs/requirements.txt"
    assert path("--environment", "default") == "default/requirements.txt"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("show", "nowhere.ipynb"), 2, "There is no notebook or directory 'nowhere.ipynb'."),
        (("show", "--environment", "nothing"), 2, "no such file, directory or shared"),
        (("show", "--environment", "a[b"), 2, "does not point at an environment"),
        (("verify",), 2, "is not built"),
        (("verify", "py-" + "0" * 32), 2, "There is no environment"),
        (("prune", "--unused-for", "soon"), 2, "'soon' is no time."),
        (("add", "a b c"), 2, "is not a requirement"),
        (("show", "--variant", "gpu"), 1, "has no variant 'gpu'"),
    ],
)
def test_wrong_use_is_a_sentence_and_an_exit_code(deployment, element, words, code, sentence):
    deployment.requires("tables")

    said = element("env", *words)

    assert said.code == code
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert element("env", *words, "--json").json["message"]


def test_what_is_built_is_listed_verified_mended_and_pruned(deployment, element):
    deployment.requires("tables")
    assert "Nothing is built yet." in element("env", "list").out
    built = element("env", "build", "--json").json
    deployment.at_rest()

    listed = element("env", "list")
    assert built["environment_id"] in listed.out
    assert "requirements.txt" in listed.out
    assert element("env", "verify").code == 0
    assert "all as locked" in element("env", "verify", "--all").out

    (module,) = Path(built["directory"]).glob("lib/python*/site-packages/tables.py")
    module.chmod(0o644)
    module.write_text("LEGS = 3\n")
    damaged = element("env", "verify", built["environment_id"])
    assert damaged.code == 1
    assert "site-packages/tables.py: " in damaged.out
    assert element("env", "verify", "--repair").code == 0
    assert element("env", "verify").code == 0
    deployment.at_rest()

    assert "Nothing to remove." in element("env", "prune").out
    would = element("env", "prune", "--unused-for", "0d", "--dry-run", "--json").json
    assert [each["environment_id"] for each in would["items"]] == [built["environment_id"]]
    unasked = element("env", "prune", "--unused-for", "0d")
    assert unasked.code == 2
    assert "--yes" in unasked.err
    pruned = element("env", "prune", "--unused-for", "0d", "--yes")
    assert pruned.out.startswith("1 removed")
    assert element("env", "list", "--json").json == {"items": []}


def test_a_requirement_is_added_to_the_definition(deployment, element):
    deployment.requires("tables")

    said = element("env", "add", "stools>=2")

    assert said.code == 0
    assert said.out == "Added to requirements.txt: stools>=2.\n"
    assert (deployment.project / "requirements.txt").read_text() == "tables\nstools>=2\n"
    again = element("env", "add", "stools>=2", "--json").json
    assert again == {"path": "requirements.txt", "added": []}


def test_trust_is_given_on_purpose(deployment, element):
    with PackageIndex() as other:
        other.wheel("lamps", "1.0")
        deployment.requires("lamps", f"--extra-index-url {other.url}")
        refused = element("env", "build")
        assert refused.code == 1
        assert other.url in refused.err
        assert "element env trust" in refused.err

        assert element("env", "trust").code == 2
        assert other.url in element("env", "trust", "--yes").out

        assert element("env", "build").code == 0


def test_there_is_nothing_to_trust_in_the_usual_case(deployment, element):
    deployment.requires("tables")

    assert "nothing to trust" in element("env", "trust").out


def test_switched_off_environments_are_told(deployment, element, monkeypatch):
    monkeypatch.setenv("ELEMENT_ENVIRONMENTS", "False")

    said = element("env", "show")

    assert said.code == 2
    assert "switched off" in said.err
