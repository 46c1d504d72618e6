"""A whole platform for tests: `element up` on a temporary data directory, once per session.

Loaded as a plugin by the `conftest.py` of the folders that need it. Tests that ask for it are slow
to begin with, so they carry the mark `airflow`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from element_jupyter.platform.ports import free_port

ROOT = Path(__file__).parents[1]
MARK = "ELEMENT_TEST_PLATFORM"


class RunningPlatform:
    """An `element up` of its own, seen from outside."""

    def __init__(self, data_dir: Path, up: subprocess.Popen[bytes], output: Path) -> None:
        self.data_dir = data_dir
        self.up = up
        self.output = output

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data_dir / "state.json").read_text())
        return state

    @property
    def service_url(self) -> str:
        return str(self.state["service_url"])

    @property
    def airflow_url(self) -> str:
        return str(self.state["airflow_url"])

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    def service(self) -> httpx.Client:
        """A client of the control plane's REST, signed in."""
        return httpx.Client(
            base_url=f"{self.service_url}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
            trust_env=False,
        )

    @contextmanager
    def airflow(self) -> Iterator[httpx.Client]:
        """A client of Airflow's REST, signed in."""
        passwords = json.loads((self.data_dir / "secrets" / "airflow-passwords.json").read_text())
        username, password = next(iter(passwords.items()))
        with httpx.Client(base_url=self.airflow_url, timeout=30, trust_env=False) as client:
            answer = client.post("/auth/token", json={"username": username, "password": password})
            answer.raise_for_status()
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def wait_until_ready(self, seconds: float = 240) -> None:
        def ready() -> bool:
            if self.up.poll() is not None:
                pytest.fail(f"element up ended with {self.up.returncode}:\n{self.log()}")
            try:
                return bool(self.state["ready"]) and self.state["pid"] == self.up.pid
            except (FileNotFoundError, ValueError):
                return False

        wait_until(ready, seconds, self.log)

    def log(self) -> str:
        return self.output.read_text()

    def processes(self) -> dict[int, str]:
        """Return every process that it started, however far down, with its command line."""
        found = {}
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(MARK) == str(self.data_dir)
                # PostgreSQL writes its title over the environment
                inside = Path(process.cwd()).is_relative_to(self.data_dir)
                if marked or inside:
                    found[process.pid] = " ".join(process.cmdline())
            except (psutil.Error, OSError):
                continue
        return found

    def stop(self, seconds: float = 60) -> int:
        self.up.send_signal(signal.SIGINT)
        return self.up.wait(seconds)


def wait_until(
    condition: Callable[[], object], seconds: float = 30, explain: Callable[[], str] = str
) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s\n{explain()}")
        time.sleep(0.05)


def start_platform(data_dir: Path, *arguments: str, **environment: str) -> RunningPlatform:
    """Start `element up`; the caller waits for it and stops it."""
    output = data_dir.with_name(f"{data_dir.name}.out")
    with output.open("ab") as file:
        up = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "element_jupyter.cli",
                "up",
                "--data",
                str(data_dir),
                *arguments,
            ],
            cwd=ROOT,
            env=os.environ | {MARK: str(data_dir)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return RunningPlatform(data_dir, up, output)


@contextmanager
def running_platform(
    data_dir: Path, *arguments: str, **environment: str
) -> Iterator[RunningPlatform]:
    """Run `element up` for a while; afterwards nothing of it is left."""
    platform = start_platform(data_dir, *arguments, **environment)
    try:
        platform.wait_until_ready()
        yield platform
    finally:
        if platform.up.poll() is None:
            platform.stop()


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """The platform that the tests of a session share."""
    directory = Path(tempfile.mkdtemp(prefix="element-platform-"))
    try:
        # ports of its own: other sessions may run on this machine
        with running_platform(directory / "data", **free_ports()) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_ports() -> dict[str, str]:
    """Environment that gives a platform ports that nothing else uses now."""
    first = second = free_port()
    while second == first:
        second = free_port()
    return {"ELEMENT_PORT": str(first), "ELEMENT_AIRFLOW_PORT": str(second)}
