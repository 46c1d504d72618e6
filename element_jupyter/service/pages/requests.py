"""“Requests”: what people have asked for beyond their limits, for those who decide."""

from __future__ import annotations

from typing import Final

from element_jupyter.core.access import Person
from element_jupyter.core.quotas.requests import QuotaRequest, RequestState
from element_jupyter.service.pages.view import View, leads, teams_led
from element_jupyter.service.policy_routes import list_quota_requests
from element_jupyter.service.services import Services


async def load(
    services: Services,
    who: Person,
    *,
    state: RequestState | None = None,
    cursor: str | None = None,
) -> dict[str, object]:
    """Show the requests that the reader may know of; those that are open first, unless asked."""
    found = await list_quota_requests(services, who, state=state, cursor=cursor, limit=50)
    rows = [(each, may_decide(who, each)) for each in found.items]
    if state is None and cursor is None:
        rows.sort(key=lambda row: row[0].state is not RequestState.OPEN)
    return {
        "rows": rows,
        "state": state,
        "states": list(RequestState),
        "following": found.next_cursor,
        "cursor": cursor,
    }


def may_decide(who: Person, request: QuotaRequest) -> bool:
    """Whether it is theirs to decide, and not decided."""
    if request.state is not RequestState.OPEN:
        return False
    return who.admin or (request.team in teams_led(who) and request.person != who.name)


PAGES: Final = (
    View(
        "people/requests",
        "Requests",
        load,
        "requests.html",
        may=leads,
        modules=("requests.js",),
        in_navigation=False,
    ),
)
