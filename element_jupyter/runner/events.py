"""What a run tells: numbered events, appended to a file as JSON lines.

The file is the truth; whoever reports it elsewhere reads it from there. Outputs are told whole
within an allowance, so that the live view never costs more disk than it is worth: the whole is in
the executed notebook anyway.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from element_jupyter.core.runs import Event, Note, Output
from element_jupyter.runner.streams import shorten_live

ALLOWED_LIVE_BYTES: Final = 2_000_000
ALLOWED_LIVE_SHARE: Final = 0.08
LARGEST_LIVE_BYTES: Final = 256_000
HEAD_CHARACTERS: Final = 4_000
STREAM_SECONDS: Final = 0.1
FLUSH_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0

Listener = Callable[[Event], None]


def now() -> datetime:
    """Return the present instant, aware."""
    return datetime.now(UTC)


class EventLog:
    """Numbers events, and appends them to a file within 100 ms; tells a listener at once."""

    def __init__(self, path: Path | None = None, listener: Listener | None = None) -> None:
        self.sequence = 0
        self.on_flush: Callable[[], None] = lambda: None
        self._listener = listener
        self._pending = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._file: int | None = None
        if path is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
            self._file = os.open(path, flags, 0o600)

    def tell(self, event: Event) -> None:
        """Number an event and tell it."""
        self.sequence += 1
        event = event.model_copy(update={"sequence": self.sequence})
        if self._listener is not None:
            self._listener(event)
        if self._file is None:
            return
        self._pending += _line(event) + b"\n"
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def note(self, message: str, level: Literal["info", "warning"] = "warning") -> None:
        """Tell a sentence that the person should read."""
        self.tell(Note(at=now(), level=level, message=message))

    def flush(self) -> None:
        """Write what has been told so far; other processes can read it from then on.

        On a full disk it stays in memory and is tried again.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._write()
        except OSError:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(RETRY_SECONDS, self.flush)
        self.on_flush()

    def _write(self) -> None:
        while self._pending and self._file is not None:
            del self._pending[: os.write(self._file, self._pending)]

    def close(self) -> None:
        """Write the rest and make it durable; raises OSError when that cannot be done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write()
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None
        self.on_flush()


def _line(event: Event) -> bytes:
    try:
        return event.model_dump_json().encode()
    except ValueError:  # half of a surrogate pair: Python can print it, UTF-8 cannot hold it
        text = json.dumps(event.model_dump(mode="python"), default=str, ensure_ascii=False)
        return text.encode("utf-8", "replace")


class LiveOutputs:
    """Tells outputs within the allowance, and streams in ten pieces a second at most."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._all_bytes = 0
        self._live_bytes = 0
        self._cell: tuple[int, str] = (0, "")
        self._stream: tuple[str, list[str]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def stream(self, index: int, cell_id: str, name: str, text: str) -> None:
        """Tell text of a stream, together with what follows within a moment."""
        self._all_bytes += len(text)
        if self._stream is None or self._stream[0] != name or self._cell != (index, cell_id):
            self.flush()
            self._cell, self._stream = (index, cell_id), (name, [])
        if self._stream is not None:
            self._stream[1].append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STREAM_SECONDS, self.flush)

    def output(self, index: int, cell_id: str, output: dict[str, Any]) -> None:
        """Tell any other output, or a change of one."""
        self.flush()
        size = size_of(output)
        self._all_bytes += size
        self._cell = (index, cell_id)
        self._tell(output, size)

    def flush(self) -> None:
        """Tell what has been joined so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stream is not None:
            name, parts = self._stream
            self._stream = None
            text = shorten_live("".join(parts))
            self._tell({"output_type": "stream", "name": name, "text": text}, len(text))

    def _tell(self, output: dict[str, Any], size: int) -> None:
        allowed = max(ALLOWED_LIVE_BYTES, ALLOWED_LIVE_SHARE * self._all_bytes)
        whole = size <= LARGEST_LIVE_BYTES and self._live_bytes + size <= allowed
        if not whole:
            output = _head(output)
            size = size_of(output)
            if self._live_bytes + size > allowed + ALLOWED_LIVE_BYTES / 2:
                return
        self._live_bytes += size
        index, cell_id = self._cell
        told = Output(at=now(), index=index, cell_id=cell_id, output=output, truncated=not whole)
        self._log.tell(told)


def size_of(output: dict[str, Any]) -> int:
    """Return about how many bytes an output takes as JSON, without making it."""
    total = 0
    for value in output.values():
        if isinstance(value, str):
            total += len(value)
        elif isinstance(value, dict):
            total += size_of(value)
        elif value is not None:
            total += len(json.dumps(value, default=str))
    return total + 20 * len(output)


def _head(output: dict[str, Any]) -> dict[str, Any]:
    """Return the output with the beginning of its plain text only."""
    kept = {key: value for key, value in output.items() if key in _KEPT}
    if "text" in output:
        kept["text"] = str(output["text"])[:HEAD_CHARACTERS]
    if "data" in output:
        plain = output["data"].get("text/plain", "")
        text = plain if isinstance(plain, str) else "".join(map(str, plain))
        kept["data"] = {"text/plain": text[:HEAD_CHARACTERS]}
    if output.get("output_type") == "error":
        kept["evalue"] = str(output.get("evalue", ""))[:HEAD_CHARACTERS]
        kept["traceback"] = [
            str(line)[:HEAD_CHARACTERS] for line in output.get("traceback", [])[-3:]
        ]
    return kept


_KEPT: Final = {"output_type", "name", "execution_count", "transient", "ename", "wait"}
