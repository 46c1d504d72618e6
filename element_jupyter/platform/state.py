"""`state.json`: what `element up` runs now, for everybody else who wants to know.

It is there while `up` runs, and after `up` was killed until the next one; whether it is true can be
told from the lock, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import psutil
from pydantic import ValidationError

from element_jupyter.adapters.forkserver import Started, send_signal
from element_jupyter.core.errors import Conflict
from element_jupyter.core.values import Value
from element_jupyter.platform.data import write_private

_GIVES_WAY_SECONDS: Final = 60.0
"""Longer than each of its processes may take to end."""


class ProcessState(Value):
    """One component as `up` sees it."""

    title: str
    state: str
    pid: int | None = None
    started_ticks: int | None = None
    account: str | None = None
    """What it runs as; None where it has no process."""
    restarts: int = 0
    since: datetime
    reason: str = ""


class PlatformState(Value):
    """The platform as `up` sees it."""

    pid: int
    started_ticks: int | None = None
    on_demand: bool = False
    """Whether it gives way to an `up` that somebody starts."""
    started_at: datetime
    service_url: str
    airflow_url: str | None
    public_url: str | None = None
    """What people open; None where nobody signs in."""
    ready: bool
    processes: dict[str, ProcessState]


def account_of(pid: int | None) -> str | None:
    """Return the name of the account that a process runs as; None when it is gone."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).username() if pid else None
    return None


def read_state(path: Path) -> PlatformState | None:
    """Return what was written last, or None when there is nothing to read."""
    try:
        return PlatformState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_state(path: Path, state: PlatformState) -> None:
    """Replace the file at once, so that a reader never sees a part."""
    write_private(path, json.dumps(state.model_dump(mode="json"), indent=1) + "\n")


def is_running(lock: Path) -> bool:
    """Tell whether an `up` holds the lock of a data directory."""
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def held(lock: Path, state: Path, *, displaces: bool = True) -> Iterator[None]:
    """Hold the lock of a data directory.

    With `displaces`, an `up` that was started on demand is ended first; its notebooks go on.

    Raises:
        Conflict: another `up` holds it; the sentence names its process and address.
    """
    lock.touch(0o600)
    with lock.open("a") as file:
        if not _locked(file):
            other = read_state(state)
            if other is None or not (displaces and _gives_way(other, file)):
                who = f"pid {other.pid}, {other.service_url}" if other else "still starting"
                raise Conflict(
                    f"Element runs already on {lock.parent} ({who}).",
                    "Use that one, stop it with Ctrl-C, or give another directory with --data.",
                )
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _gives_way(other: PlatformState, file: IO[str]) -> bool:
    if not other.on_demand or other.started_ticks is None:
        return False
    if not send_signal(Started(pid=other.pid, started_ticks=other.started_ticks), signal.SIGTERM):
        return False
    until = time.monotonic() + _GIVES_WAY_SECONDS
    while not (locked := _locked(file)) and time.monotonic() < until:
        time.sleep(0.05)
    return locked
