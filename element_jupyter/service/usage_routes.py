"""REST of usage: what the next run needs, from what those before it used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person, may, of_team
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Invalid
from element_jupyter.core.resources.advice import Advice
from element_jupyter.core.values import Name
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services


async def get_usage_advice(
    services: Services,
    who: Person,
    *,
    job: Annotated[
        str | None, Field(max_length=130, description="Of a task of this job: team/name.")
    ] = None,
    task: Name = "main",
    notebook: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1024,
            description="Without a job: of this notebook, as your own runs of it name it.",
        ),
    ] = None,
) -> Advice:
    """Say what is enough for the next run, with the evidence; nothing is changed by it."""
    refuse_control_characters({"job": job, "notebook": notebook})
    if (job is None) == (notebook is None):
        raise Invalid("Give either a job or a notebook.", field="job")
    if job is not None:
        team, slash, name = job.partition("/")
        if not (team and slash and name):
            raise Invalid("job: it must be written as team/name.", field="job")
        may(who, Action.READ, of_team(team))
    found: Advice = await services.runs.advice(
        job=job, task=task, notebook=notebook, owner=who.holder
    )
    return found


ROUTES = (Route("GET", "/usage/advice", get_usage_advice, access=allow(Action.READ)),)
