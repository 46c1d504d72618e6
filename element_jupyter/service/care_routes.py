"""REST of care: what one is told, and holding it off."""

from __future__ import annotations

from element_jupyter.core.access import Action, Person, may, of_team
from element_jupyter.core.care.idleness import ActivityAnswer, ActivityReport
from element_jupyter.core.care.notices import Notice, NoticeId, NoticeList
from element_jupyter.core.care.outputs import PutAway
from element_jupyter.core.care.preview import CarePreview, CareShown
from element_jupyter.core.runs import RunId
from element_jupyter.service.http import Route, allow
from element_jupyter.service.run_routes import readable
from element_jupyter.service.services import Services


async def list_notices(services: Services, who: Person) -> NoticeList:
    """Say what you are to be told: an idle server that will be stopped, a GPU that nothing uses."""
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


async def preview_care(services: Services) -> CarePreview:
    """Say what would be tidied up now, and what it frees; does nothing."""
    items = (*await services.care.expected(), *await services.retention.expected())
    disk = sum(each.frees_bytes or 0 for each in items if each.what != "server")
    memory = sum(each.frees_bytes or 0 for each in items if each.what == "server")
    cores = sum(each.frees_cores or 0.0 for each in items)
    return CarePreview(items=items, disk_bytes=disk, memory_bytes=memory, cores=cores)


async def restore_run(services: Services, who: Person, run_id: RunId) -> PutAway:
    """Bring back the outputs of a run that were put into the trash."""
    run = await readable(services, who, run_id)
    may(who, Action.RUN, of_team(run.team))
    return await services.retention.restore(run_id)


ROUTES = (
    Route("GET", "/care", show_care, access=allow(Action.ADMINISTER)),
    Route("GET", "/care/preview", preview_care, access=allow(Action.ADMINISTER)),
    Route(
        "POST",
        "/runs/{run_id}/restore",
        restore_run,
        access=allow(Action.RUN),
        audited="run.outputs-restored",
    ),
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
