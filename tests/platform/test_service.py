"""The control plane as a process: it starts, answers, ends in order, and comes back after a kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from element_jupyter.platform.ports import free_port

ROOT = Path(__file__).parents[2]


def _start(data: Path, port: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "element_jupyter.platform.service", "--data", str(data)],
        cwd=ROOT,
        env={**os.environ, "ELEMENT_PORT": str(port), "ELEMENT_AIRFLOW": "False", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(data: Path, port: int, database_url: str) -> Iterator[subprocess.Popen[str]]:
    process = _start(data, port, ELEMENT_DATABASE_URL=database_url)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            try:
                httpx.get(f"http://127.0.0.1:{port}/api/v1/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def port() -> int:
    return free_port()


def test_it_serves_with_the_token_of_its_data_directory_and_ends_on_sigterm(
    tmp_path, port, database_url
):
    with running(tmp_path, port, database_url) as process:
        token = (tmp_path / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        base = f"http://127.0.0.1:{port}"
        status = httpx.get(f"{base}/api/v1/status", headers=headers).json()
        assert status["jobs"] == 0
        waiting = socket.create_connection(("127.0.0.1", port))
        # the health is answered at once: what was sent with it has been read, too
        waiting.sendall(
            b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            b"GET /api/v1/job-changes?wait=50 HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
        httpx.get(f"{base}/api/v1/status", headers=headers).raise_for_status()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
        assert waiting.recv(100).startswith(b"HTTP/1.1 503")
        waiting.close()
        assert process.returncode == 0, said
        assert time.monotonic() - began < 6
        assert "Traceback" not in said
        assert token not in said
        assert oct(tmp_path.stat().st_mode & 0o777) == "0o700"


def test_a_kill_loses_nothing_and_the_next_one_takes_over(tmp_path, port, database_url):
    for number in (1, 2):
        with running(tmp_path, port, database_url) as process:
            token = (tmp_path / "token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            base = f"http://127.0.0.1:{port}/api/v1"
            jobs = httpx.get(f"{base}/jobs", headers=headers).json()["items"]
            assert len(jobs) == number - 1
            if number == 1:
                (tmp_path / "jobs/ada/sales").mkdir(parents=True)
                (tmp_path / "jobs/ada/sales/job.yaml").write_text(
                    "team: ada\nname: sales\nowner: ada\n"
                    f"snapshot_id: {'a' * 64}\ntasks:\n- notebook: sales.ipynb\n"
                )
                changes = httpx.get(f"{base}/job-changes?wait=20", headers=headers, timeout=30)
                assert changes.json()["items"][0]["stored"]["version"] == 1
            process.kill()
            process.wait()


def test_what_is_wrong_with_its_start_is_one_sentence_and_an_exit_code(tmp_path, port):
    for environment, code, words in (
        ({}, 2, "database_url is not set"),
        ({"ELEMENT_HOST": "0.0.0.0"}, 2, "loopback"),
        ({"ELEMENT_DATABASE_URL": "postgresql+psycopg://x@127.0.0.1:1/x"}, 3, "database"),
    ):
        process = _start(tmp_path, port, **environment)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, words in said) == (code, True), said
        assert "Traceback" not in said


def test_a_port_that_is_taken_is_told(tmp_path, database_url):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = _start(tmp_path, taken.getsockname()[1], ELEMENT_DATABASE_URL=database_url)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "cannot be listened on" in said
