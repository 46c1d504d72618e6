"""What is told of kernels against what the system tells of their processes, meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from tests.server.kernels import Notebook, new_notebook
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab

WITHIN = 0.05
WITHIN_SHORTLY = 0.2
"""In a few seconds it counts that the two are read one after the other on a busy machine."""
LEAST_CORES = 0.02
"""A hundredth of a second is the least that counters tell; an idle kernel uses less than this."""

WORK = {
    "idle": "",
    "allocating": """
def work():
    held = []
    while True:
        held.append(bytearray(b"1" * 10_000_000))
        if len(held) > 40:
            held.clear()
        time.sleep(0.05)
""",
    "forking": """
def work():
    for _ in range(20):
        if os.fork() == 0:
            mine = bytearray(b"1" * 5_000_000)
            while True:
                sum(range(20_000))
                time.sleep(0.02)
""",
    "threads": """
def work():
    def spin():
        while True:
            hashlib.sha256(bytes(2_000_000)).digest()
            time.sleep(0.05)
    for _ in range(8):
        threading.Thread(target=spin, daemon=True).start()
""",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def kernels(lab: Lab) -> Iterator[dict[str, tuple[str, psutil.Process]]]:
    """Kernels at work: their ids and processes."""
    opened: list[Notebook] = []
    found = {}
    for name, work in WORK.items():
        notebook = new_notebook(lab, f"{name}/n.ipynb")
        notebook.open()
        opened.append(notebook)
        code = f"import hashlib, os, threading, time\n{work}\nprint(os.getpid())"
        pid = int(notebook.run(code).text)
        if work:
            notebook.run("threading.Thread(target=work, daemon=True).start()")
        found[name] = (notebook.kernel_id, psutil.Process(pid))
    yield found
    for notebook in opened:
        notebook.close()


@dataclass
class Told:
    """Of one kernel: what was told, and what the system has told at the same moments."""

    cores: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)


def _look(process: psutil.Process) -> tuple[float, float]:
    tree = [process, *process.children(recursive=True)]
    times = [each.cpu_times() for each in tree]
    return sum(each.user + each.system for each in times), sum(
        each.memory_info().rss for each in tree
    )


def _follow(
    lab: Lab, kernels: dict[str, tuple[str, psutil.Process]], seconds: float
) -> dict[str, Told]:
    told = {name: Told() for name in kernels}
    at: list[float] = []
    with httpx.stream(
        "GET",
        f"{lab.url}element/api/v1/resources/events",
        headers={"Authorization": f"token {JUPYTER_TOKEN}"},
        trust_env=False,
        timeout=60,
    ) as answer:
        for line in answer.iter_lines():
            if not line.startswith('data: {"at"'):
                continue
            sample = {each["kernel_id"]: each for each in json.loads(line[6:])["kernels"]}
            at.append(time.monotonic())
            for name, (kernel_id, process) in kernels.items():
                cpu_seconds, memory = _look(process)
                told[name].cores.append(sample[kernel_id]["cpu_cores"])
                told[name].memory.append(sample[kernel_id]["memory_bytes"])
                told[name].cpu_seconds.append(cpu_seconds)
                told[name].reference.append(memory)
            if at[-1] - at[0] >= seconds:
                break
    for each in told.values():
        each.cpu_seconds = [(each.cpu_seconds[-1] - each.cpu_seconds[0]) / (at[-1] - at[0])]
        # the first says what was before
        each.cores = each.cores[1:]
    return told


@pytest.mark.parametrize(
    ("seconds", "within"),
    [(8.0, WITHIN_SHORTLY), pytest.param(60.0, WITHIN, marks=pytest.mark.slow)],
)
def test_memory_and_cores_are_what_the_system_says(
    lab: Lab, kernels: dict[str, tuple[str, psutil.Process]], seconds: float, within: float
):
    told = _follow(lab, kernels, seconds)

    for name, each in told.items():
        (reference,) = each.cpu_seconds
        cores = sum(each.cores) / len(each.cores)
        print(
            name, f"{cores:.3f} {reference:.3f} cores", [round(m / 1e6) for m in each.memory[-3:]]
        )
        assert cores == pytest.approx(reference, rel=within, abs=LEAST_CORES), name
        memory = sum(each.memory) / len(each.memory)
        assert memory == pytest.approx(sum(each.reference) / len(each.reference), rel=within), name
    assert sum(told["forking"].reference) / len(told["forking"].reference) > 20 * 30_000_000
