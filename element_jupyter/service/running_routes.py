"""REST of what runs and what waits, for those who look after it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from element_jupyter.core.access import Action, Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.quotas.allocations import AllocationId, AllocationKind
from element_jupyter.core.running import (
    QueueFilter,
    QueuePage,
    RunningFilter,
    RunningOrder,
    RunningPage,
    Stopped,
)
from element_jupyter.core.values import Name
from element_jupyter.service.http import Route, allow
from element_jupyter.service.run_routes import Cursor, Limit
from element_jupyter.service.services import Services

Search = Annotated[
    str,
    StringConstraints(max_length=200),
    Field(description="Part of the name of person, team, size, job or notebook."),
]
_TEAM = Annotated[Name | None, Field(description="What was started for this team.")]
_PERSON = Annotated[Name | None, Field(description="What is this person's.")]


async def list_running(
    services: Services,
    who: Person,
    *,
    team: _TEAM = None,
    person: _PERSON = None,
    kind: AllocationKind | None = None,
    size: Name | None = None,
    search: Search = "",
    idle: Annotated[bool, Field(description="Only what is known to do nothing.")] = False,
    order: RunningOrder = RunningOrder.SINCE,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RunningPage:
    """List editors, servers of teams and runs that are open: your own; as a lead, your team's."""
    refuse_control_characters({"search": search, "cursor": cursor})
    wanted = RunningFilter(team, person, kind, size, search.strip(), order, idle)
    return await services.running.page(who, wanted, cursor=cursor, limit=limit)


async def stop_running(services: Services, who: Person, allocation_id: AllocationId) -> Stopped:
    """Stop an editor, the server of a team, or a run; what has ended already stays as it is."""
    return await services.running.stop(who, allocation_id)


async def list_queue(
    services: Services,
    who: Person,
    *,
    team: _TEAM = None,
    person: _PERSON = None,
    search: Search = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> QueuePage:
    """List the runs that wait, with their place and why: your own; as a lead, your team's."""
    refuse_control_characters({"search": search, "cursor": cursor})
    wanted = QueueFilter(team, person, search.strip())
    return await services.running.queue(who, wanted, cursor=cursor, limit=limit)


ROUTES = (
    Route("GET", "/running", list_running, access=allow(Action.READ)),
    Route(
        "POST",
        "/running/{allocation_id}/stop",
        stop_running,
        access=allow(Action.READ),
        audited="running.stopped",
    ),
    Route("GET", "/queue", list_queue, access=allow(Action.READ)),
)
