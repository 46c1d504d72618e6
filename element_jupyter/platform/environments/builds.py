"""One build: its directory, who makes it, and what was asked.

    builds/<build id>/
        lock            locked by the process that builds; the kernel unlocks it at its death
        request.json    what to build, 0600, until it is read
        process.json    the process that builds, so that it can be ended
        cancelled       somebody has asked it to end
        events.jsonl    what it has told
        log             what it has printed

The lock is an open file description lock (fcntl_locking(2)): a child inherits it, and whether it is
held can be asked without taking it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import signal
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from element_jupyter import config
from element_jupyter.adapters.environment_store import BuildLog, started_ticks
from element_jupyter.core.environments.building import BuildEvent, Failure, FailureCode, Phase
from element_jupyter.core.environments.definitions import Definition, Found
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import NotFound
from element_jupyter.platform.data import write_private

_BUILD_ID: Final = re.compile(r"[0-9a-f]{64}")
_FLOCK: Final = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""

_CREDENTIALS: Final = re.compile(r"://[^/\s\"'@]*@")
_LOG_CHARACTERS: Final = 4_000

_SETTINGS: Final = (
    *("data_dir", "environment_store", "environments_dir", "python", "index_urls", "find_links"),
    *("channels", "allowed_origins", "allowed_builds", "build_timeout_seconds", "offline"),
)
"""What a build needs to know; the others may hold passwords."""

CANCELLED: Final = Failure(
    code=FailureCode.CANCELLED,
    title="The build was cancelled",
    summary="Somebody has cancelled the build of this environment.",
    hints=("Start it again: everything that was downloaded is kept.",),
    retryable=True,
)
DIED: Final = Failure(
    code=FailureCode.INTERNAL,
    title="The build has stopped",
    summary="The process that built this environment has ended before it was done.",
    hints=("Start it again: everything that was downloaded is kept.",),
    retryable=True,
)


@dataclass(frozen=True)
class Request:
    """What to build: a definition, or the lock of a pin, which the store has."""

    settings: Mapping[str, Any]
    found: Found | None = None
    pin: Pin | None = None
    upgrade: bool = False

    @property
    def element(self) -> config.Element:
        return config.Element(**self.settings)

    @classmethod
    def of(
        cls,
        settings: config.Element,
        *,
        found: Found | None = None,
        pin: Pin | None = None,
        upgrade: bool = False,
    ) -> Request:
        chosen = {name: getattr(settings, name) for name in _SETTINGS}
        return cls(chosen, found=found, pin=pin, upgrade=upgrade)

    def to_json(self) -> str:
        found = self.found
        document: dict[str, Any] = {"settings": dict(self.settings), "upgrade": self.upgrade}
        if self.pin is not None:
            document["pin"] = self.pin.model_dump(mode="json")
        if found is not None:
            document["definition"] = found.definition.model_dump(mode="json")
            document["root"] = str(found.root) if found.root else None
            document["contents"] = {
                path: base64.b64encode(content).decode() for path, content in found.contents.items()
            }
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: bytes) -> Request:
        document = json.loads(text)
        found = pin = None
        if "definition" in document:
            found = Found(
                Definition.model_validate(document["definition"]),
                {path: base64.b64decode(each) for path, each in document["contents"].items()},
                root=Path(document["root"]) if document["root"] else None,
            )
        if "pin" in document:
            pin = Pin.model_validate(document["pin"])
        return cls(document["settings"], found=found, pin=pin, upgrade=document["upgrade"])


def plain(text: str) -> str:
    """Return a text without credentials, whoever has put them into it: others read it."""
    text = _CREDENTIALS.sub("://", text)
    for name, value in os.environ.items():
        if name.endswith("_PASSWORD") and len(value) > 3:
            text = text.replace(value, "…")
    return text


class Claim:
    """The lock of a build; given up by `release`, or at the death of all who have inherited it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


