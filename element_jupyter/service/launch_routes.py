"""`/runs/{id}/launch` and `/runs/{id}/ended`: what the Hub's spawner asks and tells."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action
from element_jupyter.core.errors import NotFound
from element_jupyter.core.provisioning import Launch, ProcessExit
from element_jupyter.core.runs import RunId
from element_jupyter.core.values import Value
from element_jupyter.service.http import Answer, Route, allow
from element_jupyter.service.services import Launches, Services


class Ticket(Value):
    """What the spawner was given with a server's options, and as whom it would start it."""

    ticket: Annotated[str, Field(min_length=1, max_length=200, repr=False)]
    person: Annotated[str, Field(min_length=1, max_length=100)]


async def launch_run(services: Services, run_id: RunId, body: Ticket) -> Launch:
    """Take a run's ticket: what its process needs; for the Hub only, and once."""
    return await _launches(services).redeem(run_id, body.ticket, body.person)


async def end_run_process(services: Services, run_id: RunId, body: ProcessExit) -> Answer[None]:
    """Take note of how a run's process ended; for the Hub only."""
    run = await services.runs.get(run_id)
    await _launches(services).ended(run_id, run.account, body)
    return Answer(None, status=204)


def _launches(services: Services) -> Launches:
    if services.launches is None:
        raise NotFound("No Hub starts the processes of runs here.")
    return services.launches


_PROVISION = allow(Action.PROVISION)

ROUTES = (
    Route("POST", "/runs/{run_id}/launch", launch_run, access=_PROVISION),
    Route("POST", "/runs/{run_id}/ended", end_run_process, access=_PROVISION),
)
