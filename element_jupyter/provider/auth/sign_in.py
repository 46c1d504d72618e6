"""Signing in at the Hub (OAuth code flow with PKCE), and out; tokens for machines.

A sign-in that has begun is remembered in a cookie of its own, which only this server can read: the
state that comes back from the Hub must be the one in it, so nobody can have another person finish a
sign-in that they began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from fastapi import FastAPI, HTTPException, Request, status
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from element_jupyter.core.orchestration import HubAddress
    from element_jupyter.provider.auth.manager import HubAuthManager

LOGIN_COOKIE: Final = "element-airflow-login-"
_LOGIN_SECONDS: Final = 600
_STATE_PREFIX: Final = 12
_LONGEST_NEXT: Final = 2000
"""A longer address is not kept: a cookie has 4 kB."""
_NO_STORE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def application(manager: HubAuthManager) -> FastAPI:
    """Return the routes that Airflow mounts under `/auth`."""
    app = FastAPI(title="Sign-in at the Hub", docs_url=None, redoc_url=None, openapi_url=None)
    routes = _SignIn(manager)
    app.get("/login")(routes.login)
    app.get("/callback")(routes.callback)
    app.get("/logout")(routes.logout)
    app.post("/token")(routes.token)
    return app


def own_path(target: str | None, hub: HubAddress) -> str:
    """Return the path of a page of Airflow; the first page for whatever is not one.

    Airflow's own pages give the whole address, so one of our origin is taken as its path.
    """
    first = f"{hub.prefix}/"
    if not target or len(target) > _LONGEST_NEXT or not target.isprintable() or "\\" in target:
        return first
    try:
        parts, origin = urlsplit(target), urlsplit(hub.public_url)
    except ValueError:
        return first
    if (parts.scheme, parts.netloc) not in {("", ""), (origin.scheme, origin.netloc)}:
        return first
    segments = parts.path.split("/")
    if not parts.path.startswith(first) or {"..", ".", "%2e", "%2e%2e"} & set(segments):
        return first
    return parts.path + (f"?{parts.query}" if parts.query else "")


class _SignIn:
    def __init__(self, manager: HubAuthManager) -> None:
        self._manager = manager
        self._hub = manager.hub
        self._secure = urlsplit(self._hub.public_url).scheme == "https"

    async def login(self, next: str | None = None) -> Response:
        """Send the browser to the Hub."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = {
            "client_id": self._hub.client_id,
            "redirect_uri": self._hub.redirect_path,
            "response_type": "code",
            "state": state,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        begun = {"state": state, "verifier": verifier, "next": own_path(next, self._hub)}
        response = RedirectResponse(
            f"/hub/api/oauth2/authorize?{urlencode(query)}",
            status.HTTP_302_FOUND,
            headers=_NO_STORE,
        )
        response.set_cookie(
            LOGIN_COOKIE + state[:_STATE_PREFIX],
            self._manager.seal(json.dumps(begun)),
            max_age=_LOGIN_SECONDS,
            path=f"{self._hub.prefix}/auth/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def callback(
        self, request: Request, state: str = "", code: str = "", error: str = ""
    ) -> Response:
        """Take what the Hub answered; set Airflow's cookie."""
        cookie = LOGIN_COOKIE + state[:_STATE_PREFIX]
        begun = self._begun(request.cookies.get(cookie), state)
        if begun is None:
            answer: Response = self._page(
                "This sign-in was not begun in this browser, or too long ago.",
                status.HTTP_400_BAD_REQUEST,
            )
        elif error or not code:
            answer = self._page("The Hub did not sign you in.", status.HTTP_403_FORBIDDEN)
        else:
            answer = await self._finish(code, begun)
        answer.delete_cookie(cookie, path=f"{self._hub.prefix}/auth/")
        return answer

    async def _finish(self, code: str, begun: dict[str, Any]) -> Response:
        try:
            token = await self._exchange(code, begun["verifier"])
            user = await self._manager.user_of_hub_token(token)
        except HTTPException as refusal:
            return self._page(str(refusal.detail), refusal.status_code)
        answer = RedirectResponse(begun["next"], status.HTTP_302_FOUND, headers=_NO_STORE)
        answer.set_cookie(
            COOKIE_NAME_JWT_TOKEN,
            self._manager.generate_jwt(user),
            path=f"{self._hub.prefix}/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    async def logout(self) -> Response:
        """Forget Airflow's cookie, then have the Hub end its session."""
        answer = RedirectResponse("/hub/logout", status.HTTP_302_FOUND, headers=_NO_STORE)
        for path in (f"{self._hub.prefix}/", "/"):
            answer.delete_cookie(COOKIE_NAME_JWT_TOKEN, path=path, httponly=True)
        return answer

    async def token(self, request: Request) -> Response:
        """Give a token of Airflow for a token of the Hub, whose end is its end too."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not given:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "Give a token of the Hub: Authorization: Bearer <token>.",
            )
        user = await self._manager.user_of_hub_token(given.strip())
        return JSONResponse(
            {"access_token": self._manager.generate_jwt(user)},
            status.HTTP_201_CREATED,
            headers=_NO_STORE,
        )

    def _begun(self, cookie: str | None, state: str) -> dict[str, Any] | None:
        text = self._manager.unseal(cookie, _LOGIN_SECONDS) if cookie and state else None
        if text is None:
            return None
        begun: dict[str, Any] = json.loads(text)
        return begun if hmac.compare_digest(begun["state"].encode(), state.encode()) else None

    async def _exchange(self, code: str, verifier: str) -> str:
        try:
            async with httpx.AsyncClient(timeout=15.0, trust_env=False) as client:
                response = await client.post(
                    f"{self._hub.api_url}/oauth2/token",
                    data={
                        "client_id": self._hub.client_id,
                        "client_secret": self._hub.token_file.read_text().strip(),
                        "grant_type": "authorization_code",
                        "code": code,
                        "redirect_uri": self._hub.redirect_path,
                        "code_verifier": verifier,
                    },
                )
        except httpx.TransportError as error:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE, "The Hub does not answer. Try again."
            ) from error
        if response.is_error:
            raise HTTPException(
                status.HTTP_403_FORBIDDEN, "The Hub did not accept this sign-in. Try again."
            )
        return str(response.json()["access_token"])

    def _page(self, sentence: str, code: int) -> HTMLResponse:
        return HTMLResponse(
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Sign-in</title>"
            "<body style='font: 16px/1.5 system-ui, sans-serif; margin: 4rem auto; "
            "max-width: 36rem'>"
            f"<h1 style='font-size: 1.25rem'>{html.escape(sentence)}</h1>"
            f"<p><a href='{self._hub.prefix}/auth/login'>Sign in again</a> · "
            f"<a href='{self._hub.prefix}/auth/logout'>Sign out</a></p>",
            code,
            headers=_NO_STORE | {"Content-Security-Policy": _PAGE_POLICY},
        )