@dataclass
class Build:
    """The directory of a build; made when the first `claim` is made."""

    directory: Path
    log: BuildLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = BuildLog(self.directory / "events.jsonl")

    @classmethod
    def of(cls, store: Path, build_id: str) -> Build:
        """Return the build of an id.

        Raises:
            NotFound: it can be none.
        """
        if not _BUILD_ID.fullmatch(build_id):
            raise NotFound(
                f"There is no build '{build_id[:80]}'.", "Ask for the environment again."
            )
        return cls(store / "builds" / build_id)

    @property
    def id(self) -> str:
        return self.directory.name

    # --------------------------------------------------------------------------------- who builds

    def claim(self) -> Claim | None:
        """Take the lock; None when somebody else builds."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.directory / "lock"
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
            except (BlockingIOError, PermissionError):
                os.close(descriptor)
                return None
            # what was locked may have been swept away meanwhile
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return Claim(descriptor)
            os.close(descriptor)
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def inherited(self, descriptor: int) -> Claim | None:
        """Return the claim that a parent has passed on by this descriptor; None if it has not."""
        try:
            if os.path.samestat(os.fstat(descriptor), (self.directory / "lock").stat()):
                return Claim(descriptor)
        except FileNotFoundError:
            pass
        os.close(descriptor)
        return None

    @property
    def is_running(self) -> bool:
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            asked = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
        finally:
            os.close(descriptor)
        return bool(_FLOCK.unpack(asked)[0] != fcntl.F_UNLCK)

    # ------------------------------------------------------------------------------ what it tells

    def begin(self, request: Request, message: str) -> None:
        """Forget what an earlier build of the same has told; for whom has the claim.

        The numbers of the events go on, so that a reader of the earlier ones misses none.
        """
        last = self.last_event
        (self.directory / "cancelled").unlink(missing_ok=True)
        (self.directory / "process.json").unlink(missing_ok=True)
        write_private(self.directory / "request.json", request.to_json())
        first = BuildEvent(
            sequence=last.sequence + 1 if last else 1,
            at=datetime.now(UTC),
            phase=Phase.RESOLVING,
            message=message,
        )
        write_private(self.directory / "events.jsonl", first.model_dump_json() + "\n")

    def take_request(self) -> Request:
        """Return what was asked, and keep it no longer: a definition may have a password in it."""
        path = self.directory / "request.json"
        request = Request.from_json(path.read_bytes())
        path.unlink()
        return request

    @property
    def last_event(self) -> BuildEvent | None:
        told = BuildLog(self.directory / "events.jsonl").read()
        return told[-1] if told else None

    @property
    def failure(self) -> Failure | None:
        """Why the last build failed, or ended without a word; None if it did not, or goes on."""
        if self.is_running:
            return None
        last = self.last_event
        if last is None or last.phase is Phase.READY:
            return None
        return last.failure or self.silence

    @property
    def silence(self) -> Failure:
        """Why a process that has not told an end has ended."""
        if (self.directory / "cancelled").exists():
            return CANCELLED
        said = ""
        with contextlib.suppress(OSError):
            said = (self.directory / "log").read_text(errors="replace")[-_LOG_CHARACTERS:]
        return DIED.model_copy(update={"tool_output": plain(said)})

    # ---------------------------------------------------------------------------------- ending it

    def record(self, pid: int, request: Request) -> None:
        """Write down which process builds, and for which data directory."""
        document = {
            "pid": pid,
            "started_ticks": started_ticks(pid),
            "data_dir": request.settings["data_dir"],
        }
        write_private(self.directory / "process.json", json.dumps(document))

    def cancel(self) -> None:
        """Ask the process that builds to end; it tells so."""
        if self.is_running:
            (self.directory / "cancelled").touch(mode=0o600)
            self._signal()

    def end(self, data_dir: str) -> None:
        """End the process, also while it compiles byte-code, if it works for a data directory."""
        if self._process.get("data_dir") == data_dir:
            self.cancel()
            if not self.is_running:
                self._signal()

    @property
    def _process(self) -> Mapping[str, Any]:
        try:
            return dict(json.loads((self.directory / "process.json").read_bytes()))
        except FileNotFoundError:
            return {}

    def _signal(self) -> None:
        from element_jupyter.adapters.forkserver import Started, send_signal

        known = self._process
        if known.get("started_ticks") is not None:
            process = Started(pid=known["pid"], started_ticks=known["started_ticks"])
            send_signal(process, signal.SIGTERM)


def _whole_file(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)
