"""Conda's definitions go the same way: locked, built, kept, and pinned."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from element_jupyter.core.environments.keeping import Pin, State
from tests import conda_channel
from tests.platform.environments.deployment import nobody

pytest.importorskip("rattler")


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    directory = conda_channel.cached(tmp_path_factory.getbasetemp().parent / "conda-channels")
    with conda_channel.serve(directory) as served:
        yield served


def definition(channel, *lines: str) -> str:
    wanted = "".join(f"  - {each}\n" for each in ("python", *lines))
    return f"channels:\n  - {channel.url}\ndependencies:\n{wanted}"


def test_a_conda_definition_becomes_an_environment_and_is_the_same_elsewhere(deployment, channel):
    (deployment.project / "environment.yml").write_text(definition(channel, "greeter"))
    environments = deployment.environments(channels=[channel.url])
    found = environments.find(deployment.project)

    made = environments.ensure(found, nobody)

    assert made.manifest.environment_id.startswith("cf-")
    assert made.manifest.python.startswith("3.")
    said = subprocess.run(
        [made.python, "-I", "-c", "import greeter, sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
    )
    assert Path(said.stdout.strip()) == made.directory, said.stderr
    assert environments.ready(found) == made
    assert environments.state_of(found).state is State.READY
    pin = Pin(
        environment_id=made.manifest.environment_id,
        lock_id=made.manifest.lock_id,
        definition="environment.yml",
        python=made.manifest.python,
    )
    other = deployment.environments(
        channels=[channel.url], environment_store=str(deployment.directory / "other")
    )
    again = other.ensure_locked(pin, environments.lock_content(pin.lock_id), nobody)
    assert again.manifest.packages == made.manifest.packages


def test_a_conda_conflict_is_told(deployment, channel):
    (deployment.project / "environment.yml").write_text(definition(channel, "widget", "gadget"))
    environments = deployment.environments(channels=[channel.url])

    with pytest.raises(EnvironmentFailed) as failed:
        environments.ensure(environments.find(deployment.project), nobody)

    assert failed.value.failure.code is FailureCode.NO_SOLUTION
