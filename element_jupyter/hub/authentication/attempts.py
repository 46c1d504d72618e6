"""How often somebody may try a password: less and less often, the more often it was wrong."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import traitlets
from tornado.web import HTTPError
from traitlets.config import LoggingConfigurable

_LONGEST_PAUSE_SECONDS: Final = 900.0
_FORGOTTEN_SECONDS: Final = 3600.0
_REMEMBERED: Final = 20_000
_KNOWN_BROWSER: Final = "element-known-browser"
_KNOWN_DAYS: Final = 180
_SCHEMA: Final = """
create table if not exists wrong (
  key blob primary key,
  count integer not null,
  last real not null
) strict, without rowid
"""


class Limit(NamedTuple):
    """What tries are counted for, and how many wrong ones are free."""

    kind: str
    name: str
    free: int

    @property
    def key(self) -> bytes:
        """What is kept of it: somebody may have typed the password where the name belongs."""
        return hashlib.sha256(f"{self.kind}:{self.name}".encode()).digest()


def limits(user: str, address: str, browser: str = "") -> list[Limit]:
    """Return what a try counts for.

    A user name has five wrong passwords free, an address twenty, since an office may share one. A
    browser in which this person has signed in before answers for itself alone: others who keep
    guessing cannot shut the person out of it.
    """
    if browser:
        return [Limit("browser", f"{user}:{browser}", 5)]
    return [Limit("user", user, 5), Limit("address", address, 20)]


class Attempts:
    """Wrong passwords, each with a pause that doubles; a restart forgets none.

    Args:
        now: seconds since 1970.
        path: the file that keeps them; without one they are kept as long as this object.
    """

    def __init__(self, now: Callable[[], float] = time.time, path: Path | None = None) -> None:
        self._now = now
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path or ":memory:", timeout=10, isolation_level=None)
        # what is committed outlives this process; to wait for the disk too would let others wait
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")
        self._database.execute(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def remembered(self) -> int:
        """Return how much is kept; it has a bound."""
        return int(self._database.execute("select count(*) from wrong").fetchone()[0])

    def pause_seconds(self, counted: Iterable[Limit]) -> float:
        """Return how long to wait before the next try; 0 when it is welcome now."""
        return max(self._pause(limit) for limit in counted)

    def begin(self, counted: Iterable[Limit]) -> None:
        """Count a try as wrong until it was right, so that many at once are no way around."""
        now = self._now()
        for limit in counted:
            count, _ = self._recent(limit, now)
            self._database.execute(
                "insert or replace into wrong values (?, ?, ?)", (limit.key, count + 1, now)
            )
        kept = self.remembered()
        if kept > _REMEMBERED:
            # those with one wrong password first, or a flood of names would wash away the others
            self._database.execute(
                "delete from wrong where last < ? or key in"
                " (select key from wrong order by count, last limit ?)",
                (now - _FORGOTTEN_SECONDS, kept - _REMEMBERED),
            )

    def take_back(self, counted: Iterable[Limit]) -> None:
        """Count a try as none: nobody could say whether it was right."""
        for limit in counted:
            self._database.execute("update wrong set count = count - 1 where key = ?", (limit.key,))

    def was_right(self, counted: Iterable[Limit]) -> None:
        """Forget what was wrong with this user name; the address has others to answer for."""
        for limit in counted:
            if limit.kind == "address":
                self.take_back([limit])
            else:
                self._database.execute("delete from wrong where key = ?", (limit.key,))

    def _pause(self, limit: Limit) -> float:
        now = self._now()
        count, last = self._recent(limit, now)
        if count < limit.free:
            return 0.0
        pause = min(2.0 ** (count - limit.free), _LONGEST_PAUSE_SECONDS)
        return max(0.0, last + pause - now)

    def _recent(self, limit: Limit, now: float) -> tuple[int, float]:
        row = self._database.execute(
            "select count, last from wrong where key = ?", (limit.key,)
        ).fetchone()
        count, last = row or (0, now)
        last = min(last, now)  # the clock may have been set back
        return (0, now) if now - last > _FORGOTTEN_SECONDS else (count, last)


class LimitedAttempts(LoggingConfigurable):
    """Mix in before an authenticator that asks for a password itself."""

    proxy_addresses = traitlets.Set(
        {"127.0.0.1", "::1"},
        help="""
        Addresses of the proxy in front of the Hub: only its word is taken for who a request comes
        from (`X-Forwarded-For`).
        """,
    ).tag(config=True)
    attempts_file = traitlets.Unicode(
        "attempts.sqlite",
        help="Where wrong passwords are counted, so that a restart gives nobody a fresh start.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attempts = Attempts(path=Path(self.attempts_file))

    def begin_attempt(self, handler: Any, user: str) -> Attempt:
        """Count a try, and refuse one that comes too early, before anything is compared.

        Raises:
            HTTPError: 429, with the seconds to wait.
        """
        address = client_address(handler.request, self.proxy_addresses)
        counted = limits(user, address, _known_browser(handler, user))
        pause = self.attempts.pause_seconds(counted)
        if pause > 0:
            seconds = math.ceil(pause)
            self.log.warning("Too many wrong passwords from %s.", address)
            handler.set_header("Retry-After", str(seconds))
            raise HTTPError(429, f"Too many wrong attempts. Try again in {seconds} s.")
        self.attempts.begin(counted)
        return Attempt(self.attempts, counted, handler, user)


class Attempt:
    """One try, which counts as wrong until more is known."""

    def __init__(self, attempts: Attempts, counted: list[Limit], handler: Any, user: str) -> None:
        self._attempts = attempts
        self._counted = counted
        self._handler = handler
        self._user = user

    def take_back(self) -> None:
        """Nobody could say whether it was right."""
        self._attempts.take_back(self._counted)

    def was_right(self) -> None:
        """It was: the browser is one of theirs."""
        self._attempts.was_right(self._counted)
        know_browser(self._handler, self._user)


def know_browser(handler: Any, user: str) -> None:
    """Remember, in the browser and signed, that this person has signed in there."""
    browser = _known_browser(handler, user) or secrets.token_hex(16)
    handler._set_cookie(  # noqa: SLF001 - the Hub's way to set one with all its options
        _KNOWN_BROWSER,
        f"{browser}:{user}",
        path=handler.hub.base_url,
        expires_days=_KNOWN_DAYS,
    )


def _known_browser(handler: Any, user: str) -> str:
    kept = handler.get_secure_cookie(_KNOWN_BROWSER, max_age_days=_KNOWN_DAYS)
    browser, _, whose = (kept or b"").decode().partition(":")
    return browser if whose == user else ""


def client_address(request: Any, proxies: Iterable[str]) -> str:
    """Return where a request comes from, as its nearest trustworthy witness says.

    What the proxy has put last into `X-Forwarded-For` is believed, and nothing before it; of a
    request that did not come through the proxy, the connection's own address is.
    """
    context = getattr(getattr(request, "connection", None), "context", None)
    peer = getattr(context, "_orig_remote_ip", None) or request.remote_ip
    if peer not in proxies:
        return str(peer)
    said = request.headers.get_list("X-Forwarded-For")
    last = said[-1].rpartition(",")[2].strip() if said else ""
    return last or str(peer)
