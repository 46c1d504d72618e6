"""Who a token of the Hub belongs to, and what the Hub says of them now.

The Hub is asked with the person's own token: that makes it look into its directory again, and it
says no once the token is revoked or the session that it came from has ended.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog
from fastapi import HTTPException, status

from element_jupyter.core.teams import teams_of_groups
from element_jupyter.provider.auth.rights import HubUser

if TYPE_CHECKING:
    from element_jupyter.core.orchestration import HubAddress

_log = structlog.get_logger(logger_name=__name__)

FRESH_SECONDS: Final = 20.0
"""How long an answer of the Hub is used without asking again."""
KNOWN_SECONDS: Final = 300.0
"""How long one is used while the Hub does not answer."""
_KEPT: Final = 10_000
_TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
_trusted = functools.cache(httpx.create_ssl_context)
"""The certificates that are trusted; to read them takes tens of milliseconds on the loop."""


@dataclass
class _Known:
    user: HubUser | None = None
    asked_at: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class People:
    """The people of one Hub."""

    def __init__(
        self,
        hub: HubAddress,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        known_seconds: float = KNOWN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._fresh_seconds = fresh_seconds
        self._known_seconds = known_seconds
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._accepted = {"access:services", f"access:services!service={hub.service}"}

    async def of_token(self, token: str) -> HubUser:
        """Return the person that a token of the Hub belongs to.

        Raises:
            HTTPException: 401 the Hub does not know the token, 403 it is not for Airflow, 503 the
                Hub has not answered for too long.
        """
        # a digest, since what is kept in memory for long may end in a core file
        key = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        async with known.asking:  # a page asks for ten things at once
            if known.user is None or self._age(known) >= self._fresh_seconds:
                try:
                    known.user, known.asked_at = await self._ask(token), self._clock()
                except HTTPException:
                    self._known.pop(key, None)
                    raise
                except httpx.TransportError as error:
                    self._is_silent(known, error)
        if known.user is None:
            raise _silent()
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return known.user

    def _age(self, known: _Known) -> float:
        return self._clock() - known.asked_at

    def _is_silent(self, known: _Known, error: Exception) -> None:
        """Go by what is known for a while."""
        _log.warning("The Hub does not answer.", url=self._hub.api_url, error=repr(error))
        if known.user is None or self._age(known) >= self._known_seconds:
            known.user = None
            raise _silent()

    async def _ask(self, token: str) -> HubUser:
        async with httpx.AsyncClient(
            verify=_trusted(), timeout=_TIMEOUT, trust_env=False
        ) as client:
            response = await client.get(
                f"{self._hub.api_url}/user", headers={"Authorization": f"token {token}"}
            )
        if response.status_code >= 500:
            raise httpx.TransportError(f"the Hub answered {response.status_code}")
        if response.is_error:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "The Hub does not know this sign-in any longer. Sign in again.",
            )
        return self._read(response.json())

    def _read(self, answer: dict[str, Any]) -> HubUser:
        if answer.get("kind") != "user" or not self._accepted & set(answer.get("scopes", ())):
            raise HTTPException(
                status.HTTP_403_FORBIDDEN,
                "This token of the Hub does not give access to Airflow. "
                f"Make one with the scope access:services!service={self._hub.service}.",
            )
        return HubUser(
            name=answer["name"],
            levels=teams_of_groups(answer.get("groups", ())),
            admin=bool(answer.get("admin")),
        )


def _silent() -> HTTPException:
    return HTTPException(
        status.HTTP_503_SERVICE_UNAVAILABLE,
        "The Hub does not answer, so nobody can be recognised. Try again in a minute.",
    )
