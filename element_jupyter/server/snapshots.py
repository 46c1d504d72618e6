"""`POST snapshots`: the Jupyter server does it itself, since the files are here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from element_jupyter.core.values import Digest, Value
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.http import ElementHandler
from element_jupyter.server.notebook_files import NotebookPath, notebook_file
from element_jupyter.server.operations import Operation


class SnapshotRequest(Value):
    """Which notebook: its path as JupyterLab knows it."""

    path: NotebookPath


class TakenSnapshot(Value):
    """A snapshot that the control plane has, and where the notebook is in it."""

    snapshot_id: Digest
    root: Path
    notebook: str
    size_bytes: int
    file_count: int
    warnings: tuple[str, ...]


Take = Callable[[Path], Awaitable[TakenSnapshot]]
"""Snapshots the project of a notebook and uploads what is missing, off the event loop."""


class SnapshotHandler(ElementHandler):
    """`POST snapshots`: take a snapshot of a notebook's project and upload it."""

    def initialize(self, control_plane: ControlPlane, take: Take) -> None:
        self._control_plane = control_plane
        self._take = take

    @web.authenticated
    @authorized
    async def post(self) -> None:
        asked = self.asked(SnapshotRequest, 'For example {"path": "a.ipynb"}.')
        notebook = await notebook_file(self.contents_manager, asked.path)
        # an outage or a refusal is told before a gigabyte is read
        await self._control_plane.post("/snapshots/missing", {"digests": []})
        taken = await self._take(notebook)
        self.set_status(201)
        self.finish(taken.model_dump_json())


OPERATIONS: Final = (
    Operation(
        "takeSnapshot",
        "post",
        "/snapshots",
        SnapshotHandler,
        TakenSnapshot,
        201,
        SnapshotRequest,
    ),
)
