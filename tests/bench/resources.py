"""What it costs to tell what a server and its kernels use: 30 kernels, 10 pages that look.

The peer is jupyter-resource-usage 1.3, asked as its default asks: every page twice in five seconds. A
third server, beside ours, has neither. What is measured is the processor time of the server's process, less
that of the third; the longest time that a callback has kept its event loop; and how it answers
`GET /api/status` meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.environments import local_disk
from tests.bench.peers import environment
from tests.server.running import Lab, running_lab

KERNELS = 30
PAGES = 10
POLL_SECONDS = 5.0
MEASURED_SECONDS = 30.0
STATUS_SECONDS = 30.0
PAUSE_SECONDS = 0.01
LESS_CPU_BAR = 30.0
STALL_BAR_MS = 5.0
STATUS_BAR = 1.2

PROBE = """
import asyncio, time
from jupyter_server.base.handlers import APIHandler
from tornado import web

longest = 0.0
run = asyncio.Handle._run

def timed(self):
    global longest
    began = time.perf_counter()
    run(self)
    longest = max(longest, time.perf_counter() - began)

class Handler(APIHandler):
    @web.authenticated
    def get(self):
        global longest
        asyncio.Handle._run = timed
        self.finish({"longest": longest})
        asyncio.get_running_loop().call_soon(forget)

def forget():
    global longest
    longest = 0.0

def _load_jupyter_server_extension(server):
    server.web_app.add_handlers(".*", [(server.base_url + "probe", Handler)])
