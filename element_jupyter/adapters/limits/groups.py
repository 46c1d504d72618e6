"""What control groups of both versions share: directories with limits, made, read and removed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from element_jupyter.core.confinement import Allowance, Confinement
from element_jupyter.core.errors import Unavailable

_END_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.01


class Room(Confinement, Protocol):
    """The groups of one server, of either version."""

    @property
    def exists(self) -> bool: ...

    def make(self, allowance: Allowance) -> None:
        """Make them, with their limits.

        Raises:
            Unavailable: the system refuses, and why.
        """

    def allowance(self) -> Allowance | None:
        """Return the limits; None while they are being made or ended."""


R = TypeVar("R", bound=Room)


class Rooms(ABC, Generic[R]):
    """What a `Limiter` by control groups does, whatever the version."""

    def __init__(self, top: Path) -> None:
        """Use the groups in one of ours."""
        self._top = top
        self._lock = threading.Lock()

    def confine(self, name: str, allowance: Allowance) -> R:
        with self._lock:
            room = self._room(name)
            room.end()
            try:
                room.make(allowance)
            except BaseException:
                room.end()
                raise
            return room

    def find(self, name: str) -> R | None:
        room = self._room(name)
        return room if room.exists else None

    def granted(self) -> tuple[Allowance, ...]:
        try:
            names = [path.name for path in self._top.iterdir() if path.is_dir()]
        except OSError:
            return ()
        found = (self._room(name).allowance() for name in names)
        return tuple(each for each in found if each is not None)

    @abstractmethod
    def _room(self, name: str) -> R:
        """Return the place of a server, whether it is there or not."""

    def _probe(self) -> None:
        """Find out whether such groups can be made, and leave none.

        Raises:
            Unavailable: they cannot, and why.
        """
        room = self._room("probe")
        try:
            room.make(Allowance(memory_bytes=64 << 20, cpu=1, processes=16))
        finally:
            room.end()


def write(file: Path, text: str) -> None:
    """Write one setting.

    Raises:
        Unavailable: the kernel refuses it; names the file.
    """
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(opened, text.encode())
        finally:
            os.close(opened)
    except OSError as error:
        raise Unavailable(f"{file} cannot be set to {text}: {error.strerror}.") from error


def number(file: Path) -> int | None:
    """Read a number; None where there is none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def entry(file: Path, name: str) -> int | None:
    """Read one line of a file of names and numbers."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)


def make(directory: Path) -> None:
    """Make a group.

    Raises:
        Unavailable: the system does not allow it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be made: {error.strerror}.") from error


def processes(directory: Path) -> list[int]:
    """Return the processes in a group and in those below it."""
    found = []
    for file in directory.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found += [int(line) for line in file.read_text().split()]
    return found


def kill_all(directory: Path) -> None:
    """Kill every process in a group, and return when there is none.

    Raises:
        Unavailable: some do not end.
    """
    deadline = time.monotonic() + _END_SECONDS
    while left := processes(directory):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Unavailable(f"Processes in {directory} do not end: {left[:5]}.")
        time.sleep(_PAUSE_SECONDS)


def remove(directory: Path) -> None:
    """Remove a group and those below it; its processes have ended.

    Raises:
        Unavailable: the system keeps it.
    """
    deadline = time.monotonic() + _END_SECONDS
    below = sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True)
    for group in [*below, directory]:
        while True:
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:  # the last process is not quite gone
                if time.monotonic() > deadline:
                    raise Unavailable(f"{group} cannot be removed: {error.strerror}.") from error
                time.sleep(_PAUSE_SECONDS)
            else:
                break
