"""“Queue”: the runs that wait, in their order, and why each does."""

from __future__ import annotations

from typing import Final

from element_jupyter.core.access import Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.running import QueueFilter
from element_jupyter.service.pages.listing import Cursor, Given, address
from element_jupyter.service.pages.view import View, leads
from element_jupyter.service.services import Services

_ON_PAGE: Final = 50


async def load(
    services: Services,
    who: Person,
    *,
    search: Given = "",
    team: Given = "",
    person: Given = "",
    cursor: Cursor = None,
) -> dict[str, object]:
    """Show the runs that wait and that somebody may see."""
    refuse_control_characters({"search": search, "team": team, "person": person})
    asked = {"search": search, "team": team, "person": person}
    wanted = QueueFilter(team or None, person or None, search)
    found = await services.running.queue(who, wanted, cursor=cursor, limit=_ON_PAGE)
    return {
        "asked": asked,
        "found": found,
        "waited": lambda since: (found.at - since).total_seconds(),
        "filtered": any(asked.values()),
        "first": address("queue", asked) if cursor else "",
        "following": address("queue", asked, cursor=found.next_cursor) if found.next_cursor else "",
        "of": lambda **changed: address("queue", asked, **changed),
    }


PAGES = (View("queue", "Queue", load, "queue.html", leads, ("live.js",)),)
