"""What a real Jupyter server tells of itself and of real kernels."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
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


async def test_since_when_a_kernel_has_had_nothing_to_do_is_told(lab: Lab, notebook: Notebook):
    async with following(lab) as stream:

        async def told(where: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
            sample = await stream.next("sample", lambda each: where(kernel_in(each, notebook)))
            return kernel_in(sample, notebook)

        first = await told(lambda kernel: kernel.get("idle_seconds"))
        later = await told(lambda kernel: kernel["idle_seconds"] > first["idle_seconds"] + 1)
        working = asyncio.ensure_future(
            asyncio.to_thread(notebook.run, "import time; time.sleep(2.5)")
        )
        busy = await told(lambda kernel: kernel["execution_state"] == "busy")
        await working
        again = await told(lambda kernel: kernel["idle_seconds"] is not None)

    assert later["execution_state"] == "idle"
    assert busy["idle_seconds"] is None
    assert again["idle_seconds"] < later["idle_seconds"]


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
                "sample", lambda each: kernel_in(each, notebook).get("cpu_cores", 0) > 0.05
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


async def test_a_driver_that_hangs_is_said_to_and_keeps_nothing_else_from_being_told(
    lab: Lab, notebook: Notebook, nvml: FakeNvml
):
    def threads() -> int:
        (file,) = lab.root.parent.glob("runtime/jpserver-*.json")
        return psutil.Process(int(file.stem.removeprefix("jpserver-"))).num_threads()

    async with following(lab) as stream:
        await stream.next("sample", lambda each: each["gpus"])
        before = threads()
        nvml.say(IDLE_GPU, "hang nvmlDeviceGetMemoryInfo")
        try:
            silent = await stream.next("sample", lambda each: each["gpu_trouble"])
            began, later = time.monotonic(), []
            for _ in range(4):
                later.append(await stream.next("sample"))
            took_seconds = time.monotonic() - began
            grown = threads() - before
        finally:
            nvml.say(IDLE_GPU)
        again = await stream.next("sample", lambda each: each["gpus"])

    assert silent["gpu_trouble"] == "The GPU driver does not answer."
    assert took_seconds < 4 + 10, "nobody waits for it any more"
    assert all(kernel_in(each, notebook)["memory_bytes"] > 0 for each in later)
    assert {each["gpus"] == [] for each in [silent, *later]} == {True}
    assert grown < 3, "one thread waits, however often it is asked"
    assert again["gpu_trouble"] is None


@pytest.mark.parametrize("route", ROUTES)
async def test_only_who_is_signed_in_is_told(lab: Lab, route: str):
    async with lab.client(Authorization="") as client:
        answer = await client.get(f"element/api/v1/resources/{route}")

    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


async def test_a_page_that_looks_on_keeps_no_server_from_being_culled(lab: Lab, notebook: Notebook):
    async with lab.client() as client:

        async def last_activity() -> str:
            quiet = {"no_track_activity": "1"}
            return (await client.get("api/status", params=quiet)).json()["last_activity"]

        before = await last_activity()
        async with following(lab) as stream:
            await stream.next("sample")
        for route, status in {"history": 200, "deaths": 200, "kernels/none": 404}.items():
            answer = await client.get(f"element/api/v1/resources/{route}")
            assert answer.status_code == status

        assert await last_activity() == before


async def test_what_was_used_is_told_of_the_last_hour_and_day(lab: Lab, notebook: Notebook):
    async with following(lab) as stream:
        sample = await stream.next("sample", has(notebook))
        again = await stream.next("sample")
    async with lab.client() as client:
        told = {
            hours: (
                await client.get("element/api/v1/resources/history", params={"hours": hours})
            ).json()
            for hours in (1, 24)
        }
        alone = await client.get("element/api/v1/resources/history", params={"kernel_id": "none"})
        refused = await client.get("element/api/v1/resources/history", params={"hours": "2"})
    async with following(lab) as stream:
        recent = await stream.next("history")

    for history in (*told.values(), recent):
        most = max(point["memory_bytes"] for point in history["server"])
        assert most >= again["server"]["memory_bytes"]
        assert history["kernels"][notebook.kernel_id][-1]["memory_bytes"] > 0
    memory = [point["memory_bytes"] for point in told[1]["kernels"][notebook.kernel_id]]
    assert kernel_in(sample, notebook)["memory_bytes"] in memory
    assert alone.json()["kernels"] == {}
    assert (refused.status_code, refused.json()["field"]) == (400, "hours")


async def test_the_processes_of_a_kernel_are_told_one_by_one(lab: Lab):
    notebook = new_notebook(lab, "forking/n.ipynb")
    notebook.open()
    notebook.run(
        "import os\n"
        "held = bytearray(b'1' * 50_000_000)\n"
        "children = []\n"
        "for _ in range(2):\n"
        "    children.append(os.fork())\n"
        "    if not children[-1]:\n"
        "        import time; time.sleep(600); os._exit(0)\n"
    )
    try:
        async with following(lab) as stream:
            await stream.next(
                "sample", lambda each: kernel_in(each, notebook).get("processes") == 3
            )
        async with lab.client() as client:
            address = f"element/api/v1/resources/kernels/{notebook.kernel_id}"
            told = (await client.get(address)).json()
            again = (await client.get(address)).json()
    finally:
        notebook.close()

    assert len(told["processes"]) == 3
    sizes = [each["memory_bytes"] for each in told["processes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert told["memory_bytes"] == sum(sizes)
    assert told["memory_bytes"] > 150_000_000 > told["pss_bytes"] > 50_000_000
    assert told["pss_reason"] is None
    assert again["at"] == told["at"], "it is not measured more often than every 30 seconds"


async def test_of_a_kernel_that_is_not_there_nothing_is_told(lab: Lab):
    async with lab.client() as client:
        answer = await client.get("element/api/v1/resources/kernels/none")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_prometheus_is_told_what_pages_are_told(lab: Lab, notebook: Notebook):
    async with following(lab) as stream:
        sample = await stream.next("sample", has(notebook))
        async with lab.client() as client:
            text = (await client.get("metrics")).text
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("element_"))

    assert float(told["element_server_memory_limit_bytes"]) == GIB
    assert float(told["element_kernels"]) == len(sample["kernels"])
    assert float(told["element_kernel_memory_bytes"]) == pytest.approx(
        sum(each["memory_bytes"] for each in sample["kernels"]), rel=0.2
    )
    assert float(told["element_kernel_memory_max_bytes"]) > 0
    assert float(told["element_sample_listeners"]) == 1
    assert float(told['element_gpu_memory_size_bytes{gpu="0"}']) == 80 * GIB
    assert float(told['element_disk_size_bytes{disk="home"}']) > 0
    assert notebook.kernel_id not in text
    assert len(told) < 50


async def test_a_kernel_in_another_language_is_told_too(lab: Lab):
    specs = Path(lab.root.parent) / ".local" / "share" / "jupyter" / "kernels"
    subprocess.run(
        [sys.executable, "-m", "bash_kernel.install", "--prefix", specs.parents[2]], check=True
    )
    notebook = new_notebook(lab, "shell.ipynb")
    notebook.open("bash")
    try:
        async with following(lab) as stream:
            sample = await stream.next(
                "sample", lambda each: kernel_in(each, notebook).get("processes", 0) >= 2
            )
        assert kernel_in(sample, notebook)["kernel_name"] == "bash"
        assert kernel_in(sample, notebook)["notebook"] == "shell.ipynb"
    finally:
        notebook.close()
