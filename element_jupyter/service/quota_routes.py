"""REST of quotas: what one may use, what was given to whom, and what the Hub's spawner takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person, may, of_team
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Forbidden
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.pages import Page
from element_jupyter.core.quotas.allocations import (
    Allocation,
    AllocationId,
    AllocationKind,
    Ended,
)
from element_jupyter.core.quotas.standing import ShownQuota
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Answer, Route, allow
from element_jupyter.service.services import Services


class Reservation(Value):
    """What a server of the Hub needs."""

    allocation: Allocation
    level: Level | None = None
    """What its person is to the team."""
    begun: bool = False
    """Whether it was started already, when nobody could be asked."""


async def get_quota(
    services: Services,
    who: Person,
    *,
    team: Annotated[Name | None, Field(description="Your own, when none is given.")] = None,
    size: Annotated[
        Name | None, Field(description="Whether something of this size fits now.")
    ] = None,
    kind: Annotated[AllocationKind, Field(description="What would be started.")] = (
        AllocationKind.RUN
    ),
) -> ShownQuota:
    """Say which limits count for you in a team, how much of them is used, and what fits now."""
    wanted = team or who.name
    may(who, Action.READ, of_team(wanted))
    return await services.quotas.show(who, wanted, size, kind)


async def list_allocations(
    services: Services,
    who: Person,
    *,
    team: Annotated[Name | None, Field(description="What was started for this team.")] = None,
    person: Annotated[Name | None, Field(description="What this person started.")] = None,
    still_open: Annotated[
        bool | None, Field(description="What goes on, or what has ended.")
    ] = None,
    cursor: str | None = None,
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> Page[Allocation]:
    """List what was given to whom, newest first: your own; of a team, for its leads."""
    refuse_control_characters({"cursor": cursor})
    teams = None if team is None else [team]
    if not who.admin and person != who.name:
        if team is None:
            person = who.name
        elif (held := who.levels.get(team)) is None or not held.covers(Level.LEAD):
            raise Forbidden(
                f"What others use for the team '{team}' is for its leads.",
                "Ask for your own: leave the team out.",
            )
    return await services.quotas.page(
        cursor=cursor, limit=limit, teams=teams, person=person, still_open=still_open
    )


async def reserve_allocation(services: Services, body: Reservation) -> Answer[None]:
    """Take what a server needs, within the limits; for the Hub only."""
    if body.allocation.kind is AllocationKind.RUN:
        raise Forbidden("The control plane itself takes what runs need.")
    await services.quotas.reserve(body.allocation, body.level, begun=body.begun)
    return Answer(None, status=204)


async def release_allocation(
    services: Services, allocation_id: AllocationId, body: Ended
) -> Answer[None]:
    """Take note that something has ended, and of what it used; for the Hub only."""
    await services.quotas.release(allocation_id, body)
    spent = body.spent
    last = Reading(
        allocation_id=allocation_id,
        at=body.ended_at,
        cpu_seconds=spent.cpu_seconds,
        peak_memory_bytes=spent.peak_memory_bytes,
    )
    await services.ledger.take([last])
    return Answer(None, status=204)


_PROVISION = allow(Action.PROVISION)

ROUTES = (
    Route("GET", "/quota", get_quota, access=allow(Action.READ)),
    Route("GET", "/allocations", list_allocations, access=allow(Action.READ)),
    Route("POST", "/allocations", reserve_allocation, access=_PROVISION),
    Route("POST", "/allocations/{allocation_id}/release", release_allocation, access=_PROVISION),
)
