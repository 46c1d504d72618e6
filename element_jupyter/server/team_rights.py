"""What each person may do in the server of a team: a viewer looks, a member edits and runs.

Jupyter's authorizer is asked by those handlers alone that were written for it; JupyterLab's own,
which store settings and install extensions, ask only whether somebody is signed in. So rights are
looked at twice: for each request, by what kind it is, and by the authorizer, for each resource.

A socket that is open is looked at again, since nobody asks about it any more.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from jupyter_server.auth import Authorizer, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.log import app_log
from tornado.web import HTTPError

from element_jupyter.core.team_servers import level_in, permits
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name

SETTING: Final = "element_team_rights"
"""The key of the application's settings under which handlers find the server's `TeamRights`."""

ONLY_READS: Final = "only_reads"
"""A handler's attribute that says: whatever its verb, it changes nothing for a viewer."""

SECONDS_BETWEEN_LOOKS: Final = 5.0
_RIGHTS_CHANGED: Final = 1008
"""Of RFC 6455: closed for a policy. JupyterLab connects again, with the rights of then."""
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class _Open:
    socket: weakref.ref[Any]
    level: Level
    token: str


class TeamRights:
    """Who may do what here; `whoami` asks the Hub whose a token is, by its own document."""

    def __init__(
        self,
        team: Name,
        whoami: Callable[[str], Awaitable[dict[str, Any] | None]],
        token_of: Callable[[JupyterHandler], str | None],
    ) -> None:
        self.team = team
        self._whoami = whoami
        self.token_of = token_of
        self._open: list[_Open] = []

    def level_of(self, user: User) -> Level | None:
        """Return what somebody is here, by what the Hub has said of them."""
        return self._level(getattr(user, "hub_user", None))

    def admit(self, handler: JupyterHandler, user: User) -> None:
        """Let a request pass, or not.

        Raises:
            HTTPError: 403, with the reason.
        """
        method = handler.request.method or "GET"
        if getattr(getattr(handler, method.lower(), None), "__allow_unauthenticated", False):
            return
        level = self.level_of(user)
        if level is None:
            raise HTTPError(403, f"{user.username} is not in the team {self.team}.")
        socket = handler.request.headers.get("Upgrade", "").lower() == "websocket"
        if not level.covers(Level.MEMBER) and not getattr(handler, ONLY_READS, False):
            resource = getattr(handler, "auth_resource", "")
            if method not in _READING or (socket and not permits(level, "execute", resource)):
                raise HTTPError(
                    403,
                    f"{user.username} is a viewer of the team {self.team}, and may look but "
                    "neither change nor run anything. Ask a lead of the team.",
                )
        if socket:
            self._open.append(_Open(weakref.ref(handler), level, self.token_of(handler) or ""))

    async def look_again(self) -> None:
        """Close the sockets of those whose rights are others than when they opened them."""
        looked_at, self._open = self._open, []
        for each in looked_at:
            socket = each.socket()
            if socket is None:
                continue
            if socket.ws_connection is None or await self._holds(each):
                self._open.append(each)  # without a connection, it is being opened or freed
            else:
                socket.close(_RIGHTS_CHANGED, "Your rights in this team have changed.")

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            try:
                await self.look_again()
            except Exception:  # noqa: BLE001 - nobody would be looked at any more
                app_log.exception("Whether people still belong to the team could not be seen.")

    async def _holds(self, each: _Open) -> bool:
        try:
            said = await self._whoami(each.token)
        except HTTPError as error:
            # a Hub that is restarted is not felt; what it said last goes on to hold
            app_log.warning("The Hub does not say who is connected: %s", error)
            return True
        return self._level(said) == each.level

    def _level(self, said: dict[str, Any] | None) -> Level | None:
        if not said or said.get("kind") != "user":
            return None
        return level_in(
            self.team,
            str(said.get("name")),
            said.get("groups") or (),
            admin=said.get("admin") is True,
        )


def token_of_person(handler: JupyterHandler) -> str | None:
    """Return the token of whoever asks, in the server of a team; None in a person's own.

    Raises:
        HTTPError: 403; whoever asks has shown none.
    """
    rights = handler.settings.get(SETTING)
    if not isinstance(rights, TeamRights):
        return None
    token = rights.token_of(handler)
    if not token:
        raise HTTPError(403, "Sign in at the Hub, so that you act in your own name.")
    return token


def seen_by(handler: object, model: dict[str, Any]) -> dict[str, Any]:
    """Return a file or directory as whoever asks has it: JupyterLab says that it is read-only."""
    rights = handler.settings.get(SETTING) if isinstance(handler, JupyterHandler) else None
    if not isinstance(rights, TeamRights) or not isinstance(handler, JupyterHandler):
        return model
    level = rights.level_of(handler.current_user)
    if level is not None and level.covers(Level.MEMBER):
        return model
    return {**model, "writable": False}


class TeamAuthorizer(Authorizer):
    """Asks the `TeamRights` of this server; without any, nobody may do anything."""

    def is_authorized(
        self, handler: JupyterHandler, user: User, action: str, resource: str
    ) -> bool:
        rights = handler.settings.get(SETTING)
        if not isinstance(rights, TeamRights):
            return False
        return permits(
            rights.level_of(user),
            "read" if getattr(handler, ONLY_READS, False) else action,
            resource,
        )
