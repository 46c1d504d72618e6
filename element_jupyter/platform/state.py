"""`state.json`: what `element up` runs now, for everybody else who wants to know.

It is there while `up` runs, and after `up` was killed until the next one; whether it is true can be
told from the lock, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from element_jupyter.core.errors import Conflict
from element_jupyter.core.values import Value
from element_jupyter.platform.data import write_private


class ProcessState(Value):
    """One component as `up` sees it."""

    title: str
    state: str
    pid: int | None = None
    started_ticks: int | None = None
    restarts: int = 0
    since: datetime
    reason: str = ""


class PlatformState(Value):
    """The platform as `up` sees it."""

    pid: int
    started_at: datetime
    service_url: str
    airflow_url: str | None
    ready: bool
    processes: dict[str, ProcessState]


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
def held(lock: Path, state: Path) -> Iterator[None]:
    """Hold the lock of a data directory.

    Raises:
        Conflict: another `up` holds it; the sentence names its process and address.
    """
    lock.touch(0o600)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = read_state(state)
            who = f"pid {other.pid}, {other.service_url}" if other else "still starting"
            raise Conflict(
                f"Element runs already on {lock.parent} ({who}).",
                "Use that one, stop it with Ctrl-C, or give another directory with --data.",
            ) from None
        yield
