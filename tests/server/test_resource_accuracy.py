"""What is told of kernels against what the system tells of their processes, meanwhile."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from element_jupyter.adapters.limits import Version1
from element_jupyter.adapters.limits.version1 import CONTROLLERS
from element_jupyter.core.confinement import Allowance
from element_jupyter.core.errors import Unavailable
from element_jupyter.platform.control_groups import control_groups
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


def _samples(lab: Lab, seconds: float) -> Iterator[tuple[float, dict[str, Any]]]:
    """What is told, as it is told, with the moment."""
    until = 0.0
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
            at = time.monotonic()
            until = until or at + seconds
            yield at, json.loads(line[6:])
            if at >= until:
                break


def _follow(
    lab: Lab, kernels: dict[str, tuple[str, psutil.Process]], seconds: float
) -> dict[str, Told]:
    told = {name: Told() for name in kernels}
    at: list[float] = []
    for moment, whole in _samples(lab, seconds):
        sample = {each["kernel_id"]: each for each in whole["kernels"]}
        at.append(moment)
        for name, (kernel_id, process) in kernels.items():
            cpu_seconds, memory = _look(process)
            told[name].cores.append(sample[kernel_id]["cpu_cores"])
            told[name].memory.append(sample[kernel_id]["memory_bytes"])
            told[name].cpu_seconds.append(cpu_seconds)
            told[name].reference.append(memory)
    for each in told.values():
        each.cpu_seconds = [(each.cpu_seconds[-1] - each.cpu_seconds[0]) / (at[-1] - at[0])]
        # the first says what was before
        each.cores = each.cores[1:]
    return told


HOW_LONG = pytest.mark.parametrize(
    ("seconds", "within"),
    [(8.0, WITHIN_SHORTLY), pytest.param(60.0, WITHIN, marks=pytest.mark.slow)],
)


@HOW_LONG
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


# ------------------------------------------------------------------------- inside a container

LIMIT = Allowance(memory_bytes=1500 << 20, cpu=0.8)
CONFINED_WORK = """
held = bytearray(b"1" * 600_000_000)
def work():
    more = []
    while True:
        hashlib.sha256(bytes(5_000_000)).digest()
        more.append(bytearray(b"1" * 4_000_000))
        if len(more) > 20:
            more.clear()
"""


@dataclass(frozen=True)
class Group:
    """A control group: what it counts, read as it stands there."""

    memory: Path
    cpu_time: Path

    @classmethod
    def inside(cls, room: dict[str, Path], name: str) -> Group:
        found = cls(room["memory"] / name, room["cpuacct"] / name)
        for directory in {*found.entrances}:
            directory.parent.mkdir(exist_ok=True)
        return found

    @property
    def entrances(self) -> tuple[Path, Path]:
        return self.memory / "cgroup.procs", self.cpu_time / "cgroup.procs"

    @property
    def cpu_seconds(self) -> float:
        return int((self.cpu_time / "cpuacct.usage").read_text()) / 1e9

    def bytes_of(self, name: str) -> int:
        table = (self.memory / "memory.stat").read_text().split()
        return int(table[table.index(name) + 1])

    @property
    def used_bytes(self) -> int:
        """All but the files that can be dropped at once."""
        used = int((self.memory / "memory.usage_in_bytes").read_text())
        return used - self.bytes_of("total_inactive_file")


@dataclass(frozen=True)
class Container:
    """A server in a group with limits; in that, a group for itself and one for its kernel."""

    lab: Lab
    whole: Group
    of_kernel: Group
    notebook: Notebook
    kernel: psutil.Process


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    try:
        if os.geteuid() != 0:
            pytest.skip("Only root makes control groups.")
        limiter = Version1(control_groups(), f"element-test-{secrets.token_hex(4)}")
    except Unavailable as error:
        pytest.skip(f"No control group of version 1 can be made here: {error.message}")
    room = limiter.confine("lab", LIMIT)
    try:
        tops = dict(zip(CONTROLLERS, (Path(each).parent for each in room.entrances), strict=True))
        whole = Group(tops["memory"], tops["cpuacct"])
        of_server, of_kernel = (Group.inside(tops, name) for name in ("server", "kernel"))
        home = tmp_path_factory.mktemp("container")
        enter = [*of_server.entrances, tops["cpu"] / "cgroup.procs", tops["pids"] / "cgroup.procs"]
        python = home / "python-inside"
        python.write_text(
            "#!/bin/sh\n"
            + "".join(f"echo $$ > {file}\n" for file in enter)
            + f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        _kernelspec(home, of_kernel)
        with running_lab(home, python=str(python)) as lab:
            notebook = new_notebook(lab, "n.ipynb")
            notebook.open("inside")
            code = f"import hashlib, os, threading\n{CONFINED_WORK}\nprint(os.getpid())"
            pid = int(notebook.run(code).text)
            notebook.run("for _ in range(2): threading.Thread(target=work, daemon=True).start()")
            yield Container(lab, whole, of_kernel, notebook, psutil.Process(pid))
            notebook.close()
    finally:
        room.end()


def _kernelspec(home: Path, group: Group) -> None:
    """A kernel that is in a group of its own from its first moment on."""
    directory = home / ".local/share/jupyter/kernels/inside"
    directory.mkdir(parents=True)
    enter = "".join(f"echo $$ > {file}; " for file in group.entrances)
    command = f'{enter}exec {sys.executable} -m ipykernel_launcher -f "$0"'
    (directory / "kernel.json").write_text(
        json.dumps(
            {
                "argv": ["sh", "-c", command, "{connection_file}"],
                "display_name": "Inside",
                "language": "python",
            }
        )
    )


@HOW_LONG
def test_in_a_container_they_are_what_its_control_group_says(
    container: Container, seconds: float, within: float
):
    told, server = Told(), Told()
    at: list[float] = []
    for moment, sample in _samples(container.lab, seconds):
        at.append(moment)
        (kernel,) = sample["kernels"]
        told.cores.append(kernel["cpu_cores"])
        told.memory.append(kernel["memory_bytes"])
        told.cpu_seconds.append(container.of_kernel.cpu_seconds)
        # pages of files are counted to the group that has read them first
        files = container.kernel.memory_info().shared
        told.reference.append(container.of_kernel.bytes_of("rss") + files)
        server.cores.append(sample["server"]["cpu_cores"])
        server.memory.append(sample["server"]["memory_bytes"])
        server.cpu_seconds.append(container.whole.cpu_seconds)
        server.reference.append(container.whole.used_bytes)

    assert sample["server"]["memory_limit_bytes"] == LIMIT.memory_bytes
    assert sample["server"]["cpu_limit_cores"] == LIMIT.cpu
    assert sample["server"]["memory_limit_source"] == "limit of the container"
    for name, each in {"kernel": told, "server": server}.items():
        reference = (each.cpu_seconds[-1] - each.cpu_seconds[0]) / (at[-1] - at[0])
        cores = _mean(each.cores[1:])
        memory, counted = _mean(each.memory), _mean(each.reference)
        print(f"{name} {cores:.3f} {reference:.3f} cores {memory / 1e6:.1f} {counted / 1e6:.1f} MB")
        assert cores == pytest.approx(reference, rel=within, abs=LEAST_CORES), name
        assert memory == pytest.approx(counted, rel=within), name
    assert 2 * LEAST_CORES < _mean(told.cores[1:]) < 1.1 * LIMIT.cpu
    assert _mean(told.memory) > 600_000_000


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
