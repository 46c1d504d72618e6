"""POST of a run → its first cell, warm: Element's control plane against jupyter-scheduler.

Both servers run; the same notebook is posted to each in turn. Its first cell writes the time at
which it runs, so both are measured by the same clock at the same place.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat

from tests.bench.peers import environment
from tests.platform_client import ENDED, snapshot
from tests.platform_fixture import free_ports, running_platform

ROUNDS = 7


def measure() -> list[dict[str, Any]]:
    """Alternate the two, one warm-up each, and compare medians in seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        mark = directory / "first-cell"
        notebook = _notebook(directory / "project", mark)
        with _jupyter_scheduler(directory) as peer, _element(directory, notebook) as ours:
            times: dict[str, list[float]] = {"ours": [], "peer": []}
            for _ in range(ROUNDS + 1):
                for name, post in (("peer", peer), ("ours", ours)):
                    times[name].append(_post_to_first_cell(post, mark))
    ours_median, peer_median = (statistics.median(times[name][1:]) for name in ("ours", "peer"))
    ratio = peer_median / ours_median
    return [
        {
            "name": "first_cell",
            "ours": ours_median,
            "peer": peer_median,
            "unit": "s",
            "ratio": ratio,
            "bar": "≥ 3",
            "holds": ratio >= 3,
        }
    ]


def _notebook(project: Path, mark: Path) -> Path:
    project.mkdir()
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                f"import time\nopen({str(mark)!r}, 'w').write(str(time.time()))"
            ),
            nbformat.v4.new_code_cell("1 + 1"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    path = project / "notebook.ipynb"
    nbformat.write(notebook, path)
    return path


def _post_to_first_cell(post: Callable[[], Callable[[], bool]], mark: Path) -> float:
    mark.unlink(missing_ok=True)
    begin = time.time()
    ended = post()
    _until(lambda: mark.is_file() and bool(mark.read_text()), 120)
    elapsed = float(mark.read_text()) - begin
    _until(ended, 120)
    return elapsed


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)


def _answers(url: str, headers: dict[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, headers=headers).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _jupyter_scheduler(directory: Path) -> Iterator[Callable[[], Callable[[], bool]]]:
    # what its kernel imports at start must be what ours imports
    binaries = environment(
        "jupyter-scheduler", "jupyter-scheduler==2.12.1", "jupyter-server", "ipykernel>=7"
    )
    home = directory / "peer"
    home.mkdir()
    port, token = _free_port(), secrets.token_hex(16)
    settings = home / "jupyter_server_config.json"
    settings.write_text(json.dumps({"IdentityProvider": {"token": token}}))
    settings.chmod(0o600)
    root = directory / "project"
    server = subprocess.Popen(
        [
            binaries / "jupyter", "server", "--no-browser", "--allow-root", f"--port={port}",
            "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", f"--config={settings}",
        ],
        env={
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(home),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/scheduler"
    client = httpx.Client(headers={"Authorization": f"token {token}"}, timeout=60)

    def post() -> Callable[[], bool]:
        answer = client.post(
            f"{url}/jobs",
            json={
                "name": "bench",
                "input_uri": "notebook.ipynb",
                "runtime_environment_name": "v",
                "output_formats": ["ipynb"],
            },
        )
        answer.raise_for_status()
        job = answer.json()["job_id"]
        return lambda: client.get(f"{url}/jobs/{job}").json()["status"] in {"COMPLETED", "FAILED"}

    try:
        _until(lambda: _answers(f"{url}/jobs", {"Authorization": f"token {token}"}), 60)
        yield post
    finally:
        server.terminate()
        server.wait(60)


@contextmanager
def _element(directory: Path, notebook: Path) -> Iterator[Callable[[], Callable[[], bool]]]:
    settings = free_ports() | {"ELEMENT_AIRFLOW": "false"}
    with running_platform(directory / "element", **settings) as platform:
        snapshot_id = snapshot(platform, notebook.parent)
        client = platform.service()

        def post() -> Callable[[], bool]:
            answer = client.post(
                "/runs", json={"notebook": notebook.name, "snapshot_id": snapshot_id}
            )
            answer.raise_for_status()
            run = answer.json()["run_id"]
            return lambda: client.get(f"/runs/{run}").json()["state"] in ENDED

        yield post
