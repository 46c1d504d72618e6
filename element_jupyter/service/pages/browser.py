"""Who sits at a browser: sign-in at the Hub (OAuth code flow with PKCE), its session, and its end.

A request counts as the person's own doing only when a page of ours made it. A page is given to a
browser that goes there, and to no script that asks for it; the REST interface, the other way round,
takes the session only from a script that shows what stands in our pages (`XSRF_HEADER`), and that
the browser itself says is of this origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

from pydantic import Field
from tornado.httputil import HTTPServerRequest, parse_cookie

from element_jupyter.core.access import Person, Who
from element_jupyter.core.errors import Forbidden, Invalid, Unauthenticated
from element_jupyter.core.places import SERVICE_PREFIX
from element_jupyter.core.sign_in import (
    SIGN_IN_SECONDS,
    Begun,
    cookie_suffix,
    own_path,
    read_begun,
)
from element_jupyter.service.http import Header
from element_jupyter.service.pages.sessions import SESSION_COOKIE, Session, Sessions

XSRF_HEADER: Final = "X-XSRFToken"
SIGN_IN_PATH: Final = f"{SERVICE_PREFIX}sign-in"
CALLBACK_PATH: Final = f"{SIGN_IN_PATH}/callback"
SIGN_OUT_PATH: Final = f"{SERVICE_PREFIX}sign-out"
_BEGUN_COOKIE: Final = "element-sign-in-"

Cookies = Annotated[str, Header("Cookie"), Field(description="What the browser keeps.")]


class OAuth(Protocol):
    """The Hub's side of a sign-in; see `adapters.hub.oauth`."""

    client_id: str
    redirect_path: str

    async def token_for(self, code: str, verifier: str) -> str: ...


@dataclass(frozen=True)
class Cookie:
    """What a browser is to keep; an empty text has it forget."""

    name: str
    text: str
    path: str = SERVICE_PREFIX
    seconds: int | None = None
    """None: until the browser is closed."""


@dataclass(frozen=True)
class Redirect:
    """Leads the browser on."""

    location: str
    cookies: tuple[Cookie, ...] = field(default=())


class Browser:
    """Signs browsers in and recognises them."""

    def __init__(
        self,
        oauth: OAuth,
        recognise: Callable[[str], Awaitable[Who | None]],
        *,
        public_url: str,
        sessions: Sessions | None = None,
    ) -> None:
        """`recognise` says whose a token of the Hub is, and raises for one who is suspended."""
        self._oauth = oauth
        self._recognise = recognise
        parts = urlsplit(public_url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.secure = parts.scheme == "https"
        self._sessions = sessions or Sessions()

    # --------------------------------------------------------------------------- recognising

    def session(self, request: HTTPServerRequest) -> Session | None:
        return self._sessions.of(_cookies(request))

    async def at_page(self, request: HTTPServerRequest) -> Person | None:
        """Return who goes to a page; None: nobody has signed in.

        Raises:
            Forbidden: it is a script that asks for a page, or the person is suspended.
        """
        mode = request.headers.get("Sec-Fetch-Mode", "navigate")
        place = request.headers.get("Sec-Fetch-Dest", "document")
        session = self.session(request)
        goes = request.method == "GET" and (mode, place) == ("navigate", "document")
        if not goes and not self._is_ours(request, session):
            raise Forbidden("This page can only be opened in a window of its own.")
        return await self._person(session)

    async def at_rest(self, request: HTTPServerRequest) -> Person | None:
        """Return whose page's script asks the REST interface; None: nobody has signed in.

        Raises:
            Forbidden: nothing shows that a page of ours asks, or the person is suspended.
        """
        session = self.session(request)
        if session is None:
            return None
        if not self._is_ours(request, session):
            raise Forbidden(
                "This was not asked for by a page of this platform.",
                "Open the page again, or use a token: 'Authorization: Bearer <token>'.",
            )
        return await self._person(session)

    async def _person(self, session: Session | None) -> Person | None:
        who = await self._recognise(session.hub_token) if session is not None else None
        return who if isinstance(who, Person) else None

    def _is_ours(self, request: HTTPServerRequest, session: Session | None) -> bool:
        if session is None or not session.is_shown_by(request.headers.get(XSRF_HEADER, "")):
            return False
        if (site := request.headers.get("Sec-Fetch-Site")) is not None:
            return site == "same-origin"
        return request.headers.get("Origin", "") == self.origin

    # --------------------------------------------------------------------------- signing in

    async def begin(self, services: Any, *, next: str = "") -> Redirect:
        """Send the browser to the Hub."""
        begun = Begun.anew(own_path(next, prefix=SERVICE_PREFIX, origin=self.origin))
        return Redirect(
            begun.authorize_path(self._oauth.client_id, self._oauth.redirect_path),
            (_kept(begun),),
        )

    async def finish(
        self,
        services: Any,
        *,
        cookie: Cookies = "",
        state: str = "",
        code: str = "",
        error: str = "",
        error_description: str = "",
    ) -> Redirect:
        """Take what the Hub answered, and begin a session.

        Raises:
            Invalid: this browser has not begun the sign-in.
            Forbidden: the Hub does not let them in.
        """
        cookies = _parsed(cookie)
        begun = read_begun(cookies.get(_BEGUN_COOKIE + cookie_suffix(state), ""), state)
        if begun is None:
            raise Invalid(
                "This sign-in was not begun in this browser, or too long ago.", "Sign in again."
            )
        if error or not code:
            raise Forbidden("The Hub did not sign you in.", "Sign in again.")
        token = await self._oauth.token_for(code, begun.verifier)
        if not isinstance(await self._recognise(token), Person):
            raise Forbidden("The Hub does not let you see these pages.", "Ask an administrator.")
        # never where it was not for the taking: a cookie is what the browser makes of it
        target = own_path(begun.next, prefix=SERVICE_PREFIX, origin=self.origin)
        number = self._sessions.begin(token, cookies)
        return Redirect(target, (Cookie(SESSION_COOKIE, number), _forgotten(begun.state)))

    async def sign_out(self, services: Any, *, cookie: Cookies = "") -> Redirect:
        """End the session here, and lead to where the Hub ends its own."""
        self._sessions.end(_parsed(cookie))
        return Redirect("/hub/logout", (Cookie(SESSION_COOKIE, ""),))

    def sign_in_path(self, request: HTTPServerRequest) -> str:
        """Return where somebody signs in who then comes back to this page."""
        return f"{SIGN_IN_PATH}?{urlencode({'next': request.uri or SERVICE_PREFIX})}"


def signed_out() -> Unauthenticated:
    """Say that a session has ended."""
    return Unauthenticated("You are not signed in any longer.", "Sign in again.")


def _kept(begun: Begun) -> Cookie:
    name = _BEGUN_COOKIE + cookie_suffix(begun.state)
    text = begun.model_dump_json()
    return Cookie(name, text, path=SIGN_IN_PATH, seconds=SIGN_IN_SECONDS)


def _forgotten(state: str) -> Cookie:
    return Cookie(_BEGUN_COOKIE + cookie_suffix(state), "", path=SIGN_IN_PATH)


def _cookies(request: HTTPServerRequest) -> Mapping[str, str]:
    return _parsed(request.headers.get("Cookie", ""))


def _parsed(header: str) -> dict[str, str]:
    return parse_cookie(header)
