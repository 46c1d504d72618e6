"""POST of a run → its first cell: through the Hub, as the owner's account, against without a Hub.

Both platforms run; the same notebook is posted to each in turn. Its first cell writes the time.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat

from tests.hub_platform import hub_platform
from tests.platform_client import ENDED, snapshot
from tests.platform_fixture import RunningPlatform, free_ports, running_platform, wait_until

ROUNDS = 9
BAR = 1.5


def measure() -> list[dict[str, Any]]:
    """Alternate the two, one warm-up each, and compare medians in seconds."""
    with tempfile.TemporaryDirectory(prefix="element-bench-") as temporary:
        directory = Path(temporary)
        directory.chmod(0o755)
        mark = directory / "first-cell"
        mark.touch()
        os.chmod(mark, 0o666)  # noqa: PTH101 - any account writes it
        project = _project(directory, mark)
        plain = {"ELEMENT_AIRFLOW": "false", "ELEMENT_ENVIRONMENTS": "false"}
        (directory / "hub").mkdir()
        with (
            running_platform(directory / "data", **free_ports(), **plain) as without,
            hub_platform(directory / "hub") as hub,
        ):
            times: dict[str, list[float]] = {"ours": [], "peer": []}
            for _ in range(ROUNDS + 1):
                for name, platform in (("ours", hub.platform), ("peer", without)):
                    times[name].append(_post_to_first_cell(platform, project, mark))
    ours, peer = (statistics.median(times[name][1:]) for name in ("ours", "peer"))
    return [
        {
            "name": "hub_first_cell",
            "ours": ours,
            "peer": peer,
            "unit": "s",
            "ratio": ours / peer,
            "bar": f"≤ {BAR}",
            "holds": ours / peer <= BAR,
        }
    ]


def _project(directory: Path, mark: Path) -> Path:
    project = directory / "project"
    project.mkdir()
    cell = f"import time\nwith open({str(mark)!r}, 'w') as mark:\n    mark.write(str(time.time()))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, project / "notebook.ipynb")
    return project


def _post_to_first_cell(platform: RunningPlatform, project: Path, mark: Path) -> float:
    snapshot_id = snapshot(platform, project)
    mark.write_text("")
    request = {"notebook": "notebook.ipynb", "snapshot_id": snapshot_id, "kernel": "python3"}
    with platform.service() as service:
        begin = time.time()
        run_id = service.post("/runs", json=request).raise_for_status().json()["run_id"]
        wait_until(mark.read_text, 120)
        elapsed = float(mark.read_text()) - begin
        wait_until(lambda: service.get(f"/runs/{run_id}").json()["state"] in ENDED, 60)
    return elapsed
