"""What client and server of a fork server say to each other, and how a process is known."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field, JsonValue

from element_jupyter.core.errors import Problem
from element_jupyter.core.values import Value

MAX_REQUEST_BYTES: Final = 1_000_000
_PR_SET_PDEATHSIG: Final = 1


class Become(Value):
    """Whose process a child is, before anything of that person's runs.

    A fork server that is not root's starts its own account's alone.
    """

    uid: int = Field(ge=0)
    gid: int = Field(ge=0)
    groups: tuple[int, ...] = ()
    entrances: tuple[str, ...] = ()
    """Files of control groups that the child enters by, as root, before it is the person."""
    umask: int = Field(default=0o022, ge=0, le=0o777)


class Spawn(Value):
    """What to fork: `target` names a function of `arguments` that returns an exit code or None."""

    target: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    arguments: list[JsonValue] = Field(default=[])
    environment: dict[str, str | None] = Field(default={})
    """Additions to the server's environment; None takes a variable away. With `become`, all of
    the child's environment."""
    directory: str = "/"
    log: str = "/dev/null"
    """File that standard output and error are appended to; created with mode 0600."""
    title: str = ""
    new_session: bool = False
    die_with_server: bool = True
    """Whether the kernel kills the child when the fork server ends, however that comes about."""
    become: Become | None = None


class Started(Value):
    """A process that runs; the pair stays unique when the pid is used again."""

    pid: int
    started_ticks: int


class Exit(Value):
    """How a process ended; both None when nobody saw it."""

    code: int | None = None
    signal: int | None = None


class Refusal(Value):
    error: Problem


def started_ticks(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot, or None when there is none."""
    try:
        state, ticks = stat_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in {"Z", "X"} else ticks


def stat_of(pid: int) -> tuple[str, int]:
    """Return state and start of a process (proc_pidstat_of(5), fields 3 and 22)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def is_alive(process: Started) -> bool:
    """Tell whether this very process, not a later one with its pid, still runs."""
    return started_ticks(process.pid) == process.started_ticks


def send_signal(process: Started, number: signal.Signals, *, group: bool = False) -> bool:
    """Send a signal to the process, or to its whole group; False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        if group:
            os.killpg(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel for a signal to this process when the thread that forked it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address that fits into the 107 bytes of `sun_path`, however deep the socket lies."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
