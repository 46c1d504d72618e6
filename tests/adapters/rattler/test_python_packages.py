"""The `pip:` section: Python packages on top of conda's, and a kernel where no channel has one."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from element_jupyter.adapters.rattler import Rattler
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from tests import conda_channel
from tests.adapters.rattler.conftest import a_definition, trusted
from tests.package_index import PackageIndex

WITH_PIP = """\
channels: [CHANNEL]
dependencies:
  - python
  - greeter=1
  - pip:
      - tables
      - -r more.txt
"""


@pytest.fixture
def index(conda):
    with PackageIndex() as index:
        index.wheel("greeter", "1.0")
        index.wheel("greeter", "2.0")
        index.wheel(
            "tables",
            requires=["greeter"],
            files={"tables.py": "def main():\n    import sys; print(sys.prefix)\n"},
            scripts={"tables": "tables:main"},
        )
        index.wheel("chairs", "2.1")
        conda.index = index
        yield index


def with_pip(conda, text: str = WITH_PIP):
    found = conda.found(text)
    return type(found)(found.definition, {**found.contents, "more.txt": b"chairs\n"})


def test_a_pip_section_is_added_to_what_conda_brings(conda, index, in_environment):
    lock = conda.lock(with_pip(conda))
    artefacts = {each.name: each for each in conda.engine.artefacts(lock.content, None)}
    assert artefacts["tables"].url.startswith(index.origin)
    assert artefacts["chairs"].sha256 == index.files["chairs-2.1-py3-none-any.whl"].sha256
    # conda's, at its version, although the index has a newer one
    assert artefacts["greeter"].url.startswith(conda.channel.url)

    environment = conda.install(lock)
    asked = "import tables, chairs, greeter; from importlib.metadata import version as v; "
    output = in_environment(environment, "-c", asked + "print(v('tables'), v('greeter'))")
    assert output == "1.0 1.0"


def test_scripts_of_a_pip_section_work_where_the_environment_will_be(conda, index):
    environment = conda.install(conda.lock(with_pip(conda)))
    script = environment / "bin" / "tables"
    assert subprocess.check_output([script], text=True).strip() == str(environment)
    (record,) = environment.glob("lib/python*/site-packages/tables-1.0.dist-info/RECORD")
    rows = {row[0]: row[1] for row in csv.reader(record.read_text().splitlines())}
    digest = urlsafe_b64encode(hashlib.sha256(script.read_bytes()).digest()).decode().rstrip("=")
    assert rows["../../../bin/tables"] == f"sha256={digest}"
    assert not any(b"half-env" in path.read_bytes() for path in (environment / "bin").glob("t*"))


def test_installing_leaves_no_byte_code_behind(conda, index):
    environment = conda.install(conda.lock(with_pip(conda)))
    assert list(environment.rglob("*.pyc")) == []


def test_locking_a_pip_section_twice_gives_the_same_bytes(conda, index):
    first = conda.lock(with_pip(conda))
    assert conda.lock(with_pip(conda)).content == first.content
    assert str(conda.root).encode() not in first.content


def test_versions_of_a_pip_section_are_kept_until_an_upgrade_is_asked_for(conda, index):
    first = conda.lock(with_pip(conda))
    index.wheel("chairs", "3.0")
    kept = conda.lock(with_pip(conda), previous=first.content)
    newer = conda.lock(with_pip(conda), previous=first.content, upgrade=True)
    assert b"chairs-2.1" in kept.content
    assert b"chairs-3.0" in newer.content


def test_a_pip_section_further_down_includes_files_beside_it(conda, index):
    files = {
        "binder/environment.yml": conda.found(WITH_PIP).contents["environment.yml"],
        "binder/more.txt": b"chairs\n",
    }
    assert b"chairs-2.1" in conda.lock(a_definition(files)).content


def test_a_wheel_that_is_not_what_the_lock_says_is_refused(conda, index):
    lock = conda.lock(with_pip(conda))
    index.corrupt("chairs")
    with pytest.raises(EnvironmentFailed) as caught:
        conda.install(lock)
    assert caught.value.failure.code is FailureCode.HASH_MISMATCH


def test_a_pip_section_that_contradicts_conda_is_told(conda, index):
    index.wheel("benches", requires=["greeter>=2"])
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(with_pip(conda, WITH_PIP.replace("tables", "benches")))
    assert caught.value.failure.code is FailureCode.NO_SOLUTION
    assert "greeter" in caught.value.failure.text


def test_a_kernel_comes_from_the_index_when_no_channel_has_one(
    conda, index, tmp_path, channel_directory
):
    index.kernel()
    for path in channel_directory.glob("*/*.conda"):
        if path.name.startswith(("python-", "greeter-")):
            (tmp_path / "bare" / path.parent.name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "bare" / path.parent.name / path.name).hardlink_to(path)
    conda_channel.index(tmp_path / "bare")
    with conda_channel.serve(tmp_path / "bare") as served:
        found = conda.found(f"channels: [{served.url}]\ndependencies: [greeter=1]\n")
        lock = conda.lock(found, rules=conda.rules(channels=(served.url,)))
    artefacts = {each.name: each for each in conda.engine.artefacts(lock.content, None)}
    assert artefacts["ipykernel"].url.startswith(index.origin)


def test_a_kernel_in_the_pip_section_is_taken_from_there(conda, index):
    index.kernel("7.1.0")
    lock = conda.lock(with_pip(conda, WITH_PIP.replace("tables", "ipykernel==7.1.0")))
    artefacts = {each.name: each for each in conda.engine.artefacts(lock.content, None)}
    assert (artefacts["ipykernel"].version, artefacts["ipykernel"].url[:8]) == (
        "7.1.0",
        index.origin[:8],
    )


def test_an_index_of_the_definition_needs_trust(conda, index):
    found = with_pip(conda)
    origins = trusted("index", "https://elsewhere.example/simple")
    definition = found.definition.model_copy(update={"origins": tuple(origins)})
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(type(found)(definition, found.contents))
    assert caught.value.failure.code is FailureCode.NEEDS_TRUST
    assert caught.value.failure.origins == tuple(origins)


def test_without_a_tool_for_it_a_pip_section_is_refused_in_words(conda, index, tmp_path: Path):
    with pytest.raises(EnvironmentFailed, match="packages from an index"):
        Rattler(conda.root / "cache").lock(
            with_pip(conda), None, conda.rules(), conda.told, scratch=tmp_path
        )
