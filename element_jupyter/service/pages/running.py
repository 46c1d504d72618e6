"""“Running”: what is open now, what it costs, whether it does anything; and stopping it."""

from __future__ import annotations

from typing import Final

from element_jupyter.core.access import Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Invalid
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.running import RunningFilter, RunningOrder, RunningThing
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.service.pages.listing import Cursor, Given, address
from element_jupyter.service.pages.view import View, leads
from element_jupyter.service.services import Services

_ON_PAGE: Final = 50
KINDS: Final = {
    AllocationKind.EDITOR: "Editor",
    AllocationKind.TEAM_SERVER: "Server of the team",
    AllocationKind.RUN: "Run",
}
ORDERS: Final = {
    RunningOrder.SINCE: "longest first",
    RunningOrder.NEWEST: "newest first",
    RunningOrder.COST: "dearest first",
    RunningOrder.PERSON: "by person",
    RunningOrder.TEAM: "by team",
    RunningOrder.SIZE: "by size",
}


async def load(
    services: Services,
    who: Person,
    *,
    search: Given = "",
    team: Given = "",
    person: Given = "",
    kind: Given = "",
    idle: Given = "",
    order: RunningOrder = RunningOrder.SINCE,
    cursor: Cursor = None,
) -> dict[str, object]:
    """Show what runs that somebody may see."""
    refuse_control_characters({"search": search, "team": team, "person": person})
    asked = {
        "search": search,
        "team": team,
        "person": person,
        "kind": kind,
        "idle": idle,
        "order": "" if order is RunningOrder.SINCE else order.value,
    }
    wanted = RunningFilter(
        team or None, person or None, _kind(kind), None, search, order, idle=bool(idle)
    )
    found = await services.running.page(who, wanted, cursor=cursor, limit=_ON_PAGE)
    return {
        "asked": asked,
        "order": order,
        "found": found,
        "things": [(thing, called(thing), loses(thing)) for thing in found.items],
        "kinds": KINDS,
        "orders": ORDERS,
        "filtered": any((search, team, person, kind, idle)),
        "here": address("running", asked, cursor=cursor),
        "first": address("running", asked) if cursor else "",
        "following": address("running", asked, cursor=found.next_cursor)
        if found.next_cursor
        else "",
        "of": lambda **changed: address("running", asked, **changed),
    }


def called(thing: RunningThing) -> str:
    """Name something that runs, with whose it is."""
    team = team_of_account(thing.person)
    match thing.kind:
        case AllocationKind.TEAM_SERVER:
            return f"the server of the team {team or thing.team}"
        case AllocationKind.RUN:
            return f"{thing.person}’s run of {thing.job or thing.notebook or thing.id}"
    return f"{thing.person}’s editor" + (f" “{thing.server}”" if thing.server else "")


def loses(thing: RunningThing) -> str:
    """Say what is lost when it is stopped."""
    if thing.kind is AllocationKind.RUN:
        return "Its notebook is kept as far as it was executed; the run ends as stopped."
    whose = "The kernels of all who work in it" if _is_shared(thing) else "Its kernels"
    return f"{whose} end, with what is in their memory; saved files stay."


def _is_shared(thing: RunningThing) -> bool:
    return thing.kind is AllocationKind.TEAM_SERVER


def _kind(text: str) -> AllocationKind | None:
    if not text:
        return None
    try:
        return AllocationKind(text)
    except ValueError:
        known = f"There are: {', '.join(KINDS)}."
        raise Invalid("kind: there is no such kind.", known, field="kind") from None


PAGES = (View("running", "Running", load, "running.html", leads, ("running.js",)),)
