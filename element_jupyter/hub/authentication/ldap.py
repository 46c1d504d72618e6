"""People and groups of an LDAP directory or Active Directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import traitlets
from ldapauthenticator import LDAPAuthenticator
from ldapauthenticator.ldapauthenticator import TlsStrategy
from tornado.web import HTTPError

from element_jupyter.core.errors import Unavailable
from element_jupyter.hub.authentication.attempts import LimitedAttempts
from element_jupyter.hub.authentication.directory import Directory, Entry, Layout
from element_jupyter.hub.authentication.standing import Absence, Found
from element_jupyter.hub.authentication.teams import TeamsFromRules

T = TypeVar("T")

_AT_ONCE = 8
_ENCRYPTION = {
    TlsStrategy.before_bind: "starttls",
    TlsStrategy.on_connect: "ldaps",
    TlsStrategy.insecure: "none",
}


class ElementLDAPAuthenticator(LimitedAttempts, TeamsFromRules, LDAPAuthenticator):
    """LDAPAuthenticator that brings groups, nested ones too, and looks again while people work.

    Its settings are those of LDAPAuthenticator where they mean the same; certificates are checked
    unless `tls_kwargs` says otherwise.
    """

    enable_auth_state = traitlets.Bool(
        True, help="Keep, encrypted, which groups were known last, for when the directory is down."
    ).tag(config=True)
    group_search_base = traitlets.Unicode(
        help="Where groups lie, such as `ou=groups,dc=example,dc=org`. Empty: no groups are read."
    ).tag(config=True)
    group_name_attribute = traitlets.Unicode(
        "cn",
        help="""
        What names a group in `teams.yaml`, beside its DN (as the directory writes it, and in small
        letters).
        """,
    ).tag(config=True)
    nested_group_depth = traitlets.Integer(
        10,
        min=1,
        help="How many groups in groups are followed. Active Directory follows all by itself.",
    ).tag(config=True)
    disabled_filter = traitlets.Unicode(
        "(|(userAccountControl:1.2.840.113556.1.4.803:=2)(nsAccountLock=TRUE)"
        "(loginDisabled=TRUE)(pwdAccountLockedTime=000001010000Z))",
        help="""
        A filter for people who are in the directory and yet may not sign in any more. By default it
        knows Active Directory, FreeIPA and 389 DS, eDirectory, and OpenLDAP's password policy.
        """,
    ).tag(config=True)
    timeout_seconds = traitlets.Integer(
        10, min=1, help="Longest time that the directory may take for one answer."
    ).tag(config=True)
    search_password_file = traitlets.Unicode(
        help="File with the password of `lookup_dn_search_user`, to keep it out of the settings."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "ldap")
        self._directory = Directory(self._layout())
        if self._directory.layout.encryption == "none":
            self.log.warning("Passwords go to %s without encryption.", self.server_address)

    async def identify(self, handler: Any, data: Any) -> Found | None:
        """Bind as the person who signs in; refuses haste before."""
        username = str(data.get("username", "")).strip()
        password = str(data.get("password", ""))
        if not username or len(username) > 256 or len(password) > 1024:
            return None
        attempt = self.begin_attempt(handler, username.lower()[:64])
        try:
            found = await self._in_thread(lambda: self._directory.sign_in(username, password))
        except Unavailable as error:
            attempt.take_back()
            self.log.error("%s %s", error.message, error.hint)  # noqa: TRY400
            raise HTTPError(503, "The directory does not answer. Try again in a moment.") from None
        if found is None:
            return None
        attempt.was_right()
        return _found(*found)

    async def look_up(self, user: Any, kept: Found | None, handler: Any) -> Found | Absence:
        """Ask the directory again, by the service account."""
        username = kept.identity if kept is not None else user.name
        try:
            found = await self._in_thread(lambda: self._directory.look_up(username))
        except Unavailable as error:
            self.log.warning("What is known of %s holds: %s", user.name, error.message)
            return Absence.UNREACHABLE
        return Absence.GONE if found is None else _found(*found)

    @property
    def source(self) -> str:
        """Name the directory."""
        return f"the directory {self.server_address}"

    async def may_exist(self, name: str) -> bool:
        """Ask the directory, by the service account."""
        try:
            return await self._in_thread(lambda: self._directory.look_up(name)) is not None
        except Unavailable as error:
            self.log.warning("Nobody can say who %s is: %s", name, error.message)
            return True

    def _layout(self) -> Layout:
        password = self.lookup_dn_search_password
        if self.search_password_file:
            password = Path(self.search_password_file).read_text(encoding="utf-8").strip()
        return Layout(
            host=self.server_address,
            port=self.server_port or self._server_port_default(),
            encryption=_ENCRYPTION[self.tls_strategy],
            tls=dict(self.tls_kwargs),
            timeout_seconds=self.timeout_seconds,
            service_dn=self.lookup_dn_search_user or None,
            service_password=password or None,
            people_base=self.user_search_base or "",
            person_attribute=self.user_attribute or "uid",
            person_filter=self.lookup_dn_search_filter,
            person_dns=() if self.lookup_dn else tuple(self.bind_dn_template or ()),
            disabled_filter=self.disabled_filter,
            groups_base=self.group_search_base,
            group_name=self.group_name_attribute,
            depth=self.nested_group_depth,
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _found(entry: Entry, groups: frozenset[str]) -> Found:
    return Found(identity=entry.name, groups=groups, subject=entry.id)
