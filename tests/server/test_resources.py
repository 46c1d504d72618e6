"""What a real Jupyter server tells of itself and of real kernels."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fake_nvml import FakeNvml, fake_nvml
from tests.server.kernels import Notebook, new_notebook, until
from tests.server.running import Lab, running_lab

GIB = 1024**3
IDLE_GPU = f"device 0 0 {80 * GIB} NVIDIA H100"
ROUTES = ["events", "history", "deaths", "kernels/x"]


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    nvml = fake_nvml(tmp_path_factory.mktemp("nvml"))
    nvml.say(IDLE_GPU)
    return nvml


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, nvml: FakeNvml) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    variables = {**nvml.variables, "MEM_LIMIT": str(1 * GIB), "CPU_LIMIT": "1.5"}
    with running_lab(home, variables=variables) as lab:
        yield lab


@pytest.fixture(scope="module")
def notebook(lab: Lab) -> Iterator[Notebook]:
    notebook = new_notebook(lab, "project/numbers.ipynb")
    notebook.open()
    notebook.run("import os; pid = os.getpid()")
    yield notebook
    notebook.close()


class Stream:
    """The events of a stream, as they come."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self, name: str, where: Any = lambda data: True) -> dict[str, Any]:
        event = ""
        async for line in self._lines:
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == name:
                data = json.loads(line.removeprefix("data: "))
                if where(data):
                    return data
        raise AssertionError("The stream has ended.")


@contextlib.asynccontextmanager
async def following(lab: Lab) -> AsyncIterator[Stream]:
    async with (
        lab.client() as client,
        client.stream("GET", "element/api/v1/resources/events") as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer.aiter_lines())


def kernel_in(sample: dict[str, Any], notebook: Notebook) -> dict[str, Any]:
    return next((each for each in sample["kernels"] if each["kernel_id"] == notebook.kernel_id), {})


def has(notebook: Notebook) -> Any:
    return lambda sample: kernel_in(sample, notebook)


async def test_a_page_is_told_what_each_kernel_uses(lab: Lab, notebook: Notebook):
    async with following(lab) as stream:
        await stream.next("history")
        kernel = kernel_in(await stream.next("sample", has(notebook)), notebook)
    pid = int(notebook.run("print(pid)").text)

    assert kernel["notebook"] == "project/numbers.ipynb"
    assert kernel["kernel_name"] == "python3"
    assert kernel["execution_state"] in {"idle", "busy", "starting"}
    assert kernel["memory_bytes"] == pytest.approx(psutil.Process(pid).memory_info().rss, rel=0.1)
    assert kernel["threads"] == pytest.approx(psutil.Process(pid).num_threads(), abs=2)
    assert kernel["processes"] == 1


async def test_subprocesses_count_though_they_detach_themselves(lab: Lab, notebook: Notebook):
    hold = "x = bytearray(b'1' * 60_000_000); import time; time.sleep(600)"
    started = notebook.run(
        "import subprocess, sys\n"
        f"hold = {hold!r}\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', hold], start_new_session=True)\n"
        "orphan = subprocess.run(['sh', '-c', f'{sys.executable} -S -c \"{hold}\" >/dev/null & echo $!'],"
        " stdout=-1, text=True).stdout\n"
        "print(child.pid, orphan)"
    ).text
    pids = [int(pid) for pid in started.split()]
    try:
        until(lambda: all(psutil.Process(pid).memory_info().rss > 60_000_000 for pid in pids))
        async with following(lab) as stream:
            sample = await stream.next(
                "sample", lambda each: kernel_in(each, notebook).get("processes", 0) >= 3
            )

        assert kernel_in(sample, notebook)["memory_bytes"] > 120_000_000
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


async def test_cores_are_told_while_a_cell_computes(lab: Lab, notebook: Notebook):
    file = Path(lab.root.parent) / "stop"
    notebook.run(
        "import threading, pathlib\n"
        "def spin():\n"
        f"    while not pathlib.Path({str(file)!r}).exists():\n"
        "        sum(range(200_000))\n"
        "threading.Thread(target=spin).start()"
    )
    try:
        async with following(lab) as stream:
            sample = await stream.next(
                "sample", lambda each: kernel_in(each, notebook).get("cpu_cores", 0) > 0.3
            )
    finally:
        file.touch()

    assert kernel_in(sample, notebook)["cpu_cores"] <= 1.2
    assert sample["server"]["cpu_cores"] >= kernel_in(sample, notebook)["cpu_cores"] - 0.01


async def test_limits_of_the_hub_are_told_with_their_source(lab: Lab, notebook: Notebook):
    async with following(lab) as stream:
        sample = await stream.next("sample", has(notebook))
    server = sample["server"]

    assert (server["memory_limit_bytes"], server["memory_limit_source"]) == (GIB, "set by your hub")
    assert (server["cpu_limit_cores"], server["cpu_limit_source"]) == (1.5, "set by your hub")
    assert server["memory_bytes"] > kernel_in(sample, notebook)["memory_bytes"]
    told = os.statvfs(lab.root)
    (disk,) = sample["disks"]
    assert disk["name"] == "home"
    assert disk["size_bytes"] == pytest.approx(
        (told.f_blocks - told.f_bfree + told.f_bavail) * told.f_frsize, rel=0.05
    )


async def test_gpus_are_told_and_their_memory_is_that_of_the_kernel_that_uses_it(
    lab: Lab, notebook: Notebook, nvml: FakeNvml
):
    pid = int(notebook.run("print(pid)").text)
    nvml.say(f"device 71 {3 * GIB} {80 * GIB} NVIDIA H100", f"process {pid} {2 * GIB} 50 compute")
    try:
        async with following(lab) as stream:
            sample = await stream.next("sample", lambda each: each["gpus"][0]["utilization"])
    finally:
        nvml.say(IDLE_GPU)

    assert sample["gpus"] == [
        {
            "index": 0,
            "name": "NVIDIA H100",
            "utilization": 0.71,
            "memory_bytes": 3 * GIB,
            "memory_size_bytes": 80 * GIB,
        }
    ]
    assert kernel_in(sample, notebook)["gpu_memory_bytes"] == 2 * GIB
