"""`POST snapshots`: the one thing that the Jupyter server does itself, since the files are here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ApiPath, ensure_async, to_os_path
from pydantic import Field, ValidationError
from tornado import web

from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.core.validation import explain
from element_jupyter.core.values import Digest, Value
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.http import ElementHandler


class SnapshotRequest(Value):
    """Which notebook: its path as JupyterLab knows it."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]


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
    """Takes a snapshot of a notebook's project."""

    def initialize(self, control_plane: ControlPlane, take: Take) -> None:
        self._control_plane = control_plane
        self._take = take

    @web.authenticated
    @authorized
    async def post(self) -> None:
        notebook = await self._notebook(self._request().path)
        # an outage or a refusal is told before a gigabyte is read
        await self._control_plane.post("/snapshots/missing", {"digests": []})
        taken = await self._take(notebook)
        self.set_status(201)
        self.finish(taken.model_dump_json())

    def _request(self) -> SnapshotRequest:
        try:
            data = json.loads(self.request.body)
            return SnapshotRequest.model_validate(data)
        except ValidationError as error:
            raise explain(error, data, SnapshotRequest.model_json_schema()) from error
        except (ValueError, RecursionError) as error:
            raise Invalid("The body must be JSON.", 'For example {"path": "a.ipynb"}.') from error

    async def _notebook(self, path: str) -> Path:
        manager = self.contents_manager
        root = getattr(manager, "root_dir", None)
        if not isinstance(root, str) or not root:
            raise Invalid(
                "This Jupyter server does not keep its notebooks in files.",
                "Only notebooks in files can become jobs.",
            )
        path = path.strip("/")
        if not path.endswith(".ipynb"):
            raise Invalid(f"'{path}' is not a notebook.", field="path")
        try:
            hidden = await ensure_async(manager.is_hidden(path))
            there = await ensure_async(manager.file_exists(path))
        except (web.HTTPError, OSError, ValueError):
            there = hidden = False  # outside of the root, or no name of a file at all
        if not there or (hidden and not manager.allow_hidden):
            raise NotFound(f"There is no notebook '{path}'.", field="path")
        return Path(to_os_path(ApiPath(path), root))
