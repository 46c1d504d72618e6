"""What is refused before Airflow looks at a request, since Airflow 3.3.2 would not.

- A change that another site's page began: the cookie alone says nothing of who meant it.
- A reading request with a body: `GET /backfills` would check the DAG that the body names, and list
  those of the DAG that the address names.
- One line of the audit log with a `dag_id`: a line that belongs to no DAG would be checked against
  that one.

Sign-in's own routes never see an older sign-in's cookie: once expired, Airflow would remove it in
the very answer that brings the new one, and the browser would go round for ever.
"""

from __future__ import annotations

import json
import re
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOG_LINE: Final = re.compile(r"/api/v2/eventLogs/[^/]+/?$")


class Guard:
    """An ASGI application around Airflow's."""

    def __init__(self, app: Application, *, origin: str, prefix: str) -> None:
        self._app = app
        self._origin = origin
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await _refuse(send, *refusal)
            return
        if self._path(scope).startswith("/auth/"):
            scope = {**scope, "headers": _without_sign_in(scope["headers"])}
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        path = self._path(scope)
        if path.startswith("/execution/"):  # tasks, which have tokens of their own and no cookie
            return None
        if scope["method"] in _READING:
            if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
                return 400, "A request that only reads has no body."
            if _LOG_LINE.search(path) and b"dag_id" in parse_qs(scope["query_string"]):
                return 400, "A line of the log is named by its number alone."
            return None
        if b"authorization" not in headers and not self._is_ours(headers):
            return 403, "This change was not asked for by a page of this platform."
        return None

    def _is_ours(self, headers: dict[bytes, bytes]) -> bool:
        if (site := headers.get(b"sec-fetch-site")) is not None:
            return site == b"same-origin"
        return headers.get(b"origin", b"").decode("latin-1") == self._origin

    def _path(self, scope: Scope) -> str:
        path: str = scope["path"]
        return path.removeprefix(self._prefix)


def _without_sign_in(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = []
    for name, value in headers:
        if name.lower() == b"cookie":
            try:
                cookies = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            cookies.pop(COOKIE_NAME_JWT_TOKEN, None)
            value = "; ".join(f"{m.key}={m.coded_value}" for m in cookies.values()).encode()  # noqa: PLW2901
        kept.append((name, value))
    return kept


async def _refuse(send: Send, code: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
