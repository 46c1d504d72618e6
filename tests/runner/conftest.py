"""Runs of real notebooks in real kernels, forked from a process that has imported the runner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from element_jupyter.adapters.forkserver import Child, ForkServer, Spawn
from element_jupyter.core.runs import EVENT, Event, RunFinished

PROJECT = Path(__file__).resolve().parents[2]


def code(source: str, *tags: str) -> Any:
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


def notebook(*cells: Any, kernel: str = "python3", language: str = "python") -> Any:
    made = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    spec = {"name": kernel, "display_name": kernel, "language": language}
    return nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": spec})


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


@dataclass
class Run:
    """A run that has been started."""

    directory: Path
    child: Child | None = None
    """Its process, if the fork server has made it."""

    @property
    def project(self) -> Path:
        return self.directory / "project"

    @property
    def output(self) -> Path:
        return self.directory / "out"

    def events(self) -> list[Event]:
        path = self.output / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [EVENT.validate_json(line) for line in lines if line.endswith(b"\n")]

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events() if event.kind == kind]

    async def seen(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        return await asyncio.to_thread(until, condition, seconds)

    async def running_cell(self, index: int = 0) -> None:
        await self.seen(lambda: any(event.index == index for event in self.of("cell_started")))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.child
        self.child.signal(number)

    async def wait(self) -> int:
        assert self.child
        ended = await asyncio.wait_for(self.child.wait(), 60)
        return ended.code if ended.code is not None else -(ended.signal or 0)

    async def finished(self) -> RunFinished:
        self.code = await self.wait()
        last = self.events()[-1]
        assert isinstance(last, RunFinished)
        return last

    def notebook(self) -> Any:
        made = nbformat.read(self.output / "output.ipynb", as_version=nbformat.NO_CONVERT)
        nbformat.validate(made)
        return made

    def texts(self) -> list[str]:
        """What each code cell printed or displayed, as plain text."""
        return [
            "".join(map(_plain, cell.outputs))
            for cell in self.notebook().cells
            if "outputs" in cell
        ]


def _plain(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output.data.get("text/plain", ""))


def _install_bash_kernel(path: Path) -> None:
    home = path / "kernels" / "bash"
    home.mkdir(parents=True)
    argv = [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Bash", "language": "bash", "env": {"PS1": "$"}}
    (home / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture(autouse=True)
def kernels_that_are_installed(monkeypatch):
    """Leave notebooks without environments, which have tests of their own."""
    monkeypatch.setenv("ELEMENT_ENVIRONMENTS", "False")


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fork", numbered=True)
    directory.chmod(0o700)
    _install_bash_kernel(directory / "jupyter")
    socket = directory / "runner.sock"
    command = [sys.executable, "-m", "element_jupyter.platform.forkserver", "--socket", str(socket)]
    environment = {
        **os.environ,
        "ELEMENT_SECRET": "not for notebooks",
        "PYTHONPATH": str(PROJECT),
        "JUPYTER_PATH": str(directory / "jupyter"),
    }
    process = subprocess.Popen(
        [*command, "--preload", "element_jupyter.platform.runner"], cwd=PROJECT, env=environment
    )
    try:
        until(socket.exists, 60)
        yield ForkServer(socket)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def start(fork_server, tmp_path):
    """Start a run of a notebook (or its text) among `files`, with fields of its `RunSpec`."""
    started: list[Run] = []

    async def begin(document: Any, name: str = "notebook.ipynb", **fields: Any) -> Run:
        directory = tmp_path / f"run{len(started)}"
        path = directory / "project" / name
        for file, content in {name: "", **fields.pop("files", {})}.items():
            written = directory / "project" / file
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(content)
        text = document if isinstance(document, (str, bytes)) else nbformat.writes(document)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        spec = {
            "run_id": "r-1",
            "notebook": name,
            "project_directory": str(directory / "project"),
            "output_directory": str(directory / "out"),
            "stop_grace_seconds": 1.0,
            **fields,
        }
        (directory / "run.json").write_text(json.dumps(spec))
        child = await fork_server.spawn(
            Spawn(
                target="element_jupyter.platform.runner:run_file",
                arguments=[str(directory / "run.json")],
                log=str(directory / "runner.log"),
                new_session=True,
            )
        )
        run = Run(directory, child)
        started.append(run)
        return run

    yield begin
    for run in started:
        assert run.child
        with contextlib.suppress(ProcessLookupError):
            run.child.signal(signal.SIGKILL)
        run.child.forget()


@pytest.fixture
def run(start):
    """Run a notebook to its end."""

    async def to_the_end(document: Any, **fields: Any) -> tuple[Run, RunFinished]:
        begun = await start(document, **fields)
        return begun, await begun.finished()

    return to_the_end
