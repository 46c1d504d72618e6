"""Who uses an environment: a file for each process, which counts as long as the process lives."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from element_jupyter.adapters.environment_store.layout import (
    Layout,
    room,
    safe,
    write_atomically,
)
from element_jupyter.core.environments.keeping import Holder
from element_jupyter.core.values import slug

_PROC: Final = Path("/proc")
_MAY_NOT_WRITE: Final = {errno.EROFS, errno.EACCES, errno.EPERM}


def started_ticks(pid: int) -> int | None:
    """Return when a process started; None when it does not live.

    In clock ticks since boot, field 22 of /proc/<pid>/stat (proc(5)); without a /proc in hundredths
    of a second since 1970. It tells a process from a later one with the same number.
    """
    if not (_PROC / "self").exists():
        import psutil

        try:
            process = psutil.Process(pid)
            ended = process.status() == psutil.STATUS_ZOMBIE
            return None if ended else int(process.create_time() * 100)
        except psutil.Error:
            return None
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # the name, in parentheses, may have spaces and parentheses of its own
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, ticks: int) -> bool:
    """Tell whether the very process lives; one that has ended and is not waited for does not."""
    return started_ticks(pid) == ticks


class Holders:
    """Reads and writes `held/<environment id>/<kind>-<id>.json`, and when each was last used."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def hold(self, environment_id: str, holder: Holder) -> bool:
        """Say that a process uses an environment; False when that is not there any more.

        The same holder may be told again, with another process.
        """
        directory = self._layout.held / safe(environment_id)
        try:
            with self._pruning(fcntl.LOCK_SH), room(self._layout.root):
                if not self._layout.environment(environment_id).is_dir():
                    return False
                directory.mkdir(mode=0o700, exist_ok=True)
                # a process outlives no loss of power, and a kernel's start waits for no disk
                content = holder.model_dump_json().encode()
                path = directory / _name(holder)
                # ext4 would write what replaces a file to the disk at once
                path.unlink(missing_ok=True)
                write_atomically(path, content, durable=False)
        except OSError as error:
            # who may not write here reads a store that others keep, and must start kernels still
            if error.errno not in _MAY_NOT_WRITE:
                raise
            return self._layout.environment(environment_id).is_dir()
        self.touch(environment_id)
        return True

    def release(self, environment_id: str, holder_id: str) -> None:
        """Say that a holder uses an environment no longer; nothing happens when it did not."""
        for path in self._files(environment_id):
            holder = _read(path)
            if holder is not None and holder.id == holder_id:
                with contextlib.suppress(OSError):
                    path.unlink()

    def touch(self, environment_id: str) -> None:
        """Note that an environment is used now."""
        path = self._layout.used / safe(environment_id)
        try:
            path.touch(mode=0o600)
        except OSError as error:
            if error.errno not in _MAY_NOT_WRITE | {errno.ENOSPC, errno.EDQUOT, errno.ENOENT}:
                raise

    def of(self, environment_id: str) -> tuple[Holder, ...]:
        """Return who uses an environment; what dead processes have left is removed."""
        found = []
        for path in self._files(environment_id):
            holder = _read(path)
            if holder is not None and alive(holder.pid, holder.started_ticks):
                found.append(holder)
            elif holder is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
        return tuple(found)

    @contextlib.contextmanager
    def none_begin(self) -> Iterator[None]:
        """Let nobody begin to hold an environment meanwhile: for the blink of looking and moving.

        So that a kernel either holds its environment in time, or is told that it is gone.
        """
        with self._pruning(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _pruning(self, mode: int) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._layout.held / ".lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)

    def _files(self, environment_id: str) -> list[Path]:
        try:
            return sorted((self._layout.held / safe(environment_id)).glob("[!.]*.json"))
        except OSError:
            return []


def _name(holder: Holder) -> str:
    plain = slug(holder.id, "unnamed")
    if plain != holder.id:
        plain += "-" + hashlib.sha256(holder.id.encode()).hexdigest()[:16]
    return f"{holder.kind}-{plain}.json"


def _read(path: Path) -> Holder | None:
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
