"""Signing in at the Hub (OAuth code flow with PKCE), and out; tokens for machines.

A sign-in that has begun is remembered in a cookie of its own, which only this server can read: the
state that comes back from the Hub must be the one in it, so nobody can have another person finish a
sign-in that they began.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from fastapi import FastAPI, HTTPException, Request, status
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from element_jupyter.core.sign_in import (
    SIGN_IN_SECONDS,
    Begun,
    cookie_suffix,
    own_path,
    read_begun,
)

if TYPE_CHECKING:
    from element_jupyter.provider.auth.manager import HubAuthManager

LOGIN_COOKIE: Final = "element-airflow-login-"
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


class _SignIn:
    def __init__(self, manager: HubAuthManager) -> None:
        self._manager = manager
        self._hub = manager.hub
        self._secure = urlsplit(self._hub.public_url).scheme == "https"

    async def login(self, next: str | None = None) -> Response:
        """Send the browser to the Hub."""
        prefix, origin = f"{self._hub.prefix}/", self._hub.public_url
        begun = Begun.anew(own_path(next, prefix=prefix, origin=origin))
        response = RedirectResponse(
            begun.authorize_path(self._hub.client_id, self._hub.redirect_path),
            status.HTTP_302_FOUND,
            headers=_NO_STORE,
        )
        response.set_cookie(
            LOGIN_COOKIE + cookie_suffix(begun.state),
            self._manager.seal(begun.model_dump_json()),
            max_age=SIGN_IN_SECONDS,
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
        cookie = LOGIN_COOKIE + cookie_suffix(state)
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

    async def _finish(self, code: str, begun: Begun) -> Response:
        try:
            token = await self._exchange(code, begun.verifier)
            user = await self._manager.user_of_hub_token(token)
        except HTTPException as refusal:
            return self._page(str(refusal.detail), refusal.status_code)
        answer = RedirectResponse(begun.next, status.HTTP_302_FOUND, headers=_NO_STORE)
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

    def _begun(self, cookie: str | None, state: str) -> Begun | None:
        text = self._manager.unseal(cookie, SIGN_IN_SECONDS) if cookie and state else None
        return read_begun(text, state) if text is not None else None

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
