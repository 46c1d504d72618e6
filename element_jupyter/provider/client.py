"""The control plane's REST, for Airflow's processes: `Service` blocks, `AsyncService` awaits.

Both raise what the control plane answered with as `core.errors`, and `Unavailable` when it does not
answer at all. Answers are JSON documents; callers take the few keys that they need.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import ElementError, Problem, Unavailable
from element_jupyter.provider.settings import Settings, settings

Document = dict[str, Any]

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_SILENCE_SECONDS: Final = 90.0
"""An event stream that says nothing, not even a comment, for so long is taken for dead."""


def run_path(run_id: str) -> str:
    """Return the path of a run."""
    return f"/runs/{quote(run_id, safe='')}"


class Service:
    """The control plane, for code that may block."""

    def __init__(self, given: Settings | None = None) -> None:
        self._settings = given or settings()
        self._client = httpx.Client(
            base_url=_base(self._settings), timeout=_TIMEOUT, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str | int) -> Document:
        answered: Document = self._call("GET", path, params=parameters).json()
        return answered

    def get_text(self, path: str) -> str:
        return self._call("GET", path).text

    def post(self, path: str, body: Document | None = None) -> Document:
        answered: Document = self._call("POST", path, json=body or {}).json()
        return answered

    def _call(self, verb: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(
                verb, path, headers=_authorization(self._settings), **options
            )
        except httpx.TransportError as error:
            raise _silent(self._settings, error) from error
        return _checked(response)


class AsyncService:
    """The control plane, for the triggerer's event loop; one connection pool for all triggers."""

    _of_loop: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncService]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, given: Settings | None = None) -> None:
        self._settings = given or settings()
        self._client = httpx.AsyncClient(
            base_url=_base(self._settings),
            timeout=_TIMEOUT,
            trust_env=False,
            # a stream per running task is open
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    @classmethod
    def shared(cls) -> AsyncService:
        """Return the one of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loop:
            cls._of_loop[loop] = cls()
        return cls._of_loop[loop]

    async def close(self) -> None:
        """Close the connections, and be shared no longer."""
        self._of_loop.pop(asyncio.get_running_loop(), None)
        await self._client.aclose()

    async def get(self, path: str, **parameters: str | int) -> Document:
        answered: Document = (await self._call("GET", path, params=parameters)).json()
        return answered

    async def post(self, path: str, body: Document | None = None) -> Document:
        answered: Document = (await self._call("POST", path, json=body or {})).json()
        return answered

    async def events(self, run_id: str, after: int) -> AsyncIterator[tuple[int, Document]]:
        """Yield a run's events after a sequence number, with theirs, until the stream ends.

        Raises:
            Unavailable: the connection could not be made, or broke.
        """
        headers = {
            **await _authorization_async(self._settings),
            "Accept": "text/event-stream",
            "Last-Event-ID": str(after),
        }
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=5.0)
        path = f"{run_path(run_id)}/events"
        try:
            async with self._client.stream(
                "GET", path, params={"after": after}, headers=headers, timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                    _checked(response)
                number, data = after, ""
                async for line in response.aiter_lines():
                    field, _, value = line.partition(":")
                    if field == "id":
                        number = int(value)
                    elif field == "data":
                        data += value
                    elif not line and data:
                        yield number, json.loads(data)
                        data = ""
        except httpx.TransportError as error:
            raise _silent(self._settings, error) from error

    async def _call(self, verb: str, path: str, **options: Any) -> httpx.Response:
        headers = await _authorization_async(self._settings)
        try:
            response = await self._client.request(verb, path, headers=headers, **options)
        except httpx.TransportError as error:
            raise _silent(self._settings, error) from error
        return _checked(response)


def _base(given: Settings) -> str:
    return f"{given.service_url.rstrip('/')}/api/v1"


def _authorization(given: Settings) -> dict[str, str]:
    # read at each call, so that a new token works without a restart
    try:
        token = given.token_file.read_text().strip()
    except OSError as error:
        raise Unavailable(
            f"The token of the control plane cannot be read: {error.strerror}.",
            f"Check [element] token_file in airflow.cfg: {given.token_file}.",
        ) from error
    return {"Authorization": f"Bearer {token}"}


async def _authorization_async(given: Settings) -> dict[str, str]:
    return await asyncio.to_thread(_authorization, given)


def _silent(given: Settings, error: httpx.TransportError) -> Unavailable:
    return Unavailable(
        f"The control plane at {given.service_url} does not answer ({type(error).__name__}).",
        "Nothing is lost; it is asked again. See whether `element up` runs: element status.",
    )


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = Problem(
            code="unavailable" if response.status_code >= 500 else "failed",
            message=f"The control plane answered {response.status_code} to "
            f"{response.request.method} {response.request.url.path}.",
        )
    if response.status_code in {502, 503, 504}:
        raise Unavailable(problem.message, problem.hint)
    raise ElementError.from_problem(problem)
