"""Kernels that end though nobody asked them to, in a server with a real limit of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.kernels import Notebook, new_notebook, until
from tests.server.running import Lab, running_lab

MIB = 1024**2
LIMIT_BYTES = 700 * MIB
MEMORY_V1 = Path("/sys/fs/cgroup/memory")
CAN_LIMIT = os.access(MEMORY_V1, os.W_OK) and (MEMORY_V1 / "tasks").exists()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server in a group of its own with a limit, where this machine lets one be made."""
    home = tmp_path_factory.mktemp("lab")
    if not CAN_LIMIT:
        with running_lab(home) as lab:
            yield lab
        return
    own = next(
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if "memory" in line.split(":")[1].split(",")
    )
    group = MEMORY_V1 / f"element-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            server = running_lab(home)
            lab = server.__enter__()
        finally:
            (MEMORY_V1 / own.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
        yield lab
        server.__exit__(None, None, None)
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.fixture(scope="module")
def notebook(lab: Lab) -> Iterator[Notebook]:
    notebook = new_notebook(lab, "n.ipynb")
    notebook.open()
    yield notebook
    notebook.close()


def death_after(notebook: Notebook, code: str) -> dict[str, Any]:
    """What is told once the kernel has run code that ends it."""

    def deaths() -> list[dict[str, Any]]:
        return notebook.ask("GET", "element/api/v1/resources/deaths").json()["items"]

    def is_measured() -> bool:
        history = notebook.ask("GET", "element/api/v1/resources/history").json()
        points = history["kernels"].get(notebook.kernel_id, [])
        return any(point["memory_bytes"] > 20 * MIB for point in points)

    before = len(deaths())
    notebook.run("1")
    until(is_measured)
    go = notebook.file.parent / f"go-{before}"
    # in a thread, as a cell that ends its kernel never answers
    notebook.run(
        "import pathlib, threading, time\n"
        "def end():\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n"
        "        time.sleep(0.05)\n"
        f"    exec({code!r})\n"
        "threading.Thread(target=end).start()"
    )
    go.touch()
    return until(lambda: deaths()[before:])[0]


@pytest.mark.skipif(not CAN_LIMIT, reason="groups of version 1 cannot be made here")
def test_a_kernel_that_was_killed_for_want_of_memory_says_so_with_the_limit(notebook: Notebook):
    death = death_after(notebook, "x = bytearray(b'1' * 2_000_000_000)")

    assert death["code"] == "out_of_memory"
    assert death["sentence"].startswith(
        "The kernel was killed: memory ran out (700 of 700 MiB, limit of the container)."
    )
    assert death["memory_limit_bytes"] == LIMIT_BYTES
    assert 20 * MIB < death["memory_bytes"] < LIMIT_BYTES
    assert (death["kernel_id"], death["notebook"]) == (notebook.kernel_id, "n.ipynb")


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed", "(SIGKILL), and not for want of memory"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "crashed (SIGSEGV)"),
        ("import os; os._exit(3)", "exited", "exit code 3"),
    ],
)
def test_a_kernel_that_has_ended_says_why(notebook: Notebook, code: str, reason: str, words: str):
    death = death_after(notebook, code)

    assert death["code"] == reason
    assert words in death["sentence"]


def test_a_kernel_that_a_person_restarts_or_shuts_down_has_not_died(lab: Lab):
    notebook = new_notebook(lab, "other/n.ipynb")
    notebook.open()
    notebook.run("1")
    notebook.restart()
    notebook.run("1")
    notebook.close()

    told = notebook.ask("GET", "element/api/v1/resources/deaths").json()["items"]
    assert notebook.kernel_id not in {each["kernel_id"] for each in told}
