"""The Hub's own accounts: people with passwords, and links that are good for one use.

One SQLite file that only the Hub's account may read. Passwords are kept as argon2id, links as
hashes; neither can be had back from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from element_jupyter.core.errors import Conflict, Invalid, NotFound
from element_jupyter.core.teams import Level, person_name
from element_jupyter.core.values import Name

SHORTEST_PASSWORD = 12
LINK_HOURS = 72

_LONGEST_PASSWORD = 256
_SCHEMA = """
create table if not exists people (
  name text primary key,
  password text not null,
  admin integer not null,
  teams text not null,
  suspended integer not null default 0,
  made_at text not null,
  password_at text not null
) strict;
create table if not exists links (
  hash text primary key,
  purpose text not null,
  person text,
  admin integer not null,
  teams text not null,
  made_by text not null,
  made_at text not null,
  ends_at text not null
) strict;
"""
_NEVER = datetime.fromtimestamp(0, UTC).isoformat()
"""When the password was chosen of an account that has none."""
_HASHER = PasswordHasher(parallelism=1)
"""RFC 9106's second choice (64 MiB, three times over), in one lane: as dear to who guesses.

With its four, each sign-in would take four cores from everybody else for a while.
"""
_NOBODYS_PASSWORD = _HASHER.hash(secrets.token_urlsafe())

Teams = Mapping[Name, Level]


class Account(NamedTuple):
    """Somebody with a password here."""

    name: Name
    admin: bool
    teams: Teams
    suspended: bool
    made_at: datetime
    password_at: datetime


class Link(NamedTuple):
    """What an unused link is for; whoever holds it may use it once."""

    id: str
    """The hash of its secret: enough to withdraw it, not to use it."""
    purpose: str
    """`invitation`, or `password` for one who has an account."""
    person: Name | None
    """Whose it is; the holder of an invitation without one chooses a name."""
    admin: bool
    teams: Teams
    made_by: str
    ends_at: datetime


class Accounts:
    """The accounts in one file, which is made when it is not there.

    Every method is one transaction; several processes may use the file at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        with self._transaction() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    # ------------------------------------------------------------------------------- people

    def account(self, name: str) -> Account | None:
        with self._transaction() as database:
            row = database.execute("select * from people where name = ?", (name,)).fetchone()
        return None if row is None else _account(row)

    def everybody(self) -> list[Account]:
        with self._transaction() as database:
            rows = database.execute("select * from people order by name").fetchall()
        return [_account(row) for row in rows]

    def verify(self, name: str, password: str) -> Account | None:
        """Return whose password it is; takes as long when there is nobody of that name."""
        with self._transaction() as database:
            row = database.execute("select * from people where name = ?", (name,)).fetchone()
        hashed = _NOBODYS_PASSWORD if row is None else row["password"]
        given = _normal(password)
        try:
            _HASHER.verify(hashed, given[:_LONGEST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        if row is None or len(given) > _LONGEST_PASSWORD:
            return None
        if _HASHER.check_needs_rehash(hashed):
            with self._transaction() as database:
                database.execute(
                    "update people set password = ? where name = ? and password = ?",
                    (_HASHER.hash(given), name, hashed),
                )
        return _account(row)

    def set_password(self, name: str, password: str) -> None:
        """Give somebody another password.

        Raises:
            Invalid: it is too short.
            NotFound: there is no such account.
        """
        hashed = _HASHER.hash(_acceptable(password, name))
        with self._transaction() as database:
            done = database.execute(
                "update people set password = ?, password_at = ? where name = ?",
                (hashed, _now().isoformat(), name),
            )
            _one(done, name)
            # a link that was sent meanwhile would undo it
            database.execute("delete from links where purpose = 'password' and person = ?", (name,))

    def suspend(self, name: str, *, suspended: bool = True) -> None:
        """Take all rights away, or give them back.

        Raises:
            NotFound: there is no such account.
        """
        with self._transaction() as database:
            done = database.execute(
                "update people set suspended = ? where name = ?", (int(suspended), name)
            )
            _one(done, name)
            if suspended:
                database.execute("delete from links where person = ?", (name,))

    def set_teams(self, name: str, teams: Teams) -> None:
        """Say which teams somebody is in, beside those that `teams.yaml` says.

        Raises:
            NotFound: there is no such account.
        """
        with self._transaction() as database:
            done = database.execute(
                "update people set teams = ? where name = ?", (_json(teams), name)
            )
            _one(done, name)

    def ensure_administrator(self, name: Name) -> None:
        """Make an account that administers, with a password that nobody knows, unless it exists."""
        now = _now().isoformat()
        with self._transaction() as database:
            database.execute(
                "insert or ignore into people values (?, ?, 1, ?, 0, ?, ?)",
                (name, _NOBODYS_PASSWORD, _json({}), now, _NEVER),
            )

    def remove(self, name: str) -> None:
        with self._transaction() as database:
            database.execute("delete from people where name = ?", (name,))
            database.execute("delete from links where person = ?", (name,))

    # -------------------------------------------------------------------------------- links

    def make_link(
        self,
        purpose: str,
        *,
        made_by: str,
        person: Name | None = None,
        admin: bool = False,
        teams: Teams | None = None,
    ) -> str:
        """Make a link's secret, which is good once and for 72 hours, and is not kept."""
        secret = secrets.token_urlsafe(32)
        now = _now()
        row = (
            *(_hash(secret), purpose, person, int(admin), _json(teams or {}), made_by),
            *(now.isoformat(), (now + timedelta(hours=LINK_HOURS)).isoformat()),
        )
        with self._transaction() as database:
            database.execute("delete from links where ends_at < ?", (now.isoformat(),))
            if purpose == "password":
                database.execute(
                    "delete from links where purpose = ? and person is ?", (purpose, person)
                )
            database.execute("insert into links values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return secret

    def link(self, secret: str) -> Link | None:
        """Return what a secret is good for; None when it is used, too old, or none of ours."""
        with self._transaction() as database:
            return self._link(database, secret)

    def links(self) -> list[Link]:
        """Return the invitations that nobody has used yet."""
        with self._transaction() as database:
            rows = database.execute(
                "select * from links where ends_at >= ? order by made_at", (_now().isoformat(),)
            ).fetchall()
        return [_link(row) for row in rows]

    def withdraw(self, link_id: str) -> None:
        with self._transaction() as database:
            database.execute("delete from links where hash = ?", (link_id,))

    def use_link(self, secret: str, name: str, password: str) -> Account:
        """Use a link up: make an account, or give one another password.

        Args:
            name: what the holder chose; of no account where the link names whose it is.

        Raises:
            NotFound: the link is not good, or not any more.
            Invalid: the name or the password will not do; the link stays good.
            Conflict: the name is taken; the link stays good.
        """
        link = self.link(secret)
        if link is None:
            raise _no_link()
        name = link.person or name
        if person_name(name) != name:
            raise Invalid(
                f"{name!r} will not do as a name.",
                "Up to 30 small letters and digits, with single . _ or - between them.",
                field="name",
            )
        hashed = _HASHER.hash(_acceptable(password, name))
        now = _now().isoformat()
        with self._transaction() as database:
            done = database.execute("delete from links where hash = ?", (link.id,))
            if done.rowcount != 1:  # somebody was faster
                raise _no_link()
            if link.purpose == "password":
                done = database.execute(
                    "update people set password = ?, password_at = ? where name = ?",
                    (hashed, now, name),
                )
                _one(done, name)
            else:
                try:
                    database.execute(
                        "insert into people values (?, ?, ?, ?, 0, ?, ?)",
                        (name, hashed, int(link.admin), _json(link.teams), now, now),
                    )
                except sqlite3.IntegrityError:
                    raise Conflict(
                        f"{name} is taken.", "Choose another name.", field="name"
                    ) from None
            row = database.execute("select * from people where name = ?", (name,)).fetchone()
        return _account(row)

    def has_admin(self) -> bool:
        with self._transaction() as database:
            found = database.execute(
                "select 1 from people"
                " where admin = 1 and suspended = 0 and password_at > ? limit 1",
                (_NEVER,),
            ).fetchone()
        return found is not None

    # -------------------------------------------------------------------------------- inside

    def _link(self, database: sqlite3.Connection, secret: str) -> Link | None:
        row = database.execute(
            "select * from links where hash = ? and ends_at >= ?",
            (_hash(secret), _now().isoformat()),
        ).fetchone()
        return None if row is None else _link(row)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            database.row_factory = sqlite3.Row
            database.execute("begin immediate")
            try:
                yield database
            except BaseException:
                database.execute("rollback")
                raise
            database.execute("commit")
        finally:
            database.close()


def first_admin_link(path: Path, public_url: str, owner: Name) -> str | None:
    """Make the link by which `owner`, the first administrator, gets a password; None once one has.

    The account is there from then on, since what the platform itself does is done for it. Earlier
    links are not good any more. The secret is behind `#`, so that no server ever logs it.
    """
    accounts = Accounts(path)
    accounts.ensure_administrator(owner)
    if accounts.has_admin():
        return None
    secret = accounts.make_link("password", made_by="", person=owner)
    return link_url(public_url, secret)


def link_url(public_url: str, secret: str) -> str:
    """Return the address of the page where a secret is used."""
    return f"{public_url.rstrip('/')}/hub/invitation#{secret}"


def _account(row: sqlite3.Row) -> Account:
    return Account(
        name=row["name"],
        admin=bool(row["admin"]),
        teams=_teams(row["teams"]),
        suspended=bool(row["suspended"]),
        made_at=datetime.fromisoformat(row["made_at"]),
        password_at=datetime.fromisoformat(row["password_at"]),
    )


def _link(row: sqlite3.Row) -> Link:
    return Link(
        id=row["hash"],
        purpose=row["purpose"],
        person=row["person"],
        admin=bool(row["admin"]),
        teams=_teams(row["teams"]),
        made_by=row["made_by"],
        ends_at=datetime.fromisoformat(row["ends_at"]),
    )


def _acceptable(password: str, name: str) -> str:
    given = _normal(password)
    if len(given) < SHORTEST_PASSWORD:
        raise Invalid(
            f"The password is too short: {SHORTEST_PASSWORD} characters at least.",
            "A few words with spaces between them are good.",
            field="password",
        )
    if len(given) > _LONGEST_PASSWORD:
        raise Invalid(
            f"The password is too long: {_LONGEST_PASSWORD} characters at most.", field="password"
        )
    if len(set(given)) < 5 or given.casefold() == (name * len(given))[: len(given)]:
        raise Invalid(
            "The password is too easy to guess.",
            "A few words with spaces between them are good.",
            field="password",
        )
    return given


def _normal(password: str) -> str:
    """One password, whatever the keyboard makes of an accent."""
    return unicodedata.normalize("NFC", password)


def _one(done: sqlite3.Cursor, name: str) -> None:
    if done.rowcount != 1:
        raise NotFound(f"There is no account {name}.")


def _no_link() -> NotFound:
    return NotFound(
        "This link is not good, or not any more.",
        f"It can be used once, within {LINK_HOURS} hours. Ask whoever sent it for another.",
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _json(teams: Teams) -> str:
    return json.dumps({team: str(level) for team, level in sorted(teams.items())})


def _teams(text: str) -> dict[Name, Level]:
    return {team: Level(level) for team, level in json.loads(text).items()}


def _now() -> datetime:
    return datetime.now(UTC)