"""
"""An extension that tells the longest callback since it was asked before; the first time, none."""

Figures = dict[str, float]
Looking = Callable[[Lab], AbstractAsyncContextManager[None]]


def measure() -> list[dict[str, Any]]:
    """Measure the three servers."""
    python = (
        environment(
            "jupyter-resource-usage",
            "jupyter-resource-usage==1.3.0",
            f"jupyter-server=={importlib.metadata.version('jupyter-server')}",
            f"tornado=={importlib.metadata.version('tornado')}",
            f"ipykernel=={importlib.metadata.version('ipykernel')}",
        )
        / "python"
    )
    with _server(()) as plain, _server(("element_jupyter",)) as lab:
        beside, ours = asyncio.run(_figures([plain, lab], _listening))
        print(f"load {os.getloadavg()[0]:.1f}", {"neither": beside, "ours": ours}, flush=True)
    with _server(("jupyter_resource_usage",), str(python)) as lab:
        (peer,) = asyncio.run(_figures([lab], _polling))
        print(f"load {os.getloadavg()[0]:.1f}", {"peer": peer}, flush=True)
    return [
        {
            "name": "resources_cpu",
            "ours": (ours["cpu"] - beside["cpu"]) * 100,
            "peer": (peer["cpu"] - beside["cpu"]) * 100,
            "unit": "% of a core",
            "ratio": (peer["cpu"] - beside["cpu"]) / max(ours["cpu"] - beside["cpu"], 1e-4),
            "bar": f"≥ {LESS_CPU_BAR:.0f} × less",
            "holds": peer["cpu"] - beside["cpu"] >= LESS_CPU_BAR * (ours["cpu"] - beside["cpu"]),
        },
        {
            "name": "resources_stall",
            "ours": ours["stall_ms"],
            "peer": peer["stall_ms"],
            "unit": "ms",
            "ratio": peer["stall_ms"] / ours["stall_ms"],
            "bar": f"≤ {STALL_BAR_MS:.0f} ms",
            "holds": ours["stall_ms"] <= STALL_BAR_MS,
        },
        {
            "name": "resources_status",
            "ours": ours["status_ms"],
            "peer": beside["status_ms"],
            "unit": "ms",
            "ratio": ours["status_ms"] / beside["status_ms"],
            "bar": f"≤ {STATUS_BAR} ×",
            "holds": ours["status_ms"] <= STATUS_BAR * beside["status_ms"],
        },
    ]


@contextlib.contextmanager
def _server(extensions: tuple[str, ...], python: str = sys.executable) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="element-bench-", dir=local_disk()) as directory:
        home = Path(directory)
        (home / "stall_probe.py").write_text(PROBE)
        # the kernels are Jupyter's own in each: what counts is who looks at them
        variables = {"ELEMENT_ENVIRONMENTS": "False"}
        loaded = (*extensions, "stall_probe")
        with running_lab(home, python=python, extensions=loaded, variables=variables) as lab:
            yield lab


async def _figures(labs: list[Lab], looking: Looking) -> list[Figures]:
    """Measure servers beside each other, while the last of them is looked at."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(lab.client()) for lab in labs]
        processes = [_server_of(lab) for lab in labs]
        for client, process in zip(clients, processes, strict=True):
            for _ in range(KERNELS):
                (await client.post("api/kernels", json={})).raise_for_status()
            await _quiet(process)
        async with looking(labs[-1]):
            await asyncio.sleep(POLL_SECONDS)
            for client in clients:
                await client.get("probe")
            before, began = [_cpu_seconds(each) for each in processes], time.perf_counter()
            await asyncio.sleep(MEASURED_SECONDS)
            used, took = [_cpu_seconds(each) for each in processes], time.perf_counter() - began
            stalls = [(await client.get("probe")).json()["longest"] for client in clients]
            times = await _times(clients)
        for client in clients:
            # a server that is stopped with so many may take longer than a test would wait
            kernels = (await client.get("api/kernels")).json()
            await asyncio.gather(*(client.delete(f"api/kernels/{each['id']}") for each in kernels))
    return [
        {"cpu": (after - first) / took, "stall_ms": stall * 1000, "status_ms": _p99(those)}
        for first, after, stall, those in zip(before, used, stalls, times, strict=True)
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _server_of(lab: Lab) -> psutil.Process:
    (file,) = (lab.root.parent / "runtime").glob("jpserver-*.json")
    return psutil.Process(int(file.stem.removeprefix("jpserver-")))


async def _quiet(process: psutil.Process) -> None:
    """Wait until the kernels have started."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        children = process.children()
        before = _seconds_of(children)
        await asyncio.sleep(3)
        if _seconds_of(children) - before < 0.5:
            return


@contextlib.asynccontextmanager
async def _nobody(lab: Lab) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def _listening(lab: Lab) -> AsyncIterator[None]:
    async def listen() -> None:
        async with (
            lab.client() as client,
            client.stream("GET", "element/api/v1/resources/events") as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("event: sample"):
                    heard.append(line)

    heard: list[str] = []
    async with _tasks([listen() for _ in range(PAGES)]):
        began = time.monotonic()
        yield
        rate = len(heard) / PAGES / (time.monotonic() - began)
        assert rate > 0.8, f"each page heard {rate:.2f} samples a second"


@contextlib.asynccontextmanager
async def _polling(lab: Lab) -> AsyncIterator[None]:
    async def poll(place: int) -> None:
        async with lab.client() as client:
            await asyncio.sleep(POLL_SECONDS * place / (2 * PAGES))
            while True:
                due = asyncio.get_running_loop().time() + POLL_SECONDS
                (await client.get("api/metrics/v1")).raise_for_status()
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async with _tasks([poll(place) for place in range(2 * PAGES)]):
        yield


@contextlib.asynccontextmanager
async def _tasks(coroutines: list[Any]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _times(clients: list[httpx.AsyncClient]) -> list[list[float]]:
    """Ask them by turns, so that whatever else goes on meets all of them."""
    times: list[list[float]] = [[] for _ in clients]
    until = time.perf_counter() + STATUS_SECONDS
    while time.perf_counter() < until:
        for client, those in zip(clients, times, strict=True):
            started = time.perf_counter()
            (await client.get("api/status")).raise_for_status()
            those.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def _seconds_of(processes: list[psutil.Process]) -> float:
    """The processor time of those that are still there."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total
