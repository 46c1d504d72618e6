"""REST of care: what one is told, and holding it off."""

from __future__ import annotations

from element_jupyter.core.access import Action, Person
from element_jupyter.core.care.idleness import ActivityAnswer, ActivityReport
from element_jupyter.core.care.notices import Notice, NoticeId, NoticeList
from element_jupyter.core.care.preview import CareShown
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services


async def list_notices(services: Services, who: Person) -> NoticeList:
    """Say what you are to be told: an idle server that will be stopped, a budget nearly used up."""
    return await services.notices.mine(who)


async def keep_notice(services: Services, who: Person, notice_id: NoticeId) -> Notice:
    """Hold off what a notice says will be done, for as long as the policy lets you."""
    return await services.notices.keep(who, notice_id)


async def report_activity(services: Services, who: Person, body: ActivityReport) -> ActivityAnswer:
    """Say what your server at the Hub does; counts for that server only, until it is too old."""
    return await services.care.report(who, body)


async def show_care(services: Services) -> CareShown:
    """Say what is tidied up and when, and how the servers stand that run."""
    return CareShown(policy=services.care.policy(), servers=await services.care.shown())


ROUTES = (
    Route("GET", "/care", show_care, access=allow(Action.ADMINISTER)),
    Route("GET", "/notices", list_notices, access=allow(Action.READ)),
    Route(
        "POST",
        "/notices/{notice_id}/keep",
        keep_notice,
        access=allow(Action.RUN),
        audited="notice.kept",
    ),
    Route("POST", "/activity", report_activity, access=allow(Action.RUN)),
)
