"""One conversation with an LDAP directory: who somebody is, and all groups they are in.

It blocks; whoever calls it does so in a thread. Everything that a person typed is escaped.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPBindError, LDAPExceptionError
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from element_jupyter.core.errors import Unavailable

_IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule for members of members."""
_ACTIVE_DIRECTORY = "1.2.840.113556.1.4.800"
_CHUNK = 40
"""Groups whose parents are asked for at once."""
_IDS = ("entryUUID", "objectGUID", "nsUniqueId", "GUID")
"""Of OpenLDAP, Active Directory, 389 DS, eDirectory."""
_EXPIRES = "accountExpires"
"""When an account of Active Directory ends, in 100 ns since 1601; no filter knows what is now."""
_SECONDS_FROM_1601_TO_1970 = 11_644_473_600
_NEVER_EXPIRES = {0, 2**63 - 1}
_FOUND, _NO_SUCH_OBJECT = 0, 32
_DOES_NOT_ANSWER = {1, 3, 11, 51, 52, 53, 80}
"""Results of a bind that say something of the directory, and nothing of the person."""


@dataclass(frozen=True)
class Layout:
    """Where a directory is, and how people and groups lie in it."""

    host: str
    port: int
    encryption: str
    """`starttls`, `ldaps` or `none`."""
    tls: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 10
    service_dn: str | None = None
    service_password: str | None = None
    people_base: str = ""
    person_attribute: str = "uid"
    person_filter: str = "({login_attr}={login})"
    person_dns: tuple[str, ...] = ()
    """Templates of people's DNs, where they are not searched."""
    disabled_filter: str = ""
    groups_base: str = ""
    group_name: str = "cn"
    depth: int = 10
    most_groups: int = 2000


@dataclass(frozen=True)
class Entry:
    """A person in the directory."""

    dn: str
    name: str
    """The user name as the directory has it, in small letters: it compares without case."""
    id: str = ""
    """What the directory never gives to another entry, where it has such a thing."""


