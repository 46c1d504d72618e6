"""How a Jupyter server answers others while it builds an environment from nothing.

A notebook beside a definition of 44 packages is opened with an empty cache; `GET /api/status` is asked
again and again until the environment is there. The peer is the same server when nothing is built.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import nbformat
import psutil

from tests.bench.environments import PACKAGES, local_disk
from tests.server.running import running_lab

BAR_MS = 150.0
PAUSE_SECONDS = 0.01
IDLE_SECONDS = 5.0
BUILD_SECONDS = 300.0


def measure() -> list[dict[str, Any]]:
    """Measure the 99th percentile of the answers' times."""
    with tempfile.TemporaryDirectory(prefix="element-bench-", dir=local_disk()) as directory:
        with running_lab(Path(directory)) as lab:
            (lab.root / "requirements.txt").write_text("\n".join(PACKAGES))
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
            nbformat.write(notebook, lab.root / "n.ipynb")
            rows = asyncio.run(_measure(lab))
        # byte-code is compiled on, whoever has gone
        psutil.wait_procs(_working_in(directory))
    return rows


def _working_in(directory: str) -> list[psutil.Process]:
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if any(directory in argument for argument in each.info["cmdline"] or ())
    ]


async def _measure(lab: Any) -> list[dict[str, Any]]:
    async with lab.client() as client:
        idle = await _times(client, asyncio.create_task(asyncio.sleep(IDLE_SECONDS)))
        ours = await _times(client, asyncio.create_task(_build(lab)))
    return [
        {
            "name": "requests_during_build",
            "ours": _p99(ours),
            "peer": _p99(idle),
            "unit": "ms",
            "ratio": _p99(ours) / _p99(idle),
            "bar": f"≤ {BAR_MS:.0f} ms",
            "holds": _p99(ours) <= BAR_MS,
            "requests": len(ours),
            "longest": max(ours),
        }
    ]


async def _build(lab: Any) -> None:
    async with lab.client() as client:
        session = {
            "path": "n.ipynb",
            "name": "n.ipynb",
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        (await client.post("api/sessions", json=session)).raise_for_status()
        until = time.monotonic() + BUILD_SECONDS
        while time.monotonic() < until:
            answer = await client.get("element/api/v1/environments/of", params={"path": "n.ipynb"})
            answer.raise_for_status()
            match answer.json()["state"]:
                case "ready":
                    return
                case "failed":
                    raise AssertionError(answer.json()["failure"])
            await asyncio.sleep(0.2)
        raise AssertionError("the environment was not built in time")


async def _times(client: httpx.AsyncClient, work: asyncio.Task[None]) -> list[float]:
    times = []
    while not work.done():
        started = time.perf_counter()
        (await client.get("api/status")).raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    await work
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]
