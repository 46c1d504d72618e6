"""Composition of the Jupyter server extension: what `jupyter lab` loads."""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp

from element_jupyter import config
from element_jupyter.platform import lab_snapshot
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.forward import ForwardHandler
from element_jupyter.server.http import MOUNT
from element_jupyter.server.snapshots import SnapshotHandler


class ElementExtension(ExtensionApp):
    """Element in a person's Jupyter server."""

    name = "element_jupyter"
    load_other_extensions = True

    def initialize_handlers(self) -> None:
        element = config.load()
        self._control_plane = ControlPlane(element.state_file, element.token_file)
        shared = {"control_plane": self._control_plane}
        self.handlers += [
            (rf"/{MOUNT}/snapshots", SnapshotHandler, {**shared, "take": lab_snapshot.take}),
            (rf"/{MOUNT}/.*", ForwardHandler, shared),
        ]

    async def stop_extension(self) -> None:
        await self._control_plane.close()
