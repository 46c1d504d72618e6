"""What a build tells, as a file that others follow: one JSON line per event."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pydantic import ValidationError

from element_jupyter.adapters.environment_store.layout import room
from element_jupyter.core.environments.building import BuildEvent


class BuildLog:
    """`events.jsonl` of one build: appended to by its builder, read by anybody, without locks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = b""
        self._offset = 0
        self._last = 0

    def clear(self) -> None:
        """Begin anew, as a builder does; who follows begins anew too."""
        self._path.unlink(missing_ok=True)

    def append(self, event: BuildEvent) -> None:
        """Add an event by one write, so that no reader sees another's line in it.

        Raises:
            EnvironmentFailed: the disk is full.
        """
        line = event.model_dump_json().encode() + b"\n"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with room(self._path.parent):
            descriptor = os.open(self._path, flags, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    # a builder was killed, or the disk was full, in the middle of a line
                    line = b"\n" + line
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)

    def read(self, after: int = 0) -> list[BuildEvent]:
        """Return the events with a higher sequence number; a line that is not whole is left out.

        Reading on from the last event that was returned costs only what is new.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        with os.fdopen(descriptor, "rb") as file:
            # by its first event a file is known: a new one may have the old one's inode number
            if file.read(len(self._head)) != self._head or after < self._last:
                self._head, self._offset, self._last = b"", 0, 0
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        if self._offset == 0:
            self._head = whole.partition(b"\n")[0]
        self._offset += len(whole) + len(newline)
        events = [event for line in whole.split(b"\n") if (event := _event(line)) is not None]
        if events:
            self._last = events[-1].sequence
        return [event for event in events if event.sequence > after]


def _event(line: bytes) -> BuildEvent | None:
    try:
        return BuildEvent.model_validate_json(line)
    except ValidationError:
        return None
