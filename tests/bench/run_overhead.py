"""What a run costs beside its cells: Element's runner against papermill, both in a warm process.

Each run is a fork of one process that has imported both, from the fork to the written notebook and
the ended process. The two alternate, so that both see the same machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

ROUNDS = 9


def measure() -> list[dict[str, Any]]:
    """Compare medians in seconds; the rounds take place in a process of their own."""
    command = [sys.executable, "-m", "tests.bench.run_overhead"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    times = json.loads(done.stdout.splitlines()[-1])
    ours, peer = (statistics.median(times[name]) for name in ("ours", "peer"))
    return [
        {
            "name": "run_overhead",
            "ours": ours,
            "peer": peer,
            "unit": "s",
            "ratio": ours / peer,
            "bar": "≤ 1.2",
            "holds": ours / peer <= 1.2,
        }
    ]


def _rounds(directory: Path) -> dict[str, list[float]]:
    from papermill import execute_notebook

    from element_jupyter.platform.runner import run_file

    project, output = directory / "project", directory / "out"
    project.mkdir()
    notebook = project / "notebook.ipynb"
    cells = [nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(f"print(n + {number})") for number in range(10)]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), notebook)
    run = {
        "run_id": "bench",
        "notebook": notebook.name,
        "project_directory": str(project),
        "output_directory": str(output),
        "parameters": {"n": 2},
    }
    (directory / "run.json").write_text(json.dumps(run))

    def ours() -> None:
        assert run_file(str(directory / "run.json")) == 0

    def peer() -> None:
        execute_notebook(notebook, directory / "peer.ipynb", {"n": 2}, progress_bar=False)

    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(ROUNDS + 1):
        times["peer"].append(_forked(peer))
        times["ours"].append(_forked(ours))
    return {name: each[1:] for name, each in times.items()}


def _forked(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a forked child must not return into the bench
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return time.perf_counter() - begin


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(_rounds(Path(temporary))))
