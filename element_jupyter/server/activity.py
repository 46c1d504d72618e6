"""What is done in a Jupyter server: who typed or executed last, which kernels are busy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

_CONTENTS: Final = "https://events.jupyter.org/jupyter_server/contents_service/v1"
_CHANGES: Final = frozenset({"create", "save", "upload", "rename", "copy", "delete"})


@dataclass
class Noticed:
    """What has been done so far."""

    input_at: float | None = None
    """Seconds of the epoch; None when nobody has done anything."""
    busy_since: dict[str, float] = field(default_factory=dict)
    """By kernel: when it was first found to be busy, this time."""

    def happened(self, at: float) -> None:
        self.input_at = max(at, self.input_at or 0.0)


class Activity:
    """Looks at the managers of a Jupyter server, on its event loop.

    What counts as somebody's doing: a request to a kernel, a file that was saved or changed, what
    is typed into a terminal. Pages that are open, and what they ask by themselves, do not.
    """

    def __init__(self, server: Any, clock: Callable[[], float] = time.time) -> None:
        self._kernels = server.kernel_manager
        self._settings = server.web_app.settings
        self._clock = clock
        self._noticed = Noticed()
        with contextlib.suppress(Exception):  # a logger that does not know of files
            server.event_logger.add_listener(schema_id=_CONTENTS, listener=self._has_changed)

    async def _has_changed(self, *, data: dict[str, Any], **_: Any) -> None:
        if data.get("action") in _CHANGES:
            self._noticed.happened(self._clock())

    def look(self) -> None:
        """Look at kernels and terminals once."""
        now, before = self._clock(), self._noticed.busy_since
        busy: dict[str, float] = {}
        for kernel_id in list(self._kernels.list_kernel_ids()):
            with contextlib.suppress(KeyError):  # it has just ended
                manager = self._kernels.get_kernel(kernel_id)
                if getattr(manager, "execution_state", "") == "busy":
                    busy[kernel_id] = before.get(kernel_id, now)
                    self._noticed.happened(busy[kernel_id])
                    continue
                # of an idle one, when it had done what it was last asked for
                last = getattr(manager, "last_activity", None)
                if isinstance(last, datetime):
                    self._noticed.happened(last.astimezone(UTC).timestamp())
        self._noticed.busy_since = busy
        for typed_at in map(_typed_at, self._terminals()):
            if typed_at is not None:
                self._noticed.happened(typed_at)

    @property
    def input_seconds_ago(self) -> float | None:
        at = self._noticed.input_at
        return None if at is None else max(0.0, self._clock() - at)

    @property
    def busy_kernels(self) -> int:
        return len(self._noticed.busy_since)

    @property
    def terminal_count(self) -> int:
        return len(self._terminals())

    @property
    def connections(self) -> int:
        """How many pages are connected to kernels."""
        ids = list(self._kernels.list_kernel_ids())
        counts = getattr(self._kernels, "_kernel_connections", {})
        return sum(int(counts.get(kernel_id, 0)) for kernel_id in ids)

    def _terminals(self) -> list[Any]:
        manager = self._settings.get("terminal_manager")
        return list(getattr(manager, "terminals", {}).values())


def _typed_at(terminal: Any) -> float | None:
    """Return when the terminal's programs last read what somebody typed, as w(1) tells it."""
    process = getattr(terminal, "ptyproc", None)
    with contextlib.suppress(OSError, TypeError, ValueError):
        link = Path(f"/proc/{int(process.pid)}/fd/0").readlink() if process is not None else None
        if link is not None and link.is_relative_to("/dev/pts"):
            return link.stat().st_atime
    last = getattr(terminal, "last_activity", None)
    return last.timestamp() if isinstance(last, datetime) else None
