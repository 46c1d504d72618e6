"""People and groups of an OpenID Connect provider."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import traitlets
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import HTTPError

from element_jupyter.core.errors import Invalid, Unauthenticated, Unavailable
from element_jupyter.hub.authentication.sign_out import SignOutAtProvider, leave_url
from element_jupyter.hub.authentication.standing import Absence, Found
from element_jupyter.hub.authentication.teams import TeamsFromRules

_DISCOVERED_FOR_SECONDS = 3600.0
_REFUSED = {400, 401, 403, 404}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class _LoginHandler(OAuthLoginHandler):
    async def get(self) -> None:
        """Send the browser to the provider."""
        await self.authenticator.discover_or_refuse()
        super().get()


class _CallbackHandler(OAuthCallbackHandler):
    def render_template(self, name: str, **values: Any) -> Any:
        """Say why somebody is not let in on a page with a way back."""
        return super().render_template("refused.html" if name == "error.html" else name, **values)

    async def get(self) -> None:
        """Take the browser back from the provider."""
        await self.authenticator.discover_or_refuse()
        await super().get()


class ElementOIDCAuthenticator(TeamsFromRules, GenericOAuthenticator):
    """GenericOAuthenticator that needs an issuer's address alone, and looks again at people.

    What else it can be told is what GenericOAuthenticator knows.
    """

    login_handler: ClassVar[type] = _LoginHandler
    callback_handler: ClassVar[type] = _CallbackHandler
    logout_handler: ClassVar[type] = SignOutAtProvider

    login_service = traitlets.Unicode(
        "OpenID Connect", help="What the button says that one signs in with."
    ).tag(config=True)
    issuer = traitlets.Unicode(
        help="Address of the provider, which says there where everything else is."
    ).tag(config=True)
    client_secret_file = traitlets.Unicode(
        help="File with the client's secret, to keep it out of the settings."
    ).tag(config=True)
    username_claim = traitlets.Unicode(
        "preferred_username",
        help="""
        The claim that names a person. Nobody may be able to choose it freely at the provider, and
        it must be given to one person only; `sub` always is so.
        """,
    ).tag(config=True)
    groups_claim = traitlets.Unicode(
        "groups",
        help="The claim with the names of groups; dots lead into objects: `realm_access.roles`.",
    ).tag(config=True)
    scope = traitlets.List(
        traitlets.Unicode(),
        ["openid", "profile", "email"],
        help="""
        What the provider is asked for. Some give refresh tokens only with `offline_access`, and
        groups only with `groups`.
        """,
    ).tag(config=True)
    gone_sentences = traitlets.Unicode(
        r"(user|account)\W.*(disabled|deleted|removed|blocked|locked|suspended|inactive"
        r"|deactivated|not (found|exist|active)|does ?n.t exist)|AADSTS(50034|50057)",
        help="""
        A regular expression for what the provider says (`error_description`) of somebody who is
        disabled or removed. Whoever it fits loses all rights. When a session just has ended, the
        person must sign in again, and their runs go on with the groups that were known last.
        """,
    ).tag(config=True)
    refusal_means_gone = traitlets.Bool(
        False,
        help="""
        Take everybody whose session the provider does not prolong for gone, their runs included.
        For providers that do not say why.
        """,
    ).tag(config=True)
    sign_out_at_provider = traitlets.Bool(
        True,
        help="""
        End the session at the provider, too, when somebody signs out, where it says how. It must
        know `https://<the Hub>/hub/logout` as an address to send browsers to afterwards.
        """,
    ).tag(config=True)
    timeout_seconds = traitlets.Float(
        10.0, min=0.1, help="Longest time that the provider may take for one answer."
    ).tag(config=True)
    enable_auth_state = traitlets.Bool(
        True, help="Keep, encrypted, the provider's tokens and the groups that were known last."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.client_secret_file:
            secret = Path(self.client_secret_file).read_text(encoding="utf-8")
            self.client_secret = secret.strip()
        self._discovered_at: float | None = None
        self._end_session_url = ""
        # a refresh token may be good once: two requests must not use it at the same time
        self._prolonging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def source(self) -> str:
        """Name the provider."""
        return f"the provider {self.issuer}"

    async def identify(self, handler: Any, data: Any) -> Found | None:
        """Change the browser's code into tokens, and ask who it is."""
        try:
            model = await GenericOAuthenticator.authenticate(self, handler, data)
        except (HTTPClientError, OSError) as error:
            self.log.warning("A sign-in failed at the provider: %s", error)
            if isinstance(error, HTTPClientError) and error.code in _REFUSED:
                raise HTTPError(403, "The provider refuses this sign-in. Try again.") from None
            raise HTTPError(503, "The provider does not answer. Try again in a moment.") from None
        return self._found(model["auth_state"])

    async def look_up(self, user: Any, kept: Found | None, handler: Any) -> Found | Absence:
        """Ask the provider with the person's tokens, prolonged where they have run out."""
        async with self._prolonging[user.name]:
            state = await user.get_auth_state()
            if not state or "access_token" not in state:
                return Absence.SIGN_IN_AGAIN
            try:
                await self._discover()
                return await self._ask(user, dict(state))
            except (Unavailable, Invalid) as error:
                self.log.warning("What is known of %s holds: %s", user.name, error.message)
                return Absence.UNREACHABLE

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """Return the names in the groups claim; nothing when there is none."""
        return set(_groups(auth_state[self.user_auth_state_key], self.groups_claim))

    def get_callback_url(self, handler: Any = None) -> str:
        """Return where the provider sends browsers back, by the Hub's public address."""
        public = handler.settings.get("public_url") if handler is not None else None
        if self.oauth_callback_url or not public:
            return str(super().get_callback_url(handler))
        return f"{public.scheme}://{public.netloc}{handler.hub.base_url}oauth_callback"

    async def leave_url(self, user: Any, handler: Any) -> str:
        """Return where the browser is sent to sign out; empty where only the Hub's page is left."""
        if self.logout_redirect_url or not self.sign_out_at_provider:
            return str(self.logout_redirect_url)
        try:
            await self._discover()
        except (Unavailable, Invalid) as error:
            self.log.warning("%s is signed out of the Hub alone: %s", user.name, error.message)
            return ""
        if not self._end_session_url:
            return ""
        back = self.get_callback_url(handler).removesuffix("oauth_callback") + "logout"
        state = await user.get_auth_state() or {}
        return leave_url(self._end_session_url, self.client_id, state, back)

    async def discover_or_refuse(self) -> None:
        """Ask the provider where everything is, unless that is known.

        Raises:
            HTTPError: 503, when it does not answer, or not as it should.
        """
        try:
            await self._discover()
        except (Unavailable, Invalid) as error:
            self.log.error("%s %s", error.message, error.hint)  # noqa: TRY400
            raise HTTPError(503, "The provider does not answer. Try again in a moment.") from None

    # ------------------------------------------------------------------------------- inside

    async def _ask(self, user: Any, state: dict[str, Any]) -> Found | Absence:
        try:
            claims = await self._claims(state["access_token"])
        except Unauthenticated:
            prolonged = await self._prolong(state)
            if isinstance(prolonged, Absence):
                return prolonged
            # written down before anything else: the one before is not good any more
            await user.save_auth_state(prolonged)
            state = prolonged
            try:
                claims = await self._claims(state["access_token"])
            except Unauthenticated as error:
                self.log.warning("The provider does not know %s: %s", user.name, error.message)
                return Absence.GONE
        return self._found({**state, self.user_auth_state_key: claims})

    async def _claims(self, access_token: str) -> dict[str, Any]:
        """Ask the provider who a token is of; raises `Unauthenticated` when it is not good."""
        code, said = await self._exchange(
            self.userdata_url, headers={"Authorization": f"Bearer {access_token}"}
        )
        if code in _REFUSED:
            raise Unauthenticated(_reason(said) or f"it answers {code}")
        return said

    async def _prolong(self, state: dict[str, Any]) -> dict[str, Any] | Absence:
        refresh_token = state.get("refresh_token")
        if not refresh_token:
            return Absence.GONE if self.refusal_means_gone else Absence.SIGN_IN_AGAIN
        code, said = await self._exchange(
            self.token_url,
            method="POST",
            headers=self.build_token_info_request_headers(),
            body=urlencode(self.build_refresh_token_request_params(refresh_token)),
        )
        if code in _REFUSED:
            if said.get("error") != "invalid_grant":
                # it is us whom it refuses, and not the person
                raise Unavailable(f"The provider refuses the Hub: {_reason(said) or code}.")
            gone = re.search(self.gone_sentences, _reason(said), re.IGNORECASE)
            if gone or self.refusal_means_gone:
                return Absence.GONE
            return Absence.SIGN_IN_AGAIN
        if not said.get("access_token"):
            raise Unavailable("The provider answers without a token.")
        return {
            **state,
            "access_token": said["access_token"],
            "refresh_token": said.get("refresh_token") or refresh_token,
            "token_response": {**(state.get("token_response") or {}), **said},
        }

    def _found(self, state: Mapping[str, Any]) -> Found:
        claims = state[self.user_auth_state_key]
        identity = claims.get(self.username_claim)
        if not isinstance(identity, str) or not identity:
            self.log.error("The provider names nobody: no claim %s.", self.username_claim)
            raise HTTPError(403, f"The provider does not say who you are. Ask {self.ask}.")
        if self.username_claim == "email" and claims.get("email_verified") is False:
            raise HTTPError(403, "The provider has not verified this address of e-mail.")
        return Found(
            identity=identity,
            groups=_groups(claims, self.groups_claim),
            subject=str(claims.get("sub", "")),
            auth_state={key: value for key, value in state.items() if key != "element"},
        )

    async def _discover(self) -> None:
        now = time.monotonic()
        if self._discovered_at is not None and now - self._discovered_at < _DISCOVERED_FOR_SECONDS:
            return
        issuer = self.issuer.rstrip("/")
        _encrypted(issuer)
        try:
            code, said = await self._exchange(f"{issuer}/.well-known/openid-configuration")
            if code in _REFUSED or str(said.get("issuer", "")).rstrip("/") != issuer:
                raise Unavailable(
                    f"{issuer} is no provider, or is another one: {said.get('issuer', code)}.",
                    "Check the setting `issuer`.",
                )
        except Unavailable:
            if self._discovered_at is None:
                raise
            return  # it has said before where everything is
        for trait, key in (
            ("authorize_url", "authorization_endpoint"),
            ("token_url", "token_endpoint"),
            ("userdata_url", "userinfo_endpoint"),
        ):
            setattr(self, trait, _encrypted(said.get(key, "")))
        leave = said.get("end_session_endpoint")
        self._end_session_url = _encrypted(leave) if leave else ""
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        self.basic_auth = "client_secret_post" not in methods
        self._discovered_at = now

    async def _exchange(self, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Ask the provider something; a refusal is an answer, too."""
        asked = HTTPRequest(
            url,
            connect_timeout=self.timeout_seconds,
            request_timeout=self.timeout_seconds,
            follow_redirects=False,
            validate_cert=self.validate_server_cert,
            **request,
        )
        try:
            answer = await self.http_client.fetch(asked, raise_error=False)
            code = int(answer.code)
            if code not in _REFUSED and not 200 <= code < 300:
                raise Unavailable(f"The provider answers {code}.")
            said = json.loads(answer.body or b"{}")
        except (HTTPClientError, OSError) as error:
            raise Unavailable(f"The provider does not answer: {error}") from error
        except ValueError as error:
            if code in _REFUSED:
                return code, {}
            raise Unavailable("The provider answers something that is not JSON.") from error
        return code, said if isinstance(said, dict) else {}


def _groups(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    found: Any = claims
    for part in [path] if path in claims else path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        found = [found]
    return frozenset(each for each in found or () if isinstance(each, str))


def _reason(said: Mapping[str, Any]) -> str:
    return str(said.get("error_description") or said.get("error") or "")


def _encrypted(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise Invalid(f"The provider's address {url!r} is not encrypted.", "It must begin with https.")
