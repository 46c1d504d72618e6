"""The blobs of one run, read from the control plane by REST."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import ElementError, Problem, Unavailable
from element_jupyter.core.snapshots import Manifest, damaged

_CHUNK_BYTES: Final = 1 << 20
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class RemoteBlobs:
    """Opens the files of a run's snapshot, its manifest, and its lock; used by several threads.

    Each is fetched whole and compared with its digest before it is handed out. While the control
    plane is away, it is asked again for so many seconds.
    """

    def __init__(
        self,
        client: httpx.Client,
        snapshot_id: str | None,
        scratch: Path,
        *,
        patience_seconds: float,
        on_opened: Callable[[str], None] = lambda _digest: None,
    ) -> None:
        self._client = client
        self._snapshot_id = snapshot_id
        self._scratch = scratch
        self._patience_seconds = patience_seconds
        self._on_opened = on_opened
        self._closed = threading.Event()

    def close(self) -> None:
        """Ask for nothing more: who waits for a control plane that is away gets an error."""
        self._closed.set()

    def open(self, digest: str) -> BinaryIO:
        """Fetch a blob.

        Raises:
            NotFound, Forbidden: it is not stored, or no part of this run.
            Unavailable: the control plane did not answer for too long, or this disk is full.
        """
        until = time.monotonic() + self._patience_seconds
        failures = 0
        while True:
            try:
                found = self._manifest() if digest == self._snapshot_id else self._fetch(digest)
            except Unavailable:
                pause = _PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)]
                if time.monotonic() + pause > until or self._closed.wait(pause):
                    raise
                failures += 1
            else:
                self._on_opened(digest)
                return found

    def _manifest(self) -> BinaryIO:
        try:
            answer = self._client.get("snapshot")
        except httpx.HTTPError as error:
            raise _away(error) from error
        _check(answer)
        try:
            manifest = Manifest.model_validate_json(answer.content)
        except ValidationError as error:
            raise damaged(self._snapshot_id or "") from error
        return io.BytesIO(manifest.to_json())

    def _fetch(self, digest: str) -> BinaryIO:
        file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - handed out
            max_size=_CHUNK_BYTES, dir=str(self._scratch)
        )
        hasher = hashlib.sha256()
        try:
            with self._client.stream("GET", f"blobs/{digest}") as answer:
                if not answer.is_success:
                    answer.read()
                    _check(answer)
                for chunk in answer.iter_raw(_CHUNK_BYTES):
                    hasher.update(chunk)
                    file.write(chunk)
        except httpx.HTTPError as error:
            file.close()
            raise _away(error) from error
        except BaseException:
            file.close()
            raise
        if hasher.hexdigest() != digest:
            file.close()
            raise damaged(digest)
        file.seek(0)
        return cast("BinaryIO", file)


def _away(error: httpx.HTTPError) -> Unavailable:
    return Unavailable(f"The control plane does not give out the run's files: {error}.")


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        told = ElementError.from_problem(Problem.model_validate_json(answer.content))
    except ValidationError:
        told = Unavailable(f"The control plane answered with {answer.status_code}.")
    if answer.is_server_error and not isinstance(told, Unavailable):
        told = Unavailable(told.message, told.hint)
    raise told
