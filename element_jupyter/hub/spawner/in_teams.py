"""Teams of whoever owns a server: what they may reach, kept true while the server runs.

The Hub asks a directory about somebody only when they, or a token of theirs, ask the Hub for
something. Who is no member any more and just computes would stay one; so it is asked here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from jupyterhub.httpclient import fetch

from element_jupyter.core.confinement import Account
from element_jupyter.core.errors import ElementError
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.teams import Level, teams_of_groups
from element_jupyter.core.values import Name

LOOK_SECONDS: Final = 20
"""How often a server that runs is looked at, and its owner asked about."""
_TOKEN_SECONDS: Final = 24 * 3600
_TIMEOUT: Final = aiohttp.ClientTimeout(30)


class TeamPlaces(Protocol):
    """The directories of teams; see `adapters.team_directories`."""

    def path_of(self, team: Name) -> Path: ...
    def enter(self, account: Account, teams: Mapping[Name, Level]) -> Account: ...
    def follow(self, uid: int, teams: Mapping[Name, Level]) -> None: ...


def levels_of(user: Any) -> dict[Name, Level]:
    """Return what the owner of a server is to which teams, as the Hub knows it now.

    The account of a team is its member, and suspended never: it is nobody.
    """
    team = team_of_account(user.name)
    if team is not None:
        return {user.name: Level.LEAD, team: Level.MEMBER}
    levels = teams_of_groups(group.name for group in user.orm_user.groups)
    return levels if user.name in levels else {}


def shared_by(user: Any) -> dict[Name, Level]:
    """Return the teams that share a directory: all but the one of the owner alone."""
    return {team: level for team, level in levels_of(user).items() if team != user.name}


class Rights:
    """Keeps what the processes of one server may reach to what its owner may."""

    def __init__(self, places: TeamPlaces, spawner: Any, uid: int) -> None:
        self._places = places
        self._spawner = spawner
        self._uid = uid
        self._token = ""
        self._looked_at = time.monotonic()

    async def follow(self) -> None:
        """Have the Hub ask who the owner is now, and take away what they have lost."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS / 2:
            return
        self._looked_at = now
        await self._ask()
        user = self._spawner.user
        try:
            await asyncio.to_thread(self._places.follow, self._uid, shared_by(user))
        except ElementError as error:
            self._spawner.log.error("%s: %s %s", user.name, error.message, error.hint)  # noqa: TRY400

    async def _ask(self) -> None:
        user = self._spawner.user
        if team_of_account(user.name) is not None:
            return
        self._token = self._token or self._spawner.api_token or self._new_token()
        try:
            # the Hub's own client: one of ours would read all certificates first, on the Hub's loop
            answer = await fetch(
                f"{self._spawner.hub.api_url}/user",
                headers={"Authorization": f"token {self._token}"},
                timeout=_TIMEOUT,
                raise_for_status=False,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            self._spawner.log.warning("The Hub does not answer itself: %r", error)
            return
        answer.release()
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            self._token = self._new_token()

    def _new_token(self) -> str:
        return str(
            self._spawner.user.new_api_token(
                note="Asks who the owner of a server is now",
                expires_in=_TOKEN_SECONDS,
                scopes=["read:users:name!user"],
            )
        )
