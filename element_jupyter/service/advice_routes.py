"""REST of advice that saves money."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from element_jupyter.core.access import Action, Person, may
from element_jupyter.core.errors import Forbidden, Invalid
from element_jupyter.core.resources.savings import Savings
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services

ScopeOfAdvice = Literal["mine", "team", "all"]


async def get_advice(
    services: Services,
    who: Person,
    *,
    scope: Annotated[
        ScopeOfAdvice,
        Field(description="Yours; a team's, for its leads; everybody's, for administrators."),
    ] = "mine",
    team: Annotated[Name | None, Field(description="What was started for this team.")] = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="At most so many, each.")] = 10,
) -> Savings:
    """List the largest savings: sizes that fit, and jobs that may be interrupted."""
    seen_as(who, scope, team)
    return await services.advice.savings(
        person=who.holder if scope == "mine" else None, team=team, limit=limit
    )


def seen_as(who: Person, scope: ScopeOfAdvice, team: str | None) -> None:
    """Return when somebody may see what others use, in such a scope.

    Raises:
        Forbidden: it is for leads of the team, or for administrators.
        Invalid: a team's is asked for, and no team is named.
    """
    if scope == "all":
        may(who, Action.ADMINISTER)
    elif scope == "team":
        if team is None:
            raise Invalid("team: it must be named with scope=team.", field="team")
        held = who.levels.get(team)
        if held is not None and held.covers(Level.LEAD):
            return
        if not who.admin:
            raise Forbidden(
                f"What others use for the team '{team}' is for its leads.",
                "Ask for your own: scope=mine.",
            )
        may(who, Action.ADMINISTER)


ROUTES = (Route("GET", "/advice", get_advice, access=allow(Action.READ)),)
