"""The control plane as the Jupyter server sees it: where it is, and one way to ask it.

A Hub tells both address and token to the server that it starts. Without one they are files of the
data directory, which the platform writes when it starts. That may be after this server did, and
again with another port: so both are read when they are needed first, and once more when what was
read is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import ElementError, Problem, Unavailable

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 60.0
START_HINT = "Start it with `element up`."


class Address(NamedTuple):
    """Where the control plane answers, without `/api/v1`, and the token that it wants."""

    url: str
    token: str


class ControlPlane:
    """Asks the control plane, with the token that never leaves this process."""

    def __init__(self, state_file: Path, token_file: Path, told: Address | None = None) -> None:
        """Name the files of the platform here, or what a Hub has `told` instead."""
        self._told = told
        self._state_file = state_file
        self._token_file = token_file
        self._address: Address | None = None
        self._client = httpx.AsyncClient(
            trust_env=False,
            # one client serves all requests: nothing of one may stay for the next
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # every open stream of events holds a connection, so their number has no limit here
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        endless: bool = False,
        token: str | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request for `target` (path and query) and yield the answer, its body unread.

        An `endless` answer may be silent for as long as it likes. A `token` is that of whoever
        asks, in a server that several people use; without one it is this server's.

        Raises:
            Unavailable: the platform is not running, does not answer, or refuses the token.
        """
        timeout = httpx.Timeout(
            READ_TIMEOUT_SECONDS,
            connect=CONNECT_TIMEOUT_SECONDS,
            read=None if endless else READ_TIMEOUT_SECONDS,
        )
        answer = await self._send(method, target, dict(headers), content, timeout, token=token)
        try:
            yield answer
        except httpx.TransportError as error:
            raise _silent(error) from error
        finally:
            await answer.aclose()

    async def post(
        self, path: str, body: Mapping[str, object], *, token: str | None = None
    ) -> bytes:
        """Post a small document of the Jupyter server's own; return the answer.

        `token` is as in `ask`.

        Raises:
            ElementError: as the control plane answered; Unavailable: as `ask`.
        """
        async with self.ask(
            "POST",
            f"/api/v1{path}",
            headers={"Content-Type": "application/json"},
            content=json.dumps(body).encode(),
            token=token,
        ) as answer:
            said = await answer.aread()
        if answer.is_error:
            try:
                problem = Problem.model_validate_json(said)
            except ValidationError as error:
                raise Unavailable(
                    f"The Element platform answered with status {answer.status_code}.", "Try again."
                ) from error
            raise ElementError.from_problem(problem)
        return said

    async def _send(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        content: bytes,
        timeout: httpx.Timeout,
        *,
        token: str | None,
    ) -> httpx.Response:
        known = self._address
        address = known or await self._read()
        while True:
            request = self._client.build_request(
                method,
                address.url + target,
                headers={**headers, "Authorization": f"Bearer {token or address.token}"},
                content=content or None,
                timeout=timeout,
            )
            try:
                answer = await self._client.send(request, stream=True)
            except httpx.ConnectError as error:
                refusal = Unavailable("The Element platform is not running.", START_HINT)
                refusal.__cause__ = error
            except httpx.TransportError as error:
                raise _silent(error) from error
            else:
                if answer.status_code != httpx.codes.UNAUTHORIZED:
                    self._address = address
                    return answer
                await answer.aclose()
                refusal = Unavailable(
                    "The Element platform does not accept this server's token.",
                    "Restart the platform with `element up`."
                    if self._told is None
                    else "Stop this server at the Hub, and start it again.",
                )
            # neither refusal has changed anything over there, so asking again is safe
            self._address = None
            if known is None:
                raise refusal
            known, address = None, await self._read()

    async def _read(self) -> Address:
        if self._told is not None:
            return self._told
        try:
            return await asyncio.to_thread(self._read_files)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable("The Element platform is not running.", START_HINT) from error

    def _read_files(self) -> Address:
        state = json.loads(self._state_file.read_bytes())
        token = self._token_file.read_text(encoding="ascii").strip()
        return Address(str(state["service_url"]).rstrip("/"), token)


def _silent(error: httpx.TransportError) -> Unavailable:
    if isinstance(error, httpx.TimeoutException):
        return Unavailable("The Element platform took too long to answer.", "Try again.")
    return Unavailable("The Element platform did not answer.", "Try again in a moment.")
