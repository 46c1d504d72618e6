"""Asking the worker: one process per question, and what becomes of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from element_jupyter.adapters.rattler.failures import crashed, failed
from element_jupyter.core.environments.building import FailureCode, Phase, Rules, Tell

WORKER = "element_jupyter.adapters.rattler.worker"


class WorkerError(Exception):
    """The worker's own error, by the name of its class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def ask(request: dict[str, Any], rules: Rules, tell: Tell, scratch: Path) -> dict[str, Any]:
    """Have the worker do something, and return its result.

    Raises:
        WorkerError: it could not; not explained yet.
        EnvironmentFailed: it crashed, or took longer than the rules allow.
    """
    deadline = time.monotonic() + rules.timeout_seconds
    with tempfile.TemporaryFile() as errors:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_variables(rules, scratch),
        )
        to_worker, from_worker = _pipes(worker)
        try:
            # it stays open: its end is how the worker learns that this process has died
            to_worker.write(json.dumps(request).encode() + b"\n")
            to_worker.flush()
            for line in _lines(from_worker.fileno(), deadline):
                answer = json.loads(line)
                if "tell" in answer:
                    phase, done, total, message = answer["tell"]
                    tell(Phase(phase), done, total, message)
                elif "result" in answer:
                    result: dict[str, Any] = answer["result"]
                    return result
                else:
                    raise WorkerError(**answer["error"])
        except BrokenPipeError:
            pass  # it has ended before it read; told below
        except TimeoutError as error:
            raise failed(
                FailureCode.TIMEOUT,
                "It took too long",
                f"Conda's tool was not done after {rules.timeout_seconds:.0f} s.",
                "Try again: what has been downloaded is kept.",
                retryable=True,
            ) from error
        finally:
            status = _end(worker)
        errors.seek(0)
        raise crashed(status, errors.read().decode(errors="replace")[-4_000:])


def _variables(rules: Rules, scratch: Path) -> dict[str, str]:
    """Return the worker's environment: what tools are given, but for what would steer Python."""
    given = {k: v for k, v in rules.variables.items() if not k.startswith(("PYTHON", "VIRTUAL_"))}
    return {**given, "TMPDIR": str(scratch)}


def _lines(descriptor: int, deadline: float) -> Iterator[bytes]:
    """Yield whole lines until the end; raises TimeoutError at the deadline."""
    waiting = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            data = os.read(descriptor, 65_536)
            if not data:
                return
            *whole, waiting = (waiting + data).split(b"\n")
            yield from whole


def _end(worker: subprocess.Popen[bytes]) -> int:
    """End the worker, which has answered or is not wanted any more; return its status."""
    try:
        status = worker.wait(0.5)
    except subprocess.TimeoutExpired:
        worker.kill()
        status = worker.wait()
    for pipe in _pipes(worker):
        with contextlib.suppress(BrokenPipeError):  # what it did not read
            pipe.close()
    return status


def _pipes(worker: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if worker.stdin is None or worker.stdout is None:
        raise TypeError("a worker has pipes")
    return worker.stdin, worker.stdout