class Directory:
    """A directory of people and groups."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._has_chain: bool | None = None

    def sign_in(self, username: str, password: str) -> tuple[Entry, frozenset[str]] | None:
        """Return who has this password, with all groups; None when nobody has.

        Raises:
            Unavailable: the directory does not answer, or not as it should.
        """
        if not password.strip() or "\0" in username + password:
            return None  # an empty password is an anonymous bind, which succeeds
        for entry in self._candidates(username):
            with self._connection(entry.dn, password) as own:
                if own is None:
                    continue
                if not self.layout.service_dn:
                    return self._checked(own, entry)
            with self._service() as service:
                return self._checked(service, entry)
        return None

    def look_up(self, username: str) -> tuple[Entry, frozenset[str]] | None:
        """Return who somebody is now, by the service account; None when they are gone.

        Raises:
            Unavailable: the directory does not answer, or does not show people to the service
                account, so that nothing can be concluded.
        """
        with self._service() as service:
            for entry in self._candidates(username, service):
                found = self._checked(service, entry)
                if found is not None:
                    return found
            base = self.layout.people_base or _parent(self.layout.person_dns)
            if not self._search(service, base, "(objectClass=*)", ldap3.BASE):
                raise Unavailable(
                    f"The directory does not show {base}.", "Check the service account."
                )
            return None

    # ------------------------------------------------------------------------------- people

    def _candidates(self, username: str, service: Any = None) -> Iterator[Entry]:
        layout = self.layout
        if layout.person_dns:
            name = username.lower()
            for template in layout.person_dns:
                yield Entry(template.format(username=escape_rdn(name)), name)
            return
        if service is None:
            with self._service() as opened:
                found = self._search_person(opened, username)
        else:
            found = self._search_person(service, username)
        if len(found) == 1:  # of several, nobody can say which one it is
            yield found[0]

    def _search_person(self, service: Any, username: str) -> list[Entry]:
        layout = self.layout
        wanted = layout.person_filter.format(
            login_attr=layout.person_attribute, login=escape_filter_chars(username)
        )
        entries = self._search(
            service, layout.people_base, wanted, ldap3.SUBTREE, [layout.person_attribute]
        )
        return [
            Entry(dn, str(values[0]).lower())
            for dn, attributes in entries
            if (values := attributes.get(layout.person_attribute))
        ]

    def _checked(self, connection: Any, entry: Entry) -> tuple[Entry, frozenset[str]] | None:
        """Return the entry with its groups, unless it is not there, disabled or expired."""
        asked = (*_IDS, _EXPIRES)
        found = self._search(connection, entry.dn, "(objectClass=*)", ldap3.BASE, asked)
        if not found:
            return None
        said = {key.lower(): str(values[0]) for key, values in found[0][1].items() if values}
        if _has_expired(said.get(_EXPIRES.lower(), "")):
            return None
        entry = replace(entry, id=next((said[k.lower()] for k in _IDS if k.lower() in said), ""))
        disabled = self.layout.disabled_filter
        if disabled and self._search(connection, entry.dn, disabled, ldap3.BASE):
            return None
        return entry, self._groups(connection, entry)

    # ------------------------------------------------------------------------------- groups

    def _groups(self, connection: Any, entry: Entry) -> frozenset[str]:
        if not self.layout.groups_base:
            return frozenset()
        dn = escape_filter_chars(entry.dn)
        if self._knows_chain(connection):
            found = self._group_entries(connection, [f"(member:{_IN_CHAIN}:={dn})"])
        else:
            found = self._walk(connection, entry)
        names: set[str] = set()
        for group_dn, given in found.items():
            names |= {group_dn, group_dn.lower(), *given}
        return frozenset(names)

    def _walk(self, connection: Any, entry: Entry) -> dict[str, list[str]]:
        """Go from groups to the groups that they are in, each once, as deep as allowed."""
        name = escape_filter_chars(entry.name)
        next_filters = [*_has_member(entry.dn), f"(memberUid={name})"]
        found: dict[str, list[str]] = {}
        for _ in range(self.layout.depth):
            if not next_filters:
                break
            entries = self._group_entries(connection, next_filters)
            new = {dn: names for dn, names in entries.items() if dn not in found}
            found |= new
            if len(found) > self.layout.most_groups:
                raise Unavailable(f"{entry.name} is in over {self.layout.most_groups} groups.")
            next_filters = [each for dn in new for each in _has_member(dn)]
        return found

    def _group_entries(self, connection: Any, filters: list[str]) -> dict[str, list[str]]:
        layout = self.layout
        found: dict[str, list[str]] = {}
        for at in range(0, len(filters), _CHUNK):
            wanted = f"(|{''.join(filters[at : at + _CHUNK])})"
            for dn, attributes in self._search(
                connection, layout.groups_base, wanted, ldap3.SUBTREE, [layout.group_name]
            ):
                found[dn] = [str(value) for value in attributes.get(layout.group_name, [])]
        return found

    def _knows_chain(self, connection: Any) -> bool:
        if self._has_chain is None:
            entries = self._search(
                connection, "", "(objectClass=*)", ldap3.BASE, ["supportedCapabilities"]
            )
            capabilities = entries[0][1].get("supportedCapabilities", []) if entries else []
            self._has_chain = _ACTIVE_DIRECTORY in capabilities
        return self._has_chain

    # --------------------------------------------------------------------------- connections

    def _search(
        self, connection: Any, base: str, wanted: str, scope: str, attributes: Iterable[str] = ()
    ) -> list[tuple[str, dict[str, list[Any]]]]:
        """Return entries; raises `Unavailable` for every answer but entries or none."""
        try:
            connection.search(base, wanted, scope, attributes=list(attributes) or ["1.1"])
        except LDAPExceptionError as error:
            raise Unavailable(f"The directory cannot be searched: {error}") from error
        code = connection.result["result"]
        if code == _NO_SUCH_OBJECT:
            return []
        if code != _FOUND:
            raise Unavailable(
                f"The directory does not search {base!r}: {connection.result['description']}."
            )
        return [
            (each["dn"], {key: _listed(value) for key, value in each["attributes"].items()})
            for each in connection.response
            if each["type"] == "searchResEntry"
        ]

    @contextmanager
    def _service(self) -> Iterator[Any]:
        layout = self.layout
        with self._connection(layout.service_dn, layout.service_password) as connection:
            if connection is None:
                raise Unavailable("The directory refuses the service account.")
            yield connection

    @contextmanager
    def _connection(self, dn: str | None, password: str | None) -> Iterator[Any]:
        """Bind as somebody; None when the directory refuses this person."""
        layout = self.layout
        server = ldap3.Server(
            layout.host,
            port=layout.port,
            use_ssl=layout.encryption == "ldaps",
            tls=ldap3.Tls(**{"validate": ssl.CERT_REQUIRED, **layout.tls}),
            get_info=ldap3.NONE,
            connect_timeout=layout.timeout_seconds,
        )
        connection = ldap3.Connection(
            server,
            user=dn,
            password=password,
            receive_timeout=layout.timeout_seconds,
            auto_referrals=False,
            read_only=True,
            check_names=False,
        )
        try:
            bound = self._bind(connection, dn)
            yield connection if bound else None
        finally:
            with suppress(LDAPExceptionError, OSError):
                connection.unbind()

    def _bind(self, connection: Any, dn: str | None) -> bool:
        try:
            connection.open()
            if self.layout.encryption == "starttls":
                connection.start_tls(read_server_info=False)
            bound = connection.bind(read_server_info=False)
        except LDAPBindError:
            return False
        except (LDAPExceptionError, OSError) as error:
            raise Unavailable(
                f"The directory {self.layout.host} does not answer: {error}"
            ) from error
        code = connection.result["result"]
        if not bound and code in _DOES_NOT_ANSWER:
            raise Unavailable(f"The directory does not answer: {connection.result['description']}.")
        return bool(bound)


def _has_expired(said: str) -> bool:
    try:
        ticks = int(said)
    except ValueError:  # a directory without it
        return False
    return ticks not in _NEVER_EXPIRES and (
        ticks / 10_000_000 - _SECONDS_FROM_1601_TO_1970 <= time.time()
    )


def _has_member(dn: str) -> list[str]:
    escaped = escape_filter_chars(dn)
    return [f"(member={escaped})", f"(uniqueMember={escaped})"]


def _listed(value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    return [each.hex() if isinstance(each, bytes) else each for each in values]


def _parent(templates: tuple[str, ...]) -> str:
    return templates[0].partition(",")[2] if templates else ""
