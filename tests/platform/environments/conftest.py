"""A deployment with an index of its own, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package_index import PackageIndex
from tests.platform.environments.deployment import Deployment, a_deployment, an_index


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with an_index() as made:
        yield made


@pytest.fixture
def deployment(tmp_path, index, uv_cache, monkeypatch) -> Iterator[Deployment]:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with a_deployment(tmp_path / "deployment", index, uv_cache) as made:
        yield made
