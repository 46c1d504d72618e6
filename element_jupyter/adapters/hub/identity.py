"""Who people are, as the Hub tells it: whose a token is, and what somebody is now.

An answer is good for twenty seconds, a refusal for five. While the Hub does not answer, what it
said last counts for another minute: nobody gains by it what they did not have, and a Hub that is
restarted is not felt. After that nobody is let in, and the reason is said (503, never 401).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from element_jupyter.core.access import Person, Visitor
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.team_servers import level_in, team_of_account
from element_jupyter.core.teams import teams_of_groups

FRESH_SECONDS: Final = 20.0
REFUSED_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0
"""How long an answer counts on when the Hub does not give another."""

_KEPT: Final = 10_000
_TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,256}")
_GRANTING: Final = ("access:services", "access:services!service=element")
"""Scopes of a token that may be used here: those of a person's server have the second."""


_SERVER: Final = re.compile(r"access:servers!server=([^/]+)/")
"""The scope by which a person's editor, or the server of a team, may be used."""


class HubPeople:
    """Asks the Hub who people are."""

    def __init__(
        self, api_url: str, token_file: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`api_url` ends in `/hub/api`; `token_file` holds the token of this service.

        It needs the scope `read:users`.
        """
        self._token_file = token_file
        self._http = httpx.AsyncClient(base_url=api_url, timeout=_TIMEOUT, trust_env=False)
        self._of_tokens = _Answers(clock)
        self._of_names = _Answers(clock)

    async def close(self) -> None:
        await self._http.aclose()

    async def whoami(self, token: str) -> Person | None:
        """Return whose a token is; None when it is nobody's, or not for use here.

        That is the token of a service or of a run, and one whose scopes were narrowed. Where all
        it opens is the server of one team, its holder is a `Visitor` of that team.

        Raises:
            Unavailable: the Hub does not answer, and has not lately.
        """
        if not _TOKEN.fullmatch(token):
            return None
        key = hashlib.sha256(token.encode()).digest()

        async def ask() -> Person | None:
            # this is also when the Hub looks again at what the directory says of its holder
            said = await self._ask("/user", token)
            if said is None or said.get("kind") != "user":
                return None
            return _person(said) if _is_meant_for_us(said) else _visitor(said)

        return await self._of_tokens.get(key, ask)

    async def person(self, name: str) -> Person | None:
        """Return what somebody is now; None when the Hub knows nobody of that name.

        Raises:
            Unavailable: the Hub does not answer, and has not lately, or refuses this service.
        """

        async def ask() -> Person | None:
            said = await self._ask(f"/users/{name}", self._own_token(), own=True)
            return None if said is None else _person(said)

        return await self._of_names.get(name.encode(), ask)

    def _own_token(self) -> str:
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"The token of the control plane for the Hub, {self._token_file}, cannot be read.",
                "Restart the platform with `element up`.",
            ) from error

    async def _ask(self, path: str, token: str, *, own: bool = False) -> dict[str, Any] | None:
        """Return a document; None where the Hub says that there is none for this token."""
        try:
            answer = await self._http.get(path, headers={"Authorization": f"token {token}"})
            said = answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError) as error:
            raise _silent() from error
        if isinstance(said, dict):
            return said
        refusals = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        if own:
            refusals = {HTTPStatus.NOT_FOUND}
        if answer.status_code in refusals:
            return None
        raise _silent()


def _silent() -> Unavailable:
    return Unavailable(
        "The Hub does not answer, so nobody can be recognised.", "Try again in a moment."
    )


def _is_meant_for_us(said: dict[str, Any]) -> bool:
    """Whether the scopes say so; those of all that a person may do, do."""
    scopes = set(said.get("scopes") or ())
    return not scopes.isdisjoint((*_GRANTING, "users", f"users!user={said.get('name')}"))


def _visitor(said: dict[str, Any]) -> Visitor | None:
    """Return who has signed in at the server of a team, which then holds such a token."""
    opened = [_SERVER.fullmatch(scope) for scope in said.get("scopes") or ()]
    teams = {team_of_account(match[1]) for match in opened if match}
    team = teams.pop() if len(teams) == 1 else None
    if team is None or team_of_account(str(said["name"])) is not None:
        return None
    person = _person(said)
    level = level_in(team, person.name, said.get("groups") or (), admin=person.admin)
    return Visitor(name=person.name, team=team, levels={team: level}) if level else None


def _person(said: dict[str, Any]) -> Person:
    return Person(
        name=str(said["name"]),
        levels=teams_of_groups(said.get("groups") or ()),
        admin=said.get("admin") is True,
    )


# ------------------------------------------------------------------------------------ remembering


@dataclass(frozen=True)
class _Answer:
    person: Person | None
    at: float


class _Answers:
    """What was answered to whom; each question is asked once at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # apart, so that a flood of made-up tokens drives out nobody's good answer
        self._good: OrderedDict[bytes, _Answer] = OrderedDict()
        self._bad: OrderedDict[bytes, _Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Person | None]] = {}

    async def get(self, key: bytes, ask: Callable[[], Awaitable[Person | None]]) -> Person | None:
        now = self._clock()
        known = self._good.get(key)
        if known is not None and now - known.at < FRESH_SECONDS:
            return known.person
        refused = self._bad.get(key)
        if refused is not None and now - refused.at < REFUSED_SECONDS:
            return None
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._asked(key, ask))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # one who gives up must not take the answer from the others
        return await asyncio.shield(task)

    async def _asked(
        self, key: bytes, ask: Callable[[], Awaitable[Person | None]]
    ) -> Person | None:
        asked_at = self._clock()
        try:
            person = await ask()
        except Unavailable:
            known = self._good.get(key)
            if known is None or self._clock() - known.at > FRESH_SECONDS + STALE_SECONDS:
                self._good.pop(key, None)
                raise
            return known.person
        keep, drop = (self._bad, self._good) if person is None else (self._good, self._bad)
        drop.pop(key, None)
        keep[key] = _Answer(person, asked_at)
        keep.move_to_end(key)
        if len(keep) > _KEPT:
            keep.popitem(last=False)
        return person
