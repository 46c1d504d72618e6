"""What a run leaves, on its way to a control plane that cannot read this disk.

People find an ended run with all that it left: the notebook goes before the event that tells of it,
and everything before the event that ends the run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.runs import Artifact
from element_jupyter.core.snapshots import fault_of_path

_SENDERS: Final = 4
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_QUIET_SECONDS: Final = 5.0
"""How long the control plane may be away until the log says so."""
_NAMED: Final = 5
"""How many refused files are named in the log."""

Note = Callable[[str], None]


class Doors(Protocol):
    """The run's doors at the control plane.

    They raise `Unavailable` when another try may help, and another `ElementError` for a refusal.
    """

    def post_events(self, body: bytes) -> None: ...
    def heartbeat(self) -> tuple[bool, str]: ...
    def put_notebook(self, path: Path) -> None: ...
    def put_artifact(self, name: str, path: Path) -> None: ...


class HandingOver:
    """A control plane for a reporter, which sends the notebook before an event that tells of it."""

    def __init__(self, doors: Doors, output: Path, *, patience_seconds: float) -> None:
        self._doors = doors
        self._notebook = output / "output.ipynb"
        self._artifacts = output / "artifacts"
        self._patience_seconds = patience_seconds
        self._sending = threading.Lock()
        self._sent: tuple[int, int, int] | None = None
        self._refused: dict[str, str] = {}
        """What the control plane does not take, and why."""
        self.unsent = 0
        """How many files were not sent, since the control plane was away for too long."""

    def heartbeat(self) -> tuple[bool, str]:
        return self._doors.heartbeat()

    def post_events(self, body: bytes) -> None:
        if b'"kind":"notebook_saved"' in body:
            self.send_notebook()
        self._doors.post_events(body)

    def send_notebook(self) -> None:
        """Send the notebook as it is now, unless that has been done.

        Raises:
            Unavailable: the control plane does not take it now.
        """
        with self._sending:
            try:
                found = self._notebook.stat()
            except FileNotFoundError:
                return
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if state == self._sent:
                return
            try:
                self._doors.put_notebook(self._notebook)
            except Unavailable:
                raise
            except ElementError as error:
                self._refused["The executed notebook"] = error.message
            else:
                self._refused.pop("The executed notebook", None)
            self._sent = state

    def send_all(self, artifacts: Sequence[Artifact], note: Note) -> list[Artifact]:
        """Send the notebook and all files that the run left; returns those that were taken.

        While the control plane is away, it is tried again, and the log says so. What is refused is
        named in the log.
        """
        until = time.monotonic() + self._patience_seconds
        waiting = _Waiting(until, note)
        if not waiting.does(self.send_notebook):
            self.unsent += 1
        taken: dict[str, int] = {}

        def send(name: str) -> None:
            if fault := fault_of_path(name):
                self._refused[f"{name[:100]!a}"] = f"{fault}."
                return
            path = self._artifacts / name
            try:
                sent = waiting.does(lambda: self._doors.put_artifact(name, path))
                if sent:
                    taken[name] = path.stat().st_size
                else:
                    self.unsent += 1
            except ElementError as error:
                self._refused[f"'{name}'"] = error.message
            except OSError as error:
                self._refused[f"'{name}'"] = f"it cannot be read: {error.strerror}."

        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="artifacts") as pool:
            for done in [pool.submit(send, name) for name in _files(self._artifacts)]:
                done.result()
        for what, why in sorted(self._refused.items())[:_NAMED]:
            note(f"The control plane does not keep what the run left. {what}: {why}")
        if len(self._refused) > _NAMED:
            note(f"Nor does it keep {len(self._refused) - _NAMED} more files.")
        if self.unsent:
            note(
                f"The control plane was away for {self._patience_seconds:g} seconds: {self.unsent}"
                f" files that the run left stay in {self._notebook.parent}."
            )
        return [artifact for artifact in artifacts if artifact.path in taken]


class _Waiting:
    """Patience with a control plane that is away, shared by all who wait for it."""

    def __init__(self, until: float, note: Note) -> None:
        self._until = until
        self._note = note
        self._lock = threading.Lock()
        self._told = False

    def does(self, work: Callable[[], None]) -> bool:
        """Do the work, again while the control plane is away; False when time has run out."""
        began, failures = time.monotonic(), 0
        while True:
            try:
                work()
            except Unavailable as error:
                pause = _PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)]
                failures += 1
                if time.monotonic() + pause > self._until:
                    return False
                if time.monotonic() - began > _QUIET_SECONDS:
                    self._tell(error)
                time.sleep(pause)
            else:
                return True

    def _tell(self, error: Unavailable) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._note(
                f"What the run left is sent once the control plane takes it. {error.message}"
            )


def _files(root: Path) -> list[str]:
    return sorted(
        Path(parent, name).relative_to(root).as_posix()
        for parent, _, names in os.walk(root)
        for name in names
    )
