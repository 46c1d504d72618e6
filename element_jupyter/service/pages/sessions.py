"""Sessions of browsers: which token of the Hub stands behind a cookie.

The cookie is a random number that says nothing; what it stands for is in the memory of the control
plane, and in no file. After a restart the Hub is asked again, which people do not notice.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

SESSION_COOKIE: Final = "element-session"
HUB_SESSION_COOKIE: Final = "jupyterhub-session-id"
"""The Hub changes it whenever somebody signs in or out."""
LONGEST_SECONDS: Final = 12 * 3600.0
_KEPT: Final = 10_000


@dataclass(frozen=True)
class Session:
    """One browser that has signed in."""

    hub_token: str
    hub_session: str
    xsrf: str
    """What the pages' own scripts show with each request; no other page can read it."""
    begun_at: float

    def is_shown_by(self, header: str) -> bool:
        return hmac.compare_digest(self.xsrf.encode(), header.encode("utf-8", "replace"))


class Sessions:
    """Those that there are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, hub_token: str, cookies: Mapping[str, str]) -> str:
        """Begin a session, and end the one that the browser had; return its cookie's text."""
        self.end(cookies)
        number = secrets.token_urlsafe(32)
        self._known[_digest(number)] = Session(
            hub_token=hub_token,
            hub_session=cookies.get(HUB_SESSION_COOKIE, ""),
            xsrf=secrets.token_urlsafe(32),
            begun_at=self._clock(),
        )
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return number

    def of(self, cookies: Mapping[str, str]) -> Session | None:
        """Return the session of a browser; None once it has signed in or out at the Hub anew."""
        key = _digest(cookies.get(SESSION_COOKIE, ""))
        found = self._known.get(key)
        if found is None:
            return None
        if self._clock() - found.begun_at > LONGEST_SECONDS:
            del self._known[key]
            return None
        at_hub = cookies.get(HUB_SESSION_COOKIE, "")
        return found if hmac.compare_digest(found.hub_session.encode(), at_hub.encode()) else None

    def end(self, cookies: Mapping[str, str]) -> None:
        self._known.pop(_digest(cookies.get(SESSION_COOKIE, "")), None)


def _digest(number: str) -> bytes:
    return hashlib.sha256(number.encode()).digest()
