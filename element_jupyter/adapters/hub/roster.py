"""Everybody whom the Hub knows, with their teams: listed in the background, and remembered.

Thousands of people come in dozens of pages, so whoever asks gets what was listed last, and a new
list is fetched behind their back once that is old: the longer one takes, the longer it is good for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.teams import Level, teams_of_groups
from element_jupyter.core.values import Name

log = logging.getLogger(__name__)

_FRESHEST_SECONDS: Final = 5.0
_OLDEST_SECONDS: Final = 60.0
_SHARE: Final = 20
"""Of the time, listing takes no more than one part in so many."""
_PAGE: Final = 200
_TIMEOUT: Final = httpx.Timeout(30.0, connect=3.0)

Roster = Mapping[str, Mapping[Name, Level]]
"""People, each with their level in each team; empty for who is suspended."""


class HubRoster:
    """Lists people with the control plane's own token, which needs `list:users`."""

    def __init__(
        self, api_url: str, token_file: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`api_url` ends in `/hub/api`."""
        self._http = httpx.AsyncClient(base_url=api_url, timeout=_TIMEOUT, trust_env=False)
        self._token_file = token_file
        self._clock = clock
        self._known: Roster | None = None
        self._fresh_until = 0.0
        self._listing: asyncio.Task[Roster] | None = None

    async def close(self) -> None:
        if self._listing is not None and not self._listing.done():
            self._listing.cancel()
            await asyncio.wait([self._listing])
        await self._http.aclose()

    async def everyone(self) -> Roster:
        """Return all people of the Hub, as they were about a minute ago at most.

        Raises:
            Unavailable: the Hub does not answer, and never has.
        """
        known = self._known
        if known is not None and self._clock() < self._fresh_until:
            return known
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list())
            self._listing.add_done_callback(_heard)
        # one who gives up must not take the answer from the others
        return known if known is not None else await asyncio.shield(self._listing)

    async def _list(self) -> Roster:
        began = self._clock()
        found: dict[str, Mapping[Name, Level]] = {}
        while people := await self._page(len(found)):
            before = len(found)
            for person in people:
                found[str(person["name"])] = teams_of_groups(person.get("groups") or ())
            if len(people) < _PAGE or len(found) == before:
                break
        self._known = {
            name: levels for name, levels in found.items() if team_of_account(name) is None
        }
        took = self._clock() - began
        good_for = min(_OLDEST_SECONDS, max(_FRESHEST_SECONDS, took * _SHARE))
        self._fresh_until = self._clock() + good_for
        return self._known

    async def _page(self, offset: int) -> list[dict[str, Any]]:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
            answer = await self._http.get(
                "/users",
                params={"limit": _PAGE, "offset": offset},
                headers={"Authorization": f"token {token}"},
            )
            said = answer.json() if answer.is_success else None
        except (OSError, httpx.HTTPError, ValueError) as error:
            raise _silent() from error
        if not isinstance(said, list):
            why = "refuses" if answer.status_code == HTTPStatus.FORBIDDEN else "cannot"
            raise Unavailable(
                f"The Hub {why} to list its people (status {answer.status_code}).",
                "Its service 'element' needs the scope list:users.",
            )
        return said


def _silent() -> Unavailable:
    return Unavailable("The Hub does not answer, so its people cannot be listed.", "Try again.")


def _heard(task: asyncio.Task[Roster]) -> None:
    if not task.cancelled() and isinstance(error := task.exception(), ElementError):
        log.warning("people are listed later: %s", error.message)
