"""Which Pythons are found, and which is chosen."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from element_jupyter.adapters.uv import Interpreters
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from element_jupyter.core.errors import Invalid

VERSION = ".".join(str(each) for each in sys.version_info[:3])
MINOR = ".".join(str(each) for each in sys.version_info[:2])


@pytest.fixture
def alone(tmp_path: Path) -> Interpreters:
    """Finds what the system has, and a home where a test can put others."""
    return Interpreters(
        tmp_path / "cache" / "interpreters.json", {"HOME": str(tmp_path), "PATH": ""}
    )


def pretend(home: Path, version: str, says: str | None = None) -> Path:
    """Put an interpreter where pyenv would, that says it has a version."""
    path = home / ".pyenv" / "versions" / version / "bin" / "python3"
    path.parent.mkdir(parents=True)
    answer = {
        "implementation": "cpython",
        "version": version,
        "build": f"{version} (made up)",
        "platform": "linux-x86_64-glibc2.36",
        "free_threaded": False,
        "virtual": False,
    }
    path.write_text(f"#!/bin/sh\necho asked >> {home}/asked\necho '{says or json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


def test_the_python_that_element_runs_on_is_the_default(alone: Interpreters):
    chosen = alone.choose("")
    assert chosen.version == VERSION
    assert chosen.implementation == "cpython"
    assert not chosen.path.startswith(sys.prefix) or sys.prefix == sys.base_prefix
    assert chosen.platform.startswith("linux-")
    assert alone.choose(f">={MINOR}") == chosen


def test_another_is_chosen_where_the_definition_needs_it(alone: Interpreters, tmp_path: Path):
    pretend(tmp_path, "3.77.0")
    pretend(tmp_path, "3.77.2")
    pretend(tmp_path, "3.78.1")
    assert alone.choose("==3.77.*").version == "3.77.2"
    assert alone.choose("3.77.0").version == "3.77.0"
    assert alone.choose(">=3.77").version == "3.78.1"


def test_the_deployments_python_is_preferred_where_it_fits(alone: Interpreters, tmp_path: Path):
    path = pretend(tmp_path, "3.77.0")
    pretend(tmp_path, "3.78.1")
    assert alone.choose("", "3.77").version == "3.77.0"
    assert alone.choose(">=3.70", "3.77").version == "3.77.0"
    assert alone.choose(">=3.78", "3.77").version == "3.78.1"
    assert alone.choose("", str(path)).path == str(path)


def test_none_that_fits_is_told_with_what_is_there(alone: Interpreters):
    with pytest.raises(EnvironmentFailed) as caught:
        alone.choose(">=3.99")
    assert caught.value.failure.code is FailureCode.PYTHON_MISMATCH
    assert "needs Python >=3.99" in caught.value.failure.summary
    assert VERSION in caught.value.failure.summary


@pytest.mark.parametrize("python", ["three", ">=3.x", "3.1.1.1"])
def test_what_is_no_version_is_refused(alone: Interpreters, python):
    with pytest.raises(Invalid, match="does not say which Python"):
        alone.choose(python)


def test_a_path_without_a_python_is_refused(alone: Interpreters):
    with pytest.raises(Invalid, match="no usable Python at /nowhere/python"):
        alone.choose("", "/nowhere/python")


def test_what_is_too_old_or_broken_is_left_out_and_why(alone: Interpreters, tmp_path: Path):
    old = pretend(tmp_path, "3.8.1")
    broken = pretend(tmp_path, "3.76.0", says="Segmentation fault")
    pretend(tmp_path, "3.77.0")
    paths = {each.path for each in alone.known()}
    assert not paths & {str(old), str(broken)}
    assert alone.skipped()[str(old)] == "Python 3.8.1 is older than 3.9, and no kernel runs on it"


def test_each_is_asked_once_until_it_changes(alone: Interpreters, tmp_path: Path):
    path = pretend(tmp_path, "3.77.0")
    again = Interpreters(
        tmp_path / "cache" / "interpreters.json", {"HOME": str(tmp_path), "PATH": ""}
    )
    assert alone.choose("3.77").version == again.choose("3.77").version == "3.77.0"
    assert (tmp_path / "asked").read_text().count("asked") == 1
    path.write_text(path.read_text().replace("3.77.0", "3.77.1"))
    os.utime(path, ns=(1, 1))
    assert Interpreters(again._cache_file, again._variables).choose("3.77").version == "3.77.1"


def test_a_damaged_cache_is_no_harm(alone: Interpreters, tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "interpreters.json").write_text('{"/x": 3, "truncat')
    assert alone.choose("").version == VERSION


def test_a_known_one_is_chosen_in_no_time(alone: Interpreters, tmp_path: Path):
    alone.choose("")
    fresh = Interpreters(tmp_path / "cache" / "interpreters.json", alone._variables)
    best = min(_timed(fresh) for _ in range(5))
    assert best < 0.002


def _timed(interpreters: Interpreters) -> float:
    begun = time.perf_counter()
    interpreters.choose(">=3.9")
    return time.perf_counter() - begun
