"""REST of what is kept: shown to whose it is, and told by what measures it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person
from element_jupyter.core.quotas.rules import Scope
from element_jupyter.core.storage import Measured, Storage, ToMeasure
from element_jupyter.core.values import Name
from element_jupyter.service.advice_routes import ScopeOfAdvice, seen_as
from element_jupyter.service.http import Answer, Route, allow
from element_jupyter.service.services import Services


async def get_storage(
    services: Services,
    who: Person,
    *,
    scope: Annotated[
        ScopeOfAdvice,
        Field(description="Yours; a team's, for its leads; everybody's, for administrators."),
    ] = "mine",
    team: Annotated[Name | None, Field(description="With scope=team.")] = None,
    limit: Annotated[int, Field(ge=1, le=10_000, description="Of everybody's.")] = 1000,
) -> Storage:
    """Say what is kept where, as it was last measured, and what may be."""
    seen_as(who, scope, team)
    if scope == "all":
        return await services.storage.of_all(limit)
    if scope == "team" and team is not None:
        return await services.storage.of_team(team)
    return await services.storage.mine(who.holder, set(who.levels) - {who.name})


async def ask_to_measure(services: Services, who: Person) -> Answer[None]:
    """Have what one keeps oneself be measured again soon, as after having deleted something."""
    services.storage.ask(Scope(person=who.holder))
    return Answer(None, status=202)


async def get_storage_to_measure(services: Services) -> ToMeasure:
    """Say what is to be measured now, once; for the Hub only."""
    return await services.storage.to_measure()


async def post_storage_measured(services: Services, body: Measured) -> Answer[None]:
    """Take what was measured, part by part; for the Hub only."""
    await services.storage.measured(body)
    return Answer(None, status=204)


ROUTES = (
    Route("GET", "/storage", get_storage, access=allow(Action.READ)),
    Route("POST", "/storage/measure", ask_to_measure, access=allow(Action.READ)),
    Route("GET", "/storage/to-measure", get_storage_to_measure, access=allow(Action.PROVISION)),
    Route("POST", "/storage/measured", post_storage_measured, access=allow(Action.PROVISION)),
)
