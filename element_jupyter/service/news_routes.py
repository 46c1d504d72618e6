"""REST of news: what a page that stays open asks for from time to time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from element_jupyter.core.access import Action, Person
from element_jupyter.core.care.notices import Notice
from element_jupyter.core.runs import Run
from element_jupyter.core.values import UtcTime, Value
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services

_OLDEST: Final = timedelta(days=3)
_MOST: Final = 20

_OVERLAP: Final = timedelta(seconds=5)
"""A run's end is written a moment after the time that it says."""


class News(Value):
    """What somebody is to be told, and when that was so."""

    at: UtcTime
    """What to give as `since` the next time: a little of what was told is told again."""
    notices: tuple[Notice, ...]
    """All that hold now, the most urgent first."""
    ended: tuple[Run, ...]
    """One's own runs that have ended since then, the latest first; of many, the last 20."""


async def get_news(
    services: Services,
    who: Person,
    *,
    since: Annotated[
        UtcTime | None,
        Field(description="The `at` of the last answer; no more than three days count."),
    ] = None,
) -> News:
    """Say what you are to be told: notices, and which runs of yours have ended since."""
    now: datetime = services.now()
    ended: list[Run] = []
    if since is not None:
        ended = await services.runs.ended(who.name, max(since, now - _OLDEST), _MOST)
    notices = await services.notices.mine(who)
    return News(at=now - _OVERLAP, notices=notices.items, ended=tuple(ended))


ROUTES = (Route("GET", "/news", get_news, access=allow(Action.READ)),)
