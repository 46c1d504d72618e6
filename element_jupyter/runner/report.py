"""Reports a run to the control plane: events as they come, and that the run is still alive.

Two threads, so that neither a busy event loop nor a slow answer to the other costs the run its
lease. Events are read back from the run's event file, which is therefore the buffer: nothing is
lost while the control plane is away, for however long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from element_jupyter.core.errors import ElementError, Forbidden, Unauthenticated

BATCH_BYTES: Final = 1_000_000
LAST_EFFORT_SECONDS: Final = 60.0
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class ControlPlane(Protocol):
    """The run's own two doors at the control plane.

    Both raise `Unavailable` when another try may help, and another `ElementError` for a refusal.
    """

    def post_events(self, body: bytes) -> None: ...

    def heartbeat(self) -> tuple[bool, str]:
        """Renew the lease; returns whether the run must stop, and why."""
        ...


class EventReporter(threading.Thread):
    """Posts what is appended to an event file, in order, until all of it has been accepted."""

    def __init__(self, path: Path, control_plane: ControlPlane) -> None:
        super().__init__(name="event-reporter", daemon=True)
        self._path = path
        self._control_plane = control_plane
        self._more = threading.Event()
        self._deadline: float | None = None
        self._refused = False
        self.complete = False
        """Whether all was accepted; known once this has ended."""

    def wake(self) -> None:
        """Say that the file has grown."""
        self._more.set()

    def finish(self, timeout_seconds: float = LAST_EFFORT_SECONDS) -> bool:
        """Wait until the rest has been accepted; False when it was not in time, or is refused."""
        self._deadline = time.monotonic() + timeout_seconds
        self._more.set()
        self.join(timeout_seconds + 1.0)
        return self.complete

    def run(self) -> None:
        with self._path.open("rb") as file:
            rest = b""
            failures = 0
            while True:
                self._more.clear()
                rest += file.read(BATCH_BYTES - len(rest)) if len(rest) < BATCH_BYTES else b""
                end = rest.rfind(b"\n")
                if end < 0 and len(rest) >= BATCH_BYTES:  # one line longer than a batch
                    rest += file.readline()
                    end = rest.rfind(b"\n")
                if end < 0:
                    if self._deadline is not None:
                        self.complete = True
                        return
                    self._more.wait()
                    continue
                if self._post(rest[:end]):
                    rest, failures = rest[end + 1 :], 0
                    continue
                if self._deadline is not None and (
                    self._refused or time.monotonic() > self._deadline
                ):
                    return
                time.sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)])
                failures += 1

    def _post(self, lines: bytes) -> bool:
        body = b'{"events": [' + lines.replace(b"\n", b",\n") + b"]}"
        try:
            self._control_plane.post_events(body)
        except ElementError as error:  # away, or restarting, or not ready for this run yet
            self._refused = isinstance(error, Unauthenticated | Forbidden)
            return False
        return True


class Heart(threading.Thread):
    """Renews the run's lease until `stop`; tells when the control plane wants the run to stop."""

    def __init__(
        self,
        control_plane: ControlPlane,
        every_seconds: float,
        on_stop_requested: Callable[[str], None],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._control_plane = control_plane
        self._every_seconds = every_seconds
        self._on_stop_requested = on_stop_requested
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        told = False
        while not self._ended.is_set():
            pause = self._every_seconds
            try:
                stop, reason = self._control_plane.heartbeat()
            except ElementError:
                pause = min(1.0, pause)
            else:
                if stop and not told:
                    told = True
                    self._on_stop_requested(reason)
            self._ended.wait(pause)
