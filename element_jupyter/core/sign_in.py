"""Signing a browser in at the Hub: what its services share of OAuth's code flow with PKCE."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlencode, urlsplit

from pydantic import ValidationError

from element_jupyter.core.values import Value

SIGN_IN_SECONDS: Final = 600
"""How long somebody may take at the Hub's page."""
_LONGEST_PATH: Final = 2000
"""A longer address is not kept: a cookie has 4 kB."""
_STATE_PREFIX: Final = 12
_UPWARDS: Final = {"..", ".", "%2e", "%2e%2e", ".%2e", "%2e."}


class Begun(Value):
    """A sign-in that a browser has begun; it is kept in a cookie of that browser alone.

    The state that comes back from the Hub must be the one in it, so nobody can have another person
    finish a sign-in that they began.
    """

    state: str
    verifier: str
    next: str
    """Where it leads, as `own_path` returned it."""

    @staticmethod
    def anew(target: str) -> Begun:
        return Begun(
            state=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48), next=target
        )

    def authorize_path(self, client_id: str, redirect_path: str) -> str:
        """Return where the browser is sent to: the Hub asks who it is."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest())
        query = {
            "client_id": client_id,
            "redirect_uri": redirect_path,
            "response_type": "code",
            "state": self.state,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"/hub/api/oauth2/authorize?{urlencode(query)}"

    def is_of(self, state: str) -> bool:
        return hmac.compare_digest(self.state.encode(), state.encode())


def read_begun(text: str, state: str) -> Begun | None:
    """Return the sign-in that a cookie's text holds; None when it is not the one of this state."""
    try:
        begun = Begun.model_validate_json(text)
    except ValidationError:
        return None
    return begun if state and begun.is_of(state) else None


def cookie_suffix(state: str) -> str:
    """Return by what the cookies of several sign-ins in one browser differ."""
    return state[:_STATE_PREFIX]


def own_path(target: str | None, *, prefix: str, origin: str) -> str:
    """Return the path of a page below `prefix`; the first page for whatever is not one.

    Args:
        prefix: ends in `/`.
        origin: of what people open; an address of it is taken as its path.
    """
    if not target or len(target) > _LONGEST_PATH or not target.isprintable() or "\\" in target:
        return prefix
    try:
        parts, own = urlsplit(target), urlsplit(origin)
    except ValueError:
        return prefix
    if (parts.scheme, parts.netloc) not in {("", ""), (own.scheme, own.netloc)}:
        return prefix
    segments = {each.lower() for each in parts.path.split("/")}
    if not parts.path.startswith(prefix) or _UPWARDS & segments:
        return prefix
    return parts.path + (f"?{parts.query}" if parts.query else "")
