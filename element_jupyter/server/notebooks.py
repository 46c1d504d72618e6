"""`POST notebooks/inspect`: what is to be known of a notebook before it is scheduled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from element_jupyter.core.errors import TooLarge
from element_jupyter.core.inspection.findings import Inspection
from element_jupyter.core.notebooks import MAX_NOTEBOOK_BYTES
from element_jupyter.core.values import Value
from element_jupyter.server.http import ElementHandler
from element_jupyter.server.notebook_files import NotebookPath, notebook_file
from element_jupyter.server.operations import Operation

EXAMPLE: Final = 'For example {"path": "a.ipynb"}.'


class InspectionRequest(Value):
    """Which notebook, and what is in it."""

    path: NotebookPath
    notebook: dict[str, Any] | None = None
    """The document as it is in the editor, outputs not needed; else what is saved is read."""


Inspect = Callable[[Path, str, Mapping[str, Any] | None], Inspection]
"""Looks at a notebook: its file, its path as it was asked for, its document; reads the disk."""


class InspectHandler(ElementHandler):
    """`POST notebooks/inspect`: what is to be known of a notebook before it is scheduled."""

    def initialize(self, inspect: Inspect) -> None:
        self._inspect = inspect

    @web.authenticated
    @authorized
    async def post(self) -> None:
        if len(self.request.body) > MAX_NOTEBOOK_BYTES:
            raise TooLarge(
                f"The notebook has {len(self.request.body) / 1e6:.0f} MB; at most "
                f"{MAX_NOTEBOOK_BYTES / 1e6:.0f} MB are accepted.",
                "Send it without its outputs.",
                field="notebook",
            )
        asked = self.asked(InspectionRequest, EXAMPLE)
        file = await notebook_file(self.contents_manager, asked.path)
        found = await asyncio.to_thread(self._inspect, file, asked.path, asked.notebook)
        self.finish(found.model_dump_json())


OPERATIONS: Final = (
    Operation(
        "inspectNotebook",
        "post",
        "/notebooks/inspect",
        InspectHandler,
        Inspection,
        body=InspectionRequest,
    ),
)
