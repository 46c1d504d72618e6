"""Documents that several people of a team edit at once, and viewers watch.

jupyter-collaboration knows no reader: who may open a document may change it. Here what a viewer
sends is dropped, but for the question what is in the document and where their cursor is.
"""

from __future__ import annotations

from typing import Any

from jupyter_server_ydoc.app import YDocExtension
from jupyter_server_ydoc.handlers import DocSessionHandler, YDocWebSocketHandler
from jupyter_server_ydoc.utils import MessageType
from pycrdt import Decoder

from element_jupyter.core.teams import Level
from element_jupyter.server.team_rights import SETTING

_ASKS = b"\x00\x00"
"""Of y-protocols: a message of synchronisation, step 1, which asks for what one does not have."""
_IS_HERE = b"\x01"
"""Of y-protocols: a message of awareness."""


class Room(YDocWebSocketHandler):
    """A document's socket, through which viewers only receive."""

    only_reads = True

    async def on_message(self, message: Any) -> None:
        level = self.settings[SETTING].level_of(self.current_user)
        if (level is not None and level.covers(Level.MEMBER)) or (
            isinstance(message, bytes) and message.startswith((_ASKS, _IS_HERE))
        ):
            await super().on_message(message)
        elif isinstance(message, bytes) and message[:1] == bytes([MessageType.RAW]):
            await self._refuse_to_save(message)

    async def _refuse_to_save(self, message: bytes) -> None:
        decoder = Decoder(message)
        decoder.read_var_uint()
        if decoder.read_var_string() == "save":
            reply = {"type": "save", "responseTo": decoder.read_var_uint(), "status": "failed"}
            await self.send(self._encode_json_message(reply))


class Session(DocSessionHandler):
    """Tells which document a path is, and that under a `PUT`."""

    only_reads = True


class SharedDocuments(YDocExtension):
    """The extension of jupyter-collaboration, with a room that knows viewers."""

    def initialize_handlers(self) -> None:
        super().initialize_handlers()
        ours = {YDocWebSocketHandler: Room, DocSessionHandler: Session}
        self.handlers: list[Any] = [
            (path, ours.get(kind, kind), *rest) for path, kind, *rest in self.handlers
        ]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": __name__, "app": SharedDocuments}]
