"""What somebody is told once it was decided what they had asked for."""

from __future__ import annotations

from datetime import datetime

from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.core.quotas.requests import QuotaRequest, RequestState


def decision(request: QuotaRequest, now: datetime) -> Told:
    """Return what whoever asked is told; the same for the same request."""
    about = f"request {request.id}"
    verdict = "approved" if request.state is RequestState.APPROVED else "declined"
    answer = f" They say: {request.answer}" if request.answer else ""
    granted = "It counts now." if request.state is RequestState.APPROVED else ""
    return Told(
        id=notice_id(request.person, NoticeKind.DECIDED, about),
        person=request.person,
        kind=NoticeKind.DECIDED,
        about=about,
        sentence=f"{request.decided_by} has {verdict} your request: {request.words}.{answer}",
        hint=granted or "Ask them what else is possible.",
        at=request.decided_at or now,
    )
