"""REST of the quotas that administrators manage: what counts, its versions, and changing it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from element_jupyter.core.access import Action, Person, Scheduler, Visitor, may
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.audit import note_change, note_power
from element_jupyter.core.errors import Forbidden, Invalid
from element_jupyter.core.pages import Page
from element_jupyter.core.quotas.people import PersonStanding, TeamStanding
from element_jupyter.core.quotas.policies import Origin, PastVersion, Reason
from element_jupyter.core.quotas.requests import QuotaRequest, RequestState, Wanted
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.quotas.use import Effects
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Answer, IfMatch, Route, allow
from element_jupyter.service.job_routes import Cursor, Limit
from element_jupyter.service.policies import ShownQuotas
from element_jupyter.service.quota_requests import Grant
from element_jupyter.service.quota_standings import Sort
from element_jupyter.service.services import Services

By = Annotated[
    Literal["page", "apply"], Field(description="What makes the change, for the history.")
]
Why = Annotated[Reason, Field(description="Why, for the history.")]


class Undo(Value):
    """Which version to go back to."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Reason = ""


class Approval(Value):
    """How a request is granted."""

    to: Grant | None = None
    """`member`: in its team alone; `person`: everywhere, by an administrator. Where the team is
    the person's own, everywhere; else in the team."""
    answer: Reason = ""


class Decline(Value):
    """What is said to a request that is declined."""

    answer: Reason = ""


RequestId = Annotated[int, Field(ge=1, le=2**62)]
TeamChoice = Annotated[Name | None, Field(description="Only this team.")]
Search = Annotated[str, Field(max_length=63, description="Part of the name.")]
Over = Annotated[float, Field(ge=0, le=1000, description="From so many percent of a limit on.")]
SortChoice = Annotated[Sort, Field(description="By name, or who has used most first.")]


async def get_quotas(
    services: Services,
    who: Person,
    *,
    version: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="A past one; what counts, else.")
    ] = None,
) -> Answer[ShownQuotas]:
    """Get the quotas that count: all for administrators, for leads what their teams are told.

    The ETag is their version.
    """
    teams = leads(who)
    if teams is None or version is not None or not teams:
        may(who, Action.ADMINISTER)
    found = await services.policies.show(version)
    if teams is not None and not who.admin:
        found = found.model_copy(
            update={"quotas": _concerning(found.quotas, teams, who.name), "hint": ""}
        )
    return Answer(found, etag=str(found.version))


async def put_quotas(
    services: Services,
    who: Person,
    body: Quotas,
    *,
    dry_run: Annotated[bool, Field(description="Whether to say only what would change.")] = False,
    by: By = "page",
    reason: Why = "",
    if_match: IfMatch = None,
) -> Answer[ShownQuotas | Effects]:
    """Change the quotas; from then on quotas.yaml does not count any more.

    `If-Match` is the version that the change is of. A dry run says what would change, who would be
    over now, and saves nothing.
    """
    refuse_control_characters({"reason": reason})
    expected = _version(if_match)
    if dry_run:
        note_change(None, None)
        return Answer(await services.policies.effects(body, expected))
    if expected is None:
        raise Invalid(
            "If-Match: it must be the version of the quotas that the change is of, in quotes.",
            'Send the ETag that GET has answered, such as "3".',
            field="If-Match",
        )
    saved = await services.policies.put(
        body, by=who.name, origin=Origin(by), reason=reason, expected=expected
    )
    return Answer(saved, etag=str(saved.version))


async def list_quota_versions(
    services: Services, *, cursor: Cursor = None, limit: Limit = 50
) -> Page[PastVersion]:
    """List the versions of the quotas, newest first, with what each changed."""
    refuse_control_characters({"cursor": cursor})
    return await services.policies.history(cursor, limit)


async def undo_quotas(
    services: Services,
    who: Person,
    body: Undo,
    *,
    dry_run: Annotated[bool, Field(description="Whether to say only what would change.")] = False,
    by: By = "page",
    if_match: IfMatch = None,
) -> Answer[ShownQuotas | Effects]:
    """Go back to a version of the quotas, as a new version."""
    refuse_control_characters({"reason": body.reason})
    expected = _version(if_match)
    if dry_run:
        note_change(None, None)
        past = await services.policies.past(body.version)
        return Answer(await services.policies.effects(past, expected))
    saved = await services.policies.undo(
        body.version, by=who.name, origin=Origin(by), reason=body.reason, expected=expected
    )
    return Answer(saved, etag=str(saved.version))


async def ask_for_quota(services: Services, who: Person, body: Wanted) -> Answer[QuotaRequest]:
    """Ask for more than you may have, for a while; a lead of the team or an administrator decides.

    For your own team of one, administrators alone do.
    """
    _no_visitor(who)
    refuse_control_characters({"reason": body.reason})
    return Answer(await services.quota_requests.ask(who, body), status=201)


