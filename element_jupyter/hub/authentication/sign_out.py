"""Signing out: for good, and only when the person has asked for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from jupyterhub.handlers.login import LogoutHandler
from oauthenticator.oauth2 import STATE_COOKIE_NAME


class SignOut(LogoutHandler):
    """Ends the session here, and what it holds in servers and services.

    A page of another site can lead the browser here; then the person is asked first.
    """

    async def get(self) -> None:
        """Sign out, or ask whether that is wanted."""
        self.set_header("Cache-Control", "no-store")
        from_elsewhere = self.request.headers.get("Sec-Fetch-Site", "none") in {
            "cross-site",
            "same-site",
        }
        if from_elsewhere and self.current_user is not None:
            self.finish(await self.render_template("sign_out.html"))
            return
        await super().get()


class SignOutAtProvider(SignOut):
    """Ends the session at the provider too, where it lets us (RP-initiated logout).

    Otherwise the next click on its button would sign the same person in again, unasked.
    """

    _leave = ""

    async def handle_logout(self) -> None:
        """Find out where the provider ends sessions, while it is known whose."""
        self.clear_cookie(STATE_COOKIE_NAME)
        user = self.current_user
        if user is not None:
            self._leave = await self.authenticator.leave_url(user, self)

    async def render_logout_page(self) -> None:
        """Send the browser to the provider, which sends it back."""
        if self._leave:
            self.redirect(self._leave)
            return
        await super().render_logout_page()


def leave_url(endpoint: str, client_id: str, auth_state: dict[str, Any], back: str) -> str:
    """Return where a provider ends somebody's session.

    Args:
        endpoint: its `end_session_endpoint`.
        auth_state: what is kept of the sign-in; its newest `id_token` says whose session it is.
        back: an address that the provider knows as one to send browsers to afterwards.

    Source: OpenID Connect RP-Initiated Logout 1.0, section 2.
    """
    newest = (auth_state.get("token_response") or {}).get("id_token")
    hint = newest or auth_state.get("id_token")
    asked = {"client_id": client_id, "post_logout_redirect_uri": back}
    if hint:
        asked["id_token_hint"] = hint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
