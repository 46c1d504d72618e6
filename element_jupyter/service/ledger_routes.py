"""REST of the ledger: what was given, used and what it cost."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Forbidden
from element_jupyter.core.ledger.corrections import Corrected, Correction
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.ledger.reports import UsageReport, dimensions
from element_jupyter.core.quotas.allocations import AllocationId
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Answer, Download, Route, allow
from element_jupyter.service.ledger import Asked
from element_jupyter.service.ledger_export import ReportFormat
from element_jupyter.service.services import Services

By = Annotated[
    str,
    Field(
        max_length=100,
        description="What rows are told apart by, such as team,day: any of person, team, job,"
        " notebook, size, kind, day, month.",
    ),
]
Since = Annotated[
    date | None, Field(description="The first day. Without days: the month that it is.")
]
Until = Annotated[date | None, Field(description="The first day that is not asked for.")]
Team = Annotated[Name | None, Field(description="What was started for this team.")]
WhosePerson = Annotated[Name | None, Field(description="What this person started.")]
Job = Annotated[str | None, Field(max_length=130, description="Of this job: team/name.")]
Notebook = Annotated[str | None, Field(max_length=1024, description="Of this notebook.")]


async def get_usage(
    services: Services,
    who: Person,
    *,
    by: By = "",
    since: Since = None,
    until: Until = None,
    team: Team = None,
    person: WhosePerson = None,
    job: Job = None,
    notebook: Notebook = None,
) -> UsageReport:
    """Add up what was given, used and what it costs: your own; of a team, for its leads."""
    return await services.ledger.report(_asked(who, by, since, until, team, person, job, notebook))


async def export_usage(
    services: Services,
    who: Person,
    *,
    format: Annotated[
        ReportFormat, Field(description="CSV, or Parquet where pyarrow is installed.")
    ] = ReportFormat.CSV,
    by: By = "",
    since: Since = None,
    until: Until = None,
    team: Team = None,
    person: WhosePerson = None,
    job: Job = None,
    notebook: Notebook = None,
) -> Download:
    """Return the rows of such a report as a file, however many there are."""
    asked = _asked(who, by, since, until, team, person, job, notebook)
    chunks = services.ledger.export(asked, format)
    return Download(f"usage.{format}", chunks, format.media_type)


def _asked(  # noqa: PLR0917 - what a report may be asked for
    who: Person,
    by: str,
    since: date | None,
    until: date | None,
    team: str | None,
    person: str | None,
    job: str | None,
    notebook: str | None,
) -> Asked:
    refuse_control_characters({"job": job, "notebook": notebook})
    if not who.admin and person != who.name:
        if team is None and person is None:
            person = who.name
        elif team is None or (held := who.levels.get(team)) is None or not held.covers(Level.LEAD):
            whose = f"for the team '{team}'" if team is not None else "here"
            raise Forbidden(
                f"What others use {whose} is for the leads of their team.",
                "Ask for your own: leave team and person out.",
                field="person" if team is None else "team",
            )
    return Asked(dimensions(by), since, until, team, person, job, notebook)


class Readings(Value):
    """What meters of the Hub say, of all that runs, at once."""

    readings: Annotated[tuple[Reading, ...], Field(max_length=100_000)]


async def take_readings(services: Services, body: Readings) -> Answer[None]:
    """Count what was used, as the Hub's own meters say; what was told before counts once."""
    await services.ledger.take(body.readings)
    return Answer(None, status=204)


async def correct_usage(services: Services, who: Person, body: Correction) -> Answer[None]:
    """Add a correction to what was counted in an hour, which stays as it was counted."""
    await services.ledger.correct(body, who.name)
    return Answer(None, status=204)


async def list_corrections(
    services: Services,
    *,
    allocation: Annotated[AllocationId | None, Field(description="Of this allocation.")] = None,
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> tuple[Corrected, ...]:
    """List what was corrected, newest first, also by Element itself when an end was told late."""
    return tuple(await services.ledger.corrections(allocation, limit))


_ADMINISTER = allow(Action.ADMINISTER)

ROUTES = (
    Route("GET", "/usage", get_usage, access=allow(Action.READ)),
    Route("GET", "/usage/export", export_usage, access=allow(Action.READ)),
    Route("POST", "/usage/readings", take_readings, access=allow(Action.PROVISION)),
    Route(
        "POST",
        "/usage/corrections",
        correct_usage,
        access=_ADMINISTER,
        audited="usage.correct",
    ),
    Route("GET", "/usage/corrections", list_corrections, access=_ADMINISTER),
)
