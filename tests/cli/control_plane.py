"""A control plane as a process that can be killed, and projects for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nbformat
import pytest

from element_jupyter.platform.ports import free_port
from element_jupyter.platform.state import PlatformState, write_state

SECONDS = 90


class ControlPlane:
    """`python -m element_jupyter.platform.service` on a data directory of its own."""

    def __init__(self, data: Path, database_url: str, **variables: str) -> None:
        self.data = data
        data.mkdir(mode=0o700, exist_ok=True)
        self.port = free_port()
        self._environment = {
            **os.environ,
            "ELEMENT_DATABASE_URL": database_url,
            "ELEMENT_PORT": str(self.port),
            "ELEMENT_AIRFLOW": "False",
            "ELEMENT_OWNER": "ada",
            "ELEMENT_ENVIRONMENTS": "False",
            **variables,
        }
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.data / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "element_jupyter.platform.service", "--data", self.data],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/api/v1/health", trust_env=False).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        else:
            pytest.fail((self.data / "service.log").read_text()[-3000:])
        state = PlatformState(
            pid=os.getpid(), started_at=datetime.now(UTC), service_url=self.url,
            airflow_url=None, ready=True, processes={},
        )  # fmt: skip
        write_state(self.data / "state.json", state)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)


def a_project(directory: Path, *cells: str, name: str = "sales") -> Path:
    directory.mkdir(parents=True)
    (directory / "numbers.csv").write_text("1\n2\n3\n")
    (directory / "reading.py").write_text(
        "def read(path):\n    return list(map(int, open(path)))\n"
    )
    parameters = nbformat.v4.new_code_cell("factor: int = 2\nlabel: str = 'x'\nday: str = ''")
    parameters.metadata["tags"] = ["parameters"]
    source = cells or (
        "from reading import read\ntotal = factor * sum(read('numbers.csv'))\nprint('total', total)",
        "import pathlib, element_jupyter as e\npathlib.Path('result.txt').write_text(str(total))\n\
e.record(total=total, label=label)",
    )
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, *map(nbformat.v4.new_code_cell, source)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, directory / f"{name}.ipynb")
    return directory
