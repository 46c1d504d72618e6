"""How often somebody may try a password: less and less often, the more often it was wrong."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import traitlets
from tornado.web import HTTPError
from traitlets.config import LoggingConfigurable

_LONGEST_PAUSE_SECONDS = 900.0
_FORGOTTEN_SECONDS = 3600.0
_REMEMBERED = 20_000


class Attempts:
    """Wrong passwords by user name and by address, each with a pause that doubles.

    A user name has five wrong passwords free, an address twenty, since an office may share one.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def pause_seconds(self, user: str, address: str) -> float:
        """Return how long to wait before the next try; 0 when it is welcome now."""
        return max(self._pause(key, free) for key, free in _keys(user, address))

    def begin(self, user: str, address: str) -> None:
        """Count a try as wrong until it was right, so that many at once are no way around."""
        now = self._now()
        for key, _ in _keys(user, address):
            count, _last = self._recent(key, now)
            self._wrong[key] = (count + 1, now)
            self._wrong.move_to_end(key)
        while len(self._wrong) > _REMEMBERED:
            self._wrong.popitem(last=False)

    def was_right(self, user: str, address: str) -> None:
        """Forget what was wrong with this user name; the address has others to answer for."""
        self._wrong.pop(("user", user), None)
        count, last = self._wrong.get(("address", address), (0, 0.0))
        if count > 1:
            self._wrong["address", address] = (count - 1, last)
        else:
            self._wrong.pop(("address", address), None)

    def _pause(self, key: tuple[str, str], free: int) -> float:
        now = self._now()
        count, last = self._recent(key, now)
        if count < free:
            return 0.0
        pause = min(2.0 ** (count - free), _LONGEST_PAUSE_SECONDS)
        return max(0.0, last + pause - now)

    def _recent(self, key: tuple[str, str], now: float) -> tuple[int, float]:
        count, last = self._wrong.get(key, (0, now))
        return (0, now) if now - last > _FORGOTTEN_SECONDS else (count, last)


def _keys(user: str, address: str) -> Iterable[tuple[tuple[str, str], int]]:
    return ((("user", user), 5), (("address", address), 20))


class LimitedAttempts(LoggingConfigurable):
    """Mix in before an authenticator that asks for a password itself."""

    proxy_addresses = traitlets.Set(
        {"127.0.0.1", "::1"},
        help="""
        Addresses of the proxy in front of the Hub: only its word is taken for who a request comes
        from (`X-Forwarded-For`).
        """,
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attempts = Attempts()

    def begin_attempt(self, handler: Any, user: str) -> Callable[[], None]:
        """Count a try, and refuse one that comes too early, before anything is compared.

        Returns:
            What to call when the password was right.

        Raises:
            HTTPError: 429, with the seconds to wait.
        """
        address = client_address(handler.request, self.proxy_addresses)
        pause = self.attempts.pause_seconds(user, address)
        if pause > 0:
            seconds = math.ceil(pause)
            self.log.warning("Too many wrong passwords from %s.", address)
            handler.set_header("Retry-After", str(seconds))
            raise HTTPError(429, f"Too many wrong attempts. Try again in {seconds} s.")
        self.attempts.begin(user, address)
        return lambda: self.attempts.was_right(user, address)


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
