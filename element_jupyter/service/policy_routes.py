"""REST of the quotas that administrators manage: what counts, its versions, and changing it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from element_jupyter.core.access import Action, Person, Visitor, may
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.audit import note_change
from element_jupyter.core.errors import Forbidden, Invalid
from element_jupyter.core.pages import Page
from element_jupyter.core.quotas.policies import Origin, PastVersion, Reason
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.quotas.use import Effects
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Answer, IfMatch, Route, allow
from element_jupyter.service.job_routes import Cursor, Limit
from element_jupyter.service.policies import ShownQuotas
from element_jupyter.service.services import Services

By = Annotated[
    Literal["page", "apply"], Field(description="What makes the change, for the history.")
]
Why = Annotated[Reason, Field(description="Why, for the history.")]


class Undo(Value):
    """Which version to go back to."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Reason = ""


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
    Route("POST", "/quotas/undo", undo_quotas, access=_ADMINISTER, audited="quotas.undone"),
)
