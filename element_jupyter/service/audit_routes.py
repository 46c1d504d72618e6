"""REST of the audit, for administrators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.audit import Act, AuditEntry, AuditFilter
from element_jupyter.core.pages import Page
from element_jupyter.core.values import Name, UtcTime
from element_jupyter.service.audit import AuditReport, AuditState
from element_jupyter.service.audit_export import ExportFormat, exported
from element_jupyter.service.http import Answer, Download, Route, allow
from element_jupyter.service.job_routes import Cursor, Limit
from element_jupyter.service.services import Services

Actor = Annotated[Name | None, Field(description="Who did it.")]
OfSubject = Annotated[
    str | None, Field(max_length=300, description="What it was done to, such as sales/daily.")
]
OfAction = Annotated[
    str, Field(max_length=100, description="How the word for it begins, such as job.")
]
Since = Annotated[UtcTime | None, Field(description="From when on.")]
Until = Annotated[UtcTime | None, Field(description="Up to when.")]
AsAdmin = Annotated[
    bool | None, Field(description="Whether only being an administrator allowed it.")
]


async def list_audit(
    services: Services,
    *,
    actor: Actor = None,
    subject: OfSubject = None,
    action: OfAction = "",
    since: Since = None,
    until: Until = None,
    as_admin: AsAdmin = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditEntry]:
    """List what people have changed, and each use of an administrator's power, newest first."""
    refuse_control_characters({"subject": subject, "action": action})
    wanted = AuditFilter(actor, subject, action, since, until, as_admin)
    return await services.audit.page(wanted, cursor=cursor, limit=limit)


async def download_audit(
    services: Services,
    *,
    form: Annotated[ExportFormat, Field(description="For spreadsheets, or programs.")] = (
        ExportFormat.CSV
    ),
    actor: Actor = None,
    subject: OfSubject = None,
    action: OfAction = "",
    since: Since = None,
    until: Until = None,
    as_admin: AsAdmin = None,
) -> Download:
    """Get all that is on record and asked for as a file, newest first."""
    refuse_control_characters({"subject": subject, "action": action})
    wanted = AuditFilter(actor, subject, action, since, until, as_admin)
    chunks = exported(services.audit.every(wanted), form)
    return Download(f"audit.{form}", chunks, form.media_type)


async def export_audit(
    services: Services,
    *,
    after: Annotated[int, Field(ge=0, description="The last sequence that is known.")] = 0,
    limit: Annotated[int, Field(ge=1, le=1000)] = 500,
) -> Page[AuditEntry]:
    """List the chain in its order, with all that is needed to verify it elsewhere."""
    return await services.audit.chain(after, limit)


async def verify_audit(services: Services) -> AuditReport:
    """Look whether the chain holds from its first entry to its last."""
    return await services.audit.verify()


async def get_audit_state(services: Services) -> AuditState:
    """Say what the last look through the whole chain found, and follow it from there."""
    return await services.audit.state()


async def add_act(services: Services, body: Act) -> Answer[None]:
    """Put on record what the Hub has seen, once; for the Hub only."""
    await services.audit.record(body)
    return Answer(None, status=204)


_ADMINISTER = allow(Action.ADMINISTER)

ROUTES = (
    Route("GET", "/audit", list_audit, access=_ADMINISTER),
    Route("GET", "/audit/chain", export_audit, access=_ADMINISTER),
    Route("GET", "/audit/export", download_audit, access=_ADMINISTER),
    Route("GET", "/audit/state", get_audit_state, access=_ADMINISTER),
    Route("GET", "/audit/verification", verify_audit, access=_ADMINISTER),
    Route("POST", "/audit", add_act, access=allow(Action.PROVISION)),
)
