"""REST of the audit, for administrators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action
from element_jupyter.core.audit import AuditEntry
from element_jupyter.core.pages import Page
from element_jupyter.core.values import Name
from element_jupyter.service.audit import AuditReport
from element_jupyter.service.http import Route, allow
from element_jupyter.service.job_routes import Cursor, Limit
from element_jupyter.service.services import Services


async def list_audit(
    services: Services,
    *,
    actor: Annotated[Name | None, Field(description="Who did it.")] = None,
    subject: Annotated[
        str | None, Field(max_length=300, description="What it was done to, such as sales/daily.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditEntry]:
    """List what people have changed, and each use of an administrator's power, newest first."""
    return await services.audit.page(actor=actor, subject=subject, cursor=cursor, limit=limit)


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


_ADMINISTER = allow(Action.ADMINISTER)

ROUTES = (
    Route("GET", "/audit", list_audit, access=_ADMINISTER),
    Route("GET", "/audit/chain", export_audit, access=_ADMINISTER),
    Route("GET", "/audit/verification", verify_audit, access=_ADMINISTER),
)
