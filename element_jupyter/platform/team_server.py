"""Entry of a team's own Jupyter server, `python -m element_jupyter.platform.team_server`.

It is a Hub's single-user server in which people are told apart: by their levels in the team, which
the Hub is asked for again and again.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

from jupyter_server.base.call_context import CallContext
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider, JupyterHubSingleUser
from traitlets.config import Config

from element_jupyter import config
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.server.team_rights import SETTING, TeamAuthorizer, TeamRights, seen_by

WHOAMI_SECONDS: Final = 15
"""How long what the Hub said of a token counts."""
_HERE: Final = "element_jupyter.platform.team_server"
_DOCUMENTS: Final = "element_jupyter.server.shared_documents"


def _collaboration() -> Path | None:
    directory = config.load().collaboration_dir
    return Path(directory) if directory else None


def _front_ends() -> list[str]:
    found = _collaboration()
    return [str(found / "share/jupyter/labextensions")] if found is not None else []


class TeamIdentity(JupyterHubIdentityProvider):
    """Knows people as the Hub does, and asks of each request whether they may make it."""

    async def get_user(self, handler: JupyterHandler) -> Any:
        user = await super().get_user(handler)
        if user is not None:
            handler.settings[SETTING].admit(handler, user)
        return user


class TeamFiles(AsyncLargeFileManager):
    """The files of the team, which are read-only to a viewer."""

    async def get(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        model = await super().get(*arguments, **options)  # type: ignore[no-untyped-call]
        return seen_by(CallContext.get(CallContext.JUPYTER_HANDLER), model)


class TeamServer(JupyterHubSingleUser):
    """The single-user server of a team's account."""

    name = "element-team-server"

    @classmethod
    def get_extension_package(cls) -> str:
        return _HERE

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> Any:
        together = importlib.util.find_spec("jupyter_server_ydoc") is not None
        kwargs["jpserver_extensions"] = {
            **kwargs.get("jpserver_extensions", {}),
            # its rooms are ours, or there are none
            "jupyter_server_ydoc": False,
            "jupyter_server_fileid": together,
            _DOCUMENTS: together,
        }
        return super().make_serverapp(**kwargs)

    def load_config_file(self) -> None:
        super().load_config_file()
        state = Path.home() / ".local/share/jupyter/collaboration_sessions.json"
        server = {
            "identity_provider_class": TeamIdentity,
            "authorizer_class": TeamAuthorizer,
            "contents_manager_class": TeamFiles,
            # a room would be opened for a stranger before they are turned away
            "allow_unauthenticated_access": False,
        }
        self.serverapp.update_config(
            Config(
                ServerApp=server,
                HubAuth={"cache_max_age": WHOAMI_SECONDS, **self.serverapp.config.HubAuth},
                YDocExtension={"session_store_path": str(state)},
                LabApp={"extra_labextensions_path": _front_ends()},
            )
        )

    def initialize(self, args: Any = None) -> None:
        super().initialize(args)
        team = team_of_account(os.environ.get("JUPYTERHUB_USER", ""))
        identity = self.serverapp.identity_provider
        if team is None or not isinstance(identity, TeamIdentity):
            self.log.critical("This is not the server of a team.")
            self.exit(1)
        hub = identity.hub_auth

        async def whoami(token: str) -> Any:
            return await hub.user_for_token(token, sync=False)

        rights = TeamRights(str(team), whoami, hub.get_token)
        self.serverapp.web_app.settings[SETTING] = rights
        self._watching: asyncio.Task[None] | None = None

        async def watch() -> None:
            self._watching = asyncio.ensure_future(rights.watch())

        self.serverapp.io_loop.run_sync(watch)

    async def stop_extension(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().stop_extension()


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": _HERE, "app": TeamServer}]


if __name__ == "__main__":
    if (apart := _collaboration()) is not None:
        sys.path.append(str(apart))  # last: what is installed here comes first
    # as the module that the points name, not as `__main__`
    from element_jupyter.platform.team_server import TeamServer as Server

    Server.launch_instance()
    # all is saved and every kernel has ended; a thread of anyio's that waits for the loop, as one
    # that kept documents does, would keep the process until somebody kills it
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
