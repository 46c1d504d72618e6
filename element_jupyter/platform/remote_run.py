"""A run whose project, lock and outputs go over the network: see `remote_runner`."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import httpx
from pydantic import TypeAdapter, ValidationError

from element_jupyter import config
from element_jupyter.adapters.blobs import restore
from element_jupyter.adapters.local_runs import remove_tree
from element_jupyter.adapters.remote_blobs import RemoteBlobs
from element_jupyter.core.errors import ElementError, Invalid, Unavailable
from element_jupyter.core.runs import Artifact, RunFinished, RunId, RunSpec, RunState
from element_jupyter.platform.runner import run_reported
from element_jupyter.runner.control_plane import HttpControlPlane, run_client
from element_jupyter.runner.handing_over import HandingOver
from element_jupyter.runner.report import ControlPlane

_RUN_ID: Final = TypeAdapter[str](RunId)
_LOCK: Final = "remote.lock"
_NOTE_SECONDS: Final = 2.0
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


def execute(url: str, token: str, patience_seconds: float) -> int:
    """Execute the run at a URL; returns the exit code of the process."""
    doors = HttpControlPlane(run_client(url, token))
    try:
        told = _spec(doors, patience_seconds)
    except ElementError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n".replace(" \n", "\n"))
        return error.exit_code
    root = config.load().data / "runs"
    directory = root / told.run_id
    try:
        with _own(directory):
            _tidy(root)
            files = run_client(url, token)
            place = Elsewhere(told, directory, doors, files, patience_seconds=patience_seconds)
            code, reported = run_reported(place)
            place.close()
            _clean(directory, sent=reported and not place.left.unsent)
    except OSError as error:
        return _tell_full_disk(doors, directory, error)
    return code


def _spec(doors: HttpControlPlane, patience_seconds: float) -> RunSpec:
    until = time.monotonic() + patience_seconds
    failures = 0
    while True:
        try:
            told = doors.spec()
            break
        except Unavailable:
            pause = _PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)]
            if time.monotonic() + pause > until:
                raise
            failures += 1
            time.sleep(pause)
    try:
        _RUN_ID.validate_python(told.run_id)
    except ValidationError as error:
        raise Invalid(f"'{told.run_id[:80]!a}' is no run's id.") from error
    return told


class Elsewhere:
    """The place of a run whose control plane is reached by a URL only."""

    def __init__(
        self,
        told: RunSpec,
        directory: Path,
        doors: HttpControlPlane,
        files: httpx.Client,
        *,
        patience_seconds: float,
    ) -> None:
        own = {
            "project_directory": str(directory / told.project_directory),
            "output_directory": str(directory),
            "data_directory": str(directory.parent.parent) if told.data_directory else None,
        }
        self.spec = told.model_copy(update=own)
        self.patience_seconds = patience_seconds
        self.left = HandingOver(doors, directory, patience_seconds=patience_seconds)
        self.control_plane: ControlPlane | None = self.left
        self._progress: _Progress | None = None
        self._blobs = RemoteBlobs(
            files,
            told.snapshot_id,
            directory,
            patience_seconds=patience_seconds,
            on_opened=self._count,
        )

    def close(self) -> None:
        """Ask for nothing more, though the run was stopped while it asked."""
        self._blobs.close()

    def _count(self, _digest: str) -> None:
        if self._progress is not None:
            self._progress.one_more()

    def restore(self, note: Callable[[str], None]) -> None:
        if self.spec.snapshot_id is None:
            raise Invalid("The run has no snapshot.", field="snapshot_id")
        self._progress = _Progress(note)
        began = time.monotonic()
        project = Path(self.spec.project_directory)
        manifest = restore(self._blobs, self.spec.snapshot_id, project)
        if time.monotonic() - began > _NOTE_SECONDS:
            note(f"The project is here: {len(manifest.entries):,} files.")

    def lock(self, lock_id: str) -> bytes:
        with self._blobs.open(lock_id) as file:
            return file.read()

    def keep_lock(self, lock_id: str, content: bytes) -> None:
        """Keep none: a run's token stores nothing but what the run leaves."""

    def hand_over(
        self, artifacts: Sequence[Artifact], note: Callable[[str], None]
    ) -> Sequence[Artifact]:
        return self.left.send_all(artifacts, note)


class _Progress:
    """Says now and then how many files have come; called from several threads."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._lock = threading.Lock()
        self._count = 0
        self._next = time.monotonic() + _NOTE_SECONDS

    def one_more(self) -> None:
        with self._lock:
            self._count += 1
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _NOTE_SECONDS
            count = self._count
        self._note(f"Fetching the project: {count:,} files so far.")


# --------------------------------------------------------------------------- the run's directory


def _own(directory: Path) -> BinaryIO:
    """Make a directory for the run, which is this process's as long as the file is open."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (directory / _LOCK).open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _tidy(root: Path) -> None:
    """Remove the projects of runs whose runner was killed; what they left stays."""
    for lock in root.glob(f"r-*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in (lock.parent / "project", *lock.parent.glob(".project.partial-*")):
                if left.is_dir() and not left.is_symlink():
                    remove_tree(left)


def _clean(directory: Path, *, sent: bool) -> None:
    """Remove what only a live run needs, and what the control plane has."""
    if not sent:
        sys.stderr.write(f"The control plane has not taken all of the run: see {directory}.\n")
    left = directory if sent else directory / "project"
    try:
        if left.is_dir():
            remove_tree(left)
    except OSError as error:
        sys.stderr.write(f"{left} could not be removed: {error}.\n")


def _tell_full_disk(doors: HttpControlPlane, directory: Path, error: OSError) -> int:
    """End a run that has no file to tell it in."""
    reason = (
        f"The run needs space in {directory} on {os.uname().nodename}, and has none:"
        f" {error.strerror or error}."
    )
    sys.stderr.write(f"{reason}\n")
    ended = RunFinished(
        at=datetime.now(UTC), state=RunState.FAILED, reason=reason, duration_seconds=0.0
    )
    with suppress(ElementError):
        doors.tell_end(ended)
    with suppress(OSError):
        remove_tree(directory)
    return 1
