"""The kernels of a Jupyter server: which there are, and that one has ended though nobody asked."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

_ACTIONS: Final = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"


@dataclass(frozen=True, slots=True)
class RunningKernel:
    """One kernel of the server's."""

    kernel_id: str
    name: str
    notebook: str | None
    """Its path, as JupyterLab knows it."""
    pid: int | None
    """None while it has no process on this machine."""
    state: str
    idle_seconds: float | None


Ended = Callable[[RunningKernel, int | None], None]
"""Is told of a kernel that has ended, and of its process's exit code, if that is known."""


class RunningKernels:
    """Looks at the managers of a Jupyter server, on its event loop; takes well below a millisecond.

    Kernels are watched from their start on, by the same means as JupyterLab restarts them.
    """

    def __init__(self, server: Any, started: Callable[[], None], ended: Ended) -> None:
        self._kernels = server.kernel_manager
        self._sessions = server.session_manager
        self._started = started
        self._ended = ended
        self._watched: set[str] = set()
        with contextlib.suppress(Exception):  # a logger that does not know of kernels
            server.event_logger.add_listener(schema_id=_ACTIONS, listener=self._has_acted)

    def look(self) -> list[RunningKernel]:
        """Return the kernels there are now."""
        ids = list(self._kernels.list_kernel_ids())
        self._watched &= set(ids)
        if not ids:
            return []
        notebooks = self._notebooks()
        found = [self._one(kernel_id, notebooks.get(kernel_id)) for kernel_id in ids]
        return [kernel for kernel in found if kernel is not None]

    def _one(self, kernel_id: str, notebook: str | None) -> RunningKernel | None:
        try:
            manager = self._kernels.get_kernel(kernel_id)
        except KeyError:
            return None
        self._watch(kernel_id)
        state = str(getattr(manager, "execution_state", None) or "unknown")
        last = getattr(manager, "last_activity", None)
        idle_seconds = None
        if state == "idle" and isinstance(last, datetime):
            idle_seconds = max(0.0, (datetime.now(UTC) - last).total_seconds())
        name = str(getattr(manager, "kernel_name", ""))
        return RunningKernel(kernel_id, name, notebook, _pid(manager), state, idle_seconds)

    def _notebooks(self) -> dict[str, str]:
        connection = getattr(self._sessions, "connection", None)
        if not isinstance(connection, sqlite3.Connection):
            return {}
        with contextlib.suppress(sqlite3.Error):
            rows = connection.execute("SELECT kernel_id, path, name FROM session").fetchall()
            return {
                str(kernel_id): notebook
                for kernel_id, path, name in rows
                if (notebook := _notebook(str(path), str(name or "")))
            }
        return {}

    def _watch(self, kernel_id: str) -> None:
        if kernel_id in self._watched:
            return
        self._watched.add(kernel_id)
        with contextlib.suppress(Exception):  # such as of a gateway, which watches its own
            for event in ("restart", "dead"):
                self._kernels.add_restart_callback(
                    kernel_id, partial(self._has_ended, kernel_id), event
                )

    async def _has_acted(self, *, data: dict[str, Any], **_: Any) -> None:
        kernel_id = data.get("kernel_id")
        if data.get("action") == "start" and kernel_id in self._kernels:
            self._watch(str(kernel_id))
            self._started()

    def _has_ended(self, kernel_id: str) -> None:
        kernel = self._one(kernel_id, self._notebooks().get(kernel_id))
        if kernel is not None:
            manager = self._kernels.get_kernel(kernel_id)
            process = getattr(getattr(manager, "provisioner", None), "process", None)
            code = getattr(process, "returncode", None)
            self._ended(kernel, code if isinstance(code, int) else None)


def _notebook(path: str, name: str) -> str | None:
    """Return the notebook of a session: JupyterLab makes the last part of its path up."""
    directory, slash, last = path.lstrip("/").rpartition("/")
    file = name if name.endswith(".ipynb") else last
    return f"{directory}{slash}{file}" if file.endswith(".ipynb") else None


def _pid(manager: Any) -> int | None:
    provisioner = getattr(manager, "provisioner", None)
    process = getattr(provisioner, "process", None)
    pid = None
    if isinstance(process, subprocess.Popen):
        pid = process.pid if process.returncode is None else None
    elif isinstance(provisioner, LocalProvisioner):
        pid = provisioner.pid
    return pid if isinstance(pid, int) and pid > 0 else None
