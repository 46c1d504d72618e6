"""What tests and benchmarks ask a running platform for."""

from __future__ import annotations

from pathlib import Path

from element_jupyter.platform.client import connect
from tests.platform_fixture import RunningPlatform

ENDED = frozenset({"succeeded", "failed", "stopped", "lost"})


def snapshot(platform: RunningPlatform, project: Path) -> str:
    """Snapshot a project into the platform, as the command line does; return its id."""
    local = connect(platform.data_dir)
    return local.upload(project, lambda _title: lambda _done, _total: None).manifest.snapshot_id


def owner(platform: RunningPlatform) -> str:
    """The person that a platform serves, and so the person's own team."""
    return str(connect(platform.data_dir).config.owner)