async def list_quota_requests(
    services: Services,
    who: Person,
    *,
    state: Annotated[RequestState | None, Field(description="Only these.")] = None,
    mine: Annotated[bool, Field(description="Only your own.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[QuotaRequest]:
    """List requests, newest first: your own, and those for the teams that you lead."""
    refuse_control_characters({"cursor": cursor})
    return await services.quota_requests.page(
        who, teams=leads(who), state=state, mine=mine, cursor=cursor, limit=limit
    )


async def approve_quota_request(
    services: Services, who: Person, request_id: RequestId, body: Approval | None = None
) -> QuotaRequest:
    """Grant what is asked until its last day; a lead grants it within the team alone."""
    _no_visitor(who)
    said = body or Approval()
    refuse_control_characters({"answer": said.answer})
    return await services.quota_requests.approve(who, request_id, to=said.to, answer=said.answer)


async def decline_quota_request(
    services: Services, who: Person, request_id: RequestId, body: Decline | None = None
) -> QuotaRequest:
    """Refuse what is asked, with a word to whoever asked."""
    _no_visitor(who)
    said = body or Decline()
    refuse_control_characters({"answer": said.answer})
    return await services.quota_requests.decline(who, request_id, answer=said.answer)


async def list_quota_people(
    services: Services,
    who: Person,
    *,
    team: TeamChoice = None,
    search: Search = "",
    over: Over = 0,
    sort: SortChoice = "name",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[PersonStanding]:
    """List people with their limits, where each comes from, and how much of it is used.

    Administrators see all; a lead those of the team, and of them what concerns the team.
    """
    refuse_control_characters({"cursor": cursor, "search": search})
    return await services.quota_standings.people(
        teams=_seen(who, team),
        search=search,
        over=over / 100,
        sort=sort,
        cursor=cursor,
        limit=limit,
    )


async def list_quota_teams(
    services: Services,
    who: Person,
    *,
    team: TeamChoice = None,
    search: Search = "",
    over: Over = 0,
    sort: SortChoice = "name",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[TeamStanding]:
    """List teams with the limits of what they use together, and how much of each is used."""
    refuse_control_characters({"cursor": cursor, "search": search})
    return await services.quota_standings.teams(
        teams=_seen(who, team),
        search=search,
        over=over / 100,
        sort=sort,
        cursor=cursor,
        limit=limit,
    )


def _no_visitor(who: Person) -> None:
    leads(who)
    if isinstance(who, Scheduler):
        raise Forbidden("Airflow's own token may not ask for quota.")


def _seen(who: Person, team: Name | None) -> frozenset[Name] | None:
    led = leads(who)
    if led is None:
        note_power()
        return None if team is None else frozenset({team})
    if not led or (team is not None and team not in led):
        raise Forbidden(
            "How others stand is for administrators, and for leads of their team.",
            "Your own limits: GET /quota.",
        )
    return led if team is None else frozenset({team})


def leads(who: Person) -> frozenset[Name] | None:
    """Return the teams that somebody leads, besides their own of one; None: all.

    From the server of a team asks whoever is in it, so nobody leads there.

    Raises:
        Forbidden: it is asked from the server of a team.
    """
    if isinstance(who, Visitor):
        raise Forbidden(
            "Quotas are not managed from the server of a team.", "Ask from a server of your own."
        )
    if who.admin:
        return None
    return frozenset(
        team for team, level in who.levels.items() if level is Level.LEAD and team != who.name
    )


def _concerning(quotas: Quotas, teams: frozenset[Name], person: Name) -> Quotas:
    def concerns(subject: str) -> bool:
        what, _, name = subject.partition(":")
        of_team = name.partition("/")[0]
        return (
            what in {"everyone", "role"}
            or (what in {"team", "member"} and (of_team == "*" or of_team in teams))
            or (what == "person" and name == person)
        )

    kept = tuple(each for each in quotas.quotas if concerns(each.who))
    return Quotas(timezone=quotas.timezone, contact=quotas.contact, quotas=kept)


def _version(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    match = re.fullmatch(r'(?:W/)?"(\d{1,9})"', if_match.strip())
    if match is None:
        raise Invalid(
            "If-Match: it must be the version of the quotas, in quotes.",
            'Send the ETag that GET has answered, such as "3".',
            field="If-Match",
        )
    return int(match[1])


_ADMINISTER = allow(Action.ADMINISTER)

ROUTES = (
    Route("GET", "/quotas", get_quotas, access=allow(Action.READ)),
    Route("PUT", "/quotas", put_quotas, access=_ADMINISTER, audited="quotas.changed"),
    Route("GET", "/quotas/history", list_quota_versions, access=_ADMINISTER),
    Route("GET", "/quota/people", list_quota_people, access=allow(Action.READ)),
    Route("GET", "/quota/teams", list_quota_teams, access=allow(Action.READ)),
    Route(
        *("POST", "/quota/requests", ask_for_quota),
        access=allow(Action.READ),
        audited="quota.requested",
        status=201,
    ),
    Route("GET", "/quota/requests", list_quota_requests, access=allow(Action.READ)),
    Route(
        *("POST", "/quota/requests/{request_id}/approve", approve_quota_request),
        access=allow(Action.READ),
        audited="quota.approved",
    ),
    Route(
        *("POST", "/quota/requests/{request_id}/decline", decline_quota_request),
        access=allow(Action.READ),
        audited="quota.declined",
    ),
    Route("POST", "/quotas/undo", undo_quotas, access=_ADMINISTER, audited="quotas.undone"),
)
