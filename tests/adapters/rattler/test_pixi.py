"""`pixi.lock`: taken as it is, with the kernel added."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from element_jupyter.core.environments.definitions import Kind
from tests import conda_channel
from tests.adapters.rattler.conftest import a_definition, trusted
from tests.package_index import PackageIndex

MANIFEST = """\
[workspace]
channels = ["CHANNEL"]
platforms = ["linux-64"]

[dependencies]
python = "*"
greeter = "1.*"

[feature.tools.dependencies]
toolbox = "2.*"

[environments]
tools = ["tools"]
"""


@pytest.fixture
def project(conda, channel_directory):
    """Return a function that makes a pixi project as pixi does, without it being here."""

    def make(packages=("python", "greeter-1.0"), *, manifest=MANIFEST, pypi=(), **more):
        here = conda_channel.subdir()
        rows, names = [], []
        repodata = {
            each.name: json.loads((channel_directory / each / "repodata.json").read_text())
            for each in (channel_directory / here, channel_directory / "noarch")
        }
        for subdir, known in repodata.items():
            for file, record in known["packages.conda"].items():
                if file.startswith(tuple(f"{each}-" for each in packages)):
                    url = f"{conda.channel.url}/{subdir}/{file}"
                    names.append(f"      - conda: {url}")
                    rows.append(f"- conda: {url}\n  sha256: {record['sha256']}")
                    needs = "".join(f"\n  - {each}" for each in record["depends"])
                    rows[-1] += f"\n  depends:{needs}" if needs else ""
        for name, url, sha256 in pypi:
            names.append(f"      - pypi: {url}")
            hashed = f"\n  sha256: {sha256}" if sha256 else ""
            rows.append(f"- pypi: {url}\n  name: {name}\n  version: '1.0'{hashed}")
        environments = "\n".join(
            f"  {name}:\n    channels:\n    - url: {conda.channel.url}/\n"
            f"    packages:\n      {here}:\n" + "\n".join(names)
            for name in ("default", "tools")
        )
        lock = f"version: 6\nenvironments:\n{environments}\npackages:\n" + "\n".join(rows) + "\n"
        files = {
            "pixi.toml": manifest.replace("CHANNEL", conda.channel.url).encode(),
            "pixi.lock": lock.encode(),
        }
        return a_definition(files, kind=Kind.PIXI, lock_path="pixi.lock", **more)

    return make


def test_a_pixi_lock_is_taken_as_it_is_and_the_kernel_is_added(conda, project, in_environment):
    lock = conda.lock(project())
    artefacts = {each.name: each for each in conda.engine.artefacts(lock.content, None)}
    assert (artefacts["greeter"].version, lock.python) == ("1.0", conda_channel.PYTHON)
    assert "ipykernel" in artefacts
    environment = conda.install(lock)
    assert in_environment(environment, "-c", "import greeter, ipykernel; greeter.main()") == (
        "hello from 1.0"
    )


def test_a_pixi_lock_with_a_kernel_needs_no_network(conda, project):
    everything = [each.name for each in conda.engine.artefacts(conda.lock(project()).content, None)]
    asked = len(conda.channel.requests)
    lock = conda.lock(project(["greeter-1.0", *(set(everything) - {"greeter"})]))
    assert b"ipykernel" in lock.content
    assert len(conda.channel.requests) == asked


def test_an_environment_of_a_pixi_project_is_a_variant(conda, project):
    found = project(["python", "greeter-1.0", "toolbox-2.0"], variant="tools")
    assert b"toolbox-2.0" in conda.lock(found).content


def test_a_pixi_project_may_be_in_a_pyproject_file(conda, project):
    found = project()
    manifest = found.contents["pixi.toml"].decode()
    files = {
        "pyproject.toml": re.sub(r"(?m)^\[", "[tool.pixi.", manifest).encode(),
        "pixi.lock": found.contents["pixi.lock"],
    }
    inside = a_definition(files, kind=Kind.PIXI, lock_path="pixi.lock")
    assert b"greeter-1.0" in conda.lock(inside).content
    files["pyproject.toml"] = files["pyproject.toml"].replace(b'"1.*"', b'"2.*"')
    with pytest.raises(EnvironmentFailed, match=r"greeter 2\.\*"):
        conda.lock(a_definition(files, kind=Kind.PIXI, lock_path="pixi.lock"))


def test_python_packages_of_a_pixi_lock_are_installed_too(conda, project, in_environment):
    with PackageIndex() as index:
        wheel = index.wheel("tables", files={"tables.py": "LEGS = 4\n"})
        conda.index = index
        manifest = MANIFEST + '\n[pypi-dependencies]\ntables = "*"\nmine = { path = "." }\n'
        url = f"{index.origin}/files/{wheel.filename}"
        found = project(
            manifest=manifest, pypi=[("tables", url, wheel.sha256), ("mine", "./", None)]
        )
        environment = conda.install(conda.lock(found))
    assert in_environment(environment, "-c", "import tables; print(tables.LEGS)") == "4"


def test_what_of_a_pixi_project_is_passed_over_is_told(conda, project):
    more = '[activation]\nscripts = ["setup.sh"]\n[pypi-dependencies]\nmine = { path = "." }\n'
    conda.lock(project(manifest=MANIFEST + more))
    assert "no script of it runs" in conda.told.lines[0]
    assert "directories of the project: mine" in conda.told.lines[1]


@pytest.mark.parametrize(
    ("packages", "more", "code", "words"),
    [
        (["python"], {}, FailureCode.NO_SOLUTION, "asks for greeter 1.*, and pixi.lock does not"),
        (["python", "greeter-2.0"], {}, FailureCode.NO_SOLUTION, "Run `pixi lock`"),
        (
            ["python", "greeter-1.0"],
            {"variant": "gpu"},
            FailureCode.PARSE_ERROR,
            "environments default, tools",
        ),
        (
            ["python", "greeter-1.0"],
            {"manifest": MANIFEST + '[pypi-dependencies]\nsofas = "*"\n'},
            FailureCode.NO_SOLUTION,
            "asks for sofas",
        ),
    ],
)
def test_a_lock_that_is_not_of_its_manifest_is_told(conda, project, packages, more, code, words):
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(project(packages, **more))
    assert caught.value.failure.code is code
    assert words in caught.value.failure.text


HASH = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    ("pypi", "code", "words"),
    [
        (("a", "git+https://x.example/a@0123", None), FailureCode.NOT_SUPPORTED, "a repository"),
        (("a", "./libs/a", None), FailureCode.NOT_SUPPORTED, "a directory"),
        (
            ("a", "https://x.example/a-1.0-py3-none-any.whl", None),
            FailureCode.NOT_SUPPORTED,
            "no sha256",
        ),
        (("a", "https://x.example/a-1.0.tar.gz", HASH), FailureCode.NO_WHEEL, "source code"),
        (
            ("a", "https://x.example/a-1.0-py3-none-any.whl", HASH),
            FailureCode.NEEDS_TRUST,
            "https://x.example",
        ),
    ],
)
def test_what_cannot_be_verified_is_refused_by_what_it_is(conda, project, pypi, code, words):
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(project(pypi=[pypi]))
    assert caught.value.failure.code is code
    assert words in caught.value.failure.text


def test_a_lock_is_judged_by_where_its_files_are_and_not_by_what_it_calls_its_channels(
    conda, project
):
    found = project()
    other = "http://127.0.0.1:1/elsewhere"
    lock = found.contents["pixi.lock"].replace(
        f"{conda.channel.url}/noarch".encode(), f"{other}/noarch".encode()
    )
    found = type(found)(found.definition, {**found.contents, "pixi.lock": lock})
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(found)
    assert [each.location for each in caught.value.failure.origins] == [other]
    rules = conda.rules(trusted=trusted("channel", other))
    assert other.encode() in conda.lock(found, rules=rules).content


def test_a_pixi_project_without_a_lock_is_told_to_make_one(conda, project):
    found = project()
    definition = found.definition.model_copy(update={"lock_path": None})
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(type(found)(definition, found.contents))
    assert "pixi lock" in caught.value.failure.text


def test_a_lock_of_ours_beside_an_environment_file_is_taken_as_it_is(conda):
    found = conda.found("channels: [CHANNEL]\ndependencies: ['python', 'greeter=1']\n")
    first = conda.lock(found)
    definition = found.definition.model_copy(update={"lock_path": "environment.pixi.lock"})
    beside = {**found.contents, "environment.pixi.lock": first.content}
    asked = len(conda.channel.requests)
    assert conda.lock(type(found)(definition, beside)).content == first.content
    assert len(conda.channel.requests) == asked
