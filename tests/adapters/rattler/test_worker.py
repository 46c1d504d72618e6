"""The worker: what becomes of one that crashes, hangs, or loses its parent."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from element_jupyter.adapters.rattler.calling import WORKER
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode, Phase

SMALL = "channels: [CHANNEL]\ndependencies: [python, greeter=1]\n"


def workers(parent: int | None = None) -> list[psutil.Process]:
    """Return the workers that a process has started."""
    found = []
    for each in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += [each] if WORKER in each.cmdline() else []
    return found


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_a_worker_that_crashes_is_a_failure_that_can_be_tried_again(conda):
    lock = conda.lock(SMALL)

    def kill(phase: Phase, done=None, total=None, message="") -> None:
        for worker in workers():
            worker.kill()

    conda.told = kill
    with pytest.raises(EnvironmentFailed) as caught:
        conda.install(lock)
    failure = caught.value.failure
    assert (failure.code, failure.retryable) == (FailureCode.INTERNAL, True)
    assert "was ended by signal 9" in failure.summary


def test_twenty_workers_end_as_they_should(conda):
    lock = conda.lock(SMALL).content.decode()
    request = {
        "operation": "write",
        "lock": lock,
        "channels": [conda.channel.url],
        "wheels": [],
        "scratch": str(conda.root),
    }
    for _ in range(20):
        done = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(conda.root)},
            text=True,
        )
        # its standard input stays open until it has ended by itself
        print(json.dumps(request), file=done.stdin, flush=True)
        assert "result" in json.loads(done.stdout.readline())
        assert done.wait(10) == 0
        assert done.stderr.read() == ""
        for pipe in (done.stdin, done.stdout, done.stderr):
            pipe.close()


@pytest.fixture
def silent(fresh):
    """Return an engine whose channel never answers, until the test ends."""
    ended, asked = threading.Event(), threading.Event()

    def wait(request) -> None:
        asked.set()
        ended.wait(60)

    fresh.channel.answers[".zst"] = wait
    fresh.channel.answers[".json"] = wait
    fresh.asked = asked
    yield fresh
    ended.set()


def test_what_takes_too_long_is_ended_and_told(silent):
    with pytest.raises(EnvironmentFailed) as caught:
        silent.lock(SMALL, rules=silent.rules(timeout_seconds=1.0))
    assert caught.value.failure.code is FailureCode.TIMEOUT
    assert workers() == []


def test_a_worker_ends_with_its_parent(silent, tmp_path):
    program = f"""
import sys, pathlib
from element_jupyter.adapters.rattler.calling import ask
from element_jupyter.core.environments.building import Rules
request = dict(
    operation="solve", channels=[{silent.channel.url!r}], specs=["python"], preferred=[],
    locked="", pinned=False, exclude_newer=None, timeout_seconds=60, offline=False,
    cache={str(tmp_path / "cache")!r}, scratch={str(tmp_path)!r},
)
ask(request, Rules(variables={{"HOME": {str(tmp_path)!r}}}), print, pathlib.Path({str(tmp_path)!r}))
"""
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(silent.asked.is_set)
        (worker,) = workers(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
