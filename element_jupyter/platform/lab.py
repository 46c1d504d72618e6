"""Composition of the Jupyter server extension: what `jupyter lab` loads."""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp

from element_jupyter import config
from element_jupyter.server.control_plane import ControlPlane
from element_jupyter.server.forward import ForwardHandler
from element_jupyter.server.http import MOUNT


class ElementExtension(ExtensionApp):
    """Element in a person's Jupyter server."""

    name = "element_jupyter"
    load_other_extensions = True

    def initialize_handlers(self) -> None:
        element = config.load()
        self._control_plane = ControlPlane(element.state_file, element.token_file)
        self.handlers.append(
            (rf"/{MOUNT}/.*", ForwardHandler, {"control_plane": self._control_plane}),
        )

    async def stop_extension(self) -> None:
        await self._control_plane.close()
