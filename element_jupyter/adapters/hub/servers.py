"""Servers of the Hub: started, looked at and stopped, for people, by the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import httpx
from pydantic import JsonValue

from element_jupyter.core.errors import (
    Conflict,
    ElementError,
    Forbidden,
    Invalid,
    NotFound,
    OverQuota,
    Unavailable,
)

_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
"""The Hub answers a start when the server is up, or after its `slow_spawn_timeout` of 10 s."""

_PAGE: Final = 100

_REFUSALS: Final[dict[int, type[ElementError]]] = {
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.TOO_MANY_REQUESTS: OverQuota,
}


class HubSilent(Unavailable):
    """Nothing answers where the Hub should be; it may be back in a moment."""


class HubServers:
    """Asks the Hub with the control plane's own token."""

    def __init__(self, api_url: str, token: str) -> None:
        """`api_url` ends in `/hub/api`."""
        self._http = httpx.AsyncClient(
            base_url=api_url,
            headers={"Authorization": f"token {token}"},
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def start(self, person: str, server: str, options: Mapping[str, JsonValue]) -> bool:
        """Start a named server of a person; False when it is there already, or being started.

        Raises:
            NotFound: the Hub does not know the person.
            Forbidden, OverQuota, Invalid: the Hub refuses, with its sentence.
            Unavailable: the Hub does not answer, or could not start it.
        """
        answer = await self._ask(
            "POST", f"/users/{person}/servers/{server}", json={"user_options": dict(options)}
        )
        if answer.status_code in {HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
            return True
        sentence = _sentence(answer)
        if answer.status_code == HTTPStatus.BAD_REQUEST and (
            "already running" in sentence or "pending" in sentence
        ):
            return False
        raise _refusal(answer.status_code, sentence)

    async def look(self, person: str, server: str) -> dict[str, Any] | None:
        """Return what the Hub says of a server; None when it does not run, nor is starting.

        Raises:
            Unavailable: the Hub does not answer.
        """
        answer = await self._ask("GET", f"/users/{person}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if answer.is_error:
            raise _refusal(answer.status_code, _sentence(answer))
        found = answer.json().get("servers", {}).get(server)
        return found if found and (found.get("ready") or found.get("pending")) else None

    async def running(self) -> set[tuple[str, str]]:
        """Return people and names of all servers that run; an editor's name is empty.

        Raises:
            Unavailable: the Hub does not answer.
        """
        return set(await self.last_activity())

    async def last_activity(self) -> dict[tuple[str, str], datetime]:
        """Return when the servers that run were last used, as the Hub knows it.

        Raises:
            Unavailable: the Hub does not answer.
        """
        found: dict[tuple[str, str], datetime] = {}
        offset = 0
        while True:
            page = {"state": "active", "limit": _PAGE, "offset": offset}
            answer = await self._ask("GET", "/users", params=page)
            if answer.is_error:
                raise _refusal(answer.status_code, _sentence(answer))
            people = answer.json()
            for person in people:
                for name, server in (person.get("servers") or {}).items():
                    said = server.get("last_activity") or server.get("started")
                    at = datetime.fromisoformat(said) if said else datetime.now(UTC)
                    found[person["name"], name] = at
            if len(people) < _PAGE:
                return found
            offset += _PAGE

    async def stop(self, person: str, server: str) -> None:
        """Stop a server, and forget it unless it is an editor; does nothing when it is gone.

        Raises:
            Unavailable: the Hub does not answer.
        """
        path = f"/users/{person}" + (f"/servers/{server}" if server else "/server")
        answer = await self._ask("DELETE", path, json={"remove": bool(server)})
        gone = {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}
        if answer.is_error and answer.status_code not in gone:
            raise _refusal(answer.status_code, _sentence(answer))

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise HubSilent(
                "JupyterHub does not answer.", "It is started by `element up`; see its log."
            ) from error


def _sentence(answer: httpx.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return ""
    return str(said.get("message") or "") if isinstance(said, dict) else ""


def _refusal(status: int, sentence: str) -> ElementError:
    if status in _REFUSALS:
        return _REFUSALS[status](sentence or f"The Hub refused it with status {status}.")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Invalid(sentence or f"The Hub refused it with status {status}.")
    return Unavailable(
        f"The Hub could not start it: {sentence or f'status {status}'}.", "See the Hub's log."
    )
