"""A control plane of its own for what is sent to it by mistake or on purpose; no Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.platform_fixture import RunningPlatform, free_ports, running_platform


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    data_dir = tmp_path_factory.mktemp("bad-input") / "data"
    with running_platform(data_dir, **free_ports(), ELEMENT_AIRFLOW="false") as running:
        yield running
