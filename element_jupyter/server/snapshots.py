"""Snapshots: the Jupyter server takes them itself, since the files are here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from element_jupyter.core.values import Digest, Value
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.http import ElementHandler
from element_jupyter.server.notebook_files import NotebookPath, notebook_file, shown_path
from element_jupyter.server.operations import Operation
from element_jupyter.server.team_rights import token_of_person


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
    team: str | None = None
    """For which team this server works, where it was started for one."""


class SnapshotOrigin(Value):
    """Where a notebook of a snapshot lies, as JupyterLab knows it; null when that is not known."""

    path: str | None


Take = Callable[[Path, str | None], Awaitable[TakenSnapshot]]
"""Snapshots the project of a notebook and uploads what is missing, off the event loop.

With the token of whoever asks, where that is not this server's.
"""

RootOf = Callable[[str], Path | None]
"""The directory of which this person has taken a snapshot; reads the disk."""


class SnapshotHandler(ElementHandler):
    """`POST snapshots`: take a snapshot of a notebook's project and upload it."""

    def initialize(self, control_plane: ControlPlane, take: Take, team: str | None) -> None:
        self._control_plane = control_plane
        self._take = take
        self._team = team

    @web.authenticated
    @authorized
    async def post(self) -> None:
        asked = self.asked(SnapshotRequest, 'For example {"path": "a.ipynb"}.')
        notebook = await notebook_file(self.contents_manager, asked.path)
        # an outage or a refusal is told before a gigabyte is read
        token = token_of_person(self)
        await self._control_plane.post("/snapshots/missing", {"digests": []}, token=token)
        taken = await self._take(notebook, token)
        self.set_status(201)
        self.finish(taken.model_copy(update={"team": self._team}).model_dump_json())


class OriginHandler(ElementHandler):
    """`GET snapshots/{snapshot_id}/origin`: where a notebook lies that was scheduled from here."""

    def initialize(self, root_of: RootOf) -> None:
        self._root_of = root_of

    @web.authenticated
    @authorized
    async def get(self, snapshot_id: str) -> None:
        notebook = self.get_query_argument("notebook")
        root = await asyncio.to_thread(self._root_of, snapshot_id)
        inside = PurePosixPath(notebook)
        path = None
        if root is not None and not inside.is_absolute() and ".." not in inside.parts:
            path = shown_path(self.contents_manager, str(root / inside))
        self.finish(SnapshotOrigin(path=path).model_dump_json())


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
    Operation(
        "snapshotOrigin",
        "get",
        "/snapshots/{snapshot_id}/origin",
        OriginHandler,
        SnapshotOrigin,
        query=(("notebook", NotebookPath),),
    ),
)
