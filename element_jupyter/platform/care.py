"""Care, composed: what tidies up, and the loops in which it does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.hub.servers import HubServers
from element_jupyter.adapters.run_trash import RunTrash
from element_jupyter.adapters.sql.activity_store import SqlActivity
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.adapters.sql.put_away_store import SqlPutAway
from element_jupyter.config import Element
from element_jupyter.platform.admin_files import care
from element_jupyter.service.audit import Audit
from element_jupyter.service.budget_care import BudgetCare
from element_jupyter.service.care import ServerCare
from element_jupyter.service.notices import Notices
from element_jupyter.service.quota_standings import QuotaStandings
from element_jupyter.service.retention import Retention
from element_jupyter.service.runs import Runs

Work = tuple[str, Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Care:
    """The parts of care."""

    notices: Notices
    servers: ServerCare
    retention: Retention
    budgets: BudgetCare
    _hub: HubServers | None

    def loops(self) -> list[Work]:
        """Return what goes on for as long as the control plane does."""
        found: list[Work] = [("put away old outputs", self.retention.keep_tidying())]
        every = self.budgets.keep_looking(lambda: self.servers.policy().report_every)
        found.append(("look at budgets", every))
        if self._hub is not None:
            found.append(("look for what is idle", self.servers.keep_looking(self._hub)))
        return found


def care_of(
    settings: Element,
    engine: AsyncEngine,
    hub: HubServers | None,
    audit: Audit,
    *,
    now: Callable[[], datetime],
    standings: QuotaStandings,
    runs: Runs,
) -> Care:
    """Compose what tidies up."""
    told = SqlNotices(engine)
    activity, policy = SqlActivity(engine), care(settings)
    servers = ServerCare(activity, told, policy, audit.record, now)
    trash = RunTrash(settings.data / "runs")
    retention = Retention(
        SqlPutAway(engine),
        trash,
        policy,
        record=audit.record,
        now=now,
        alone=partial(activity.alone, "outputs"),
    )
    budgets = BudgetCare(
        standings.read_ahead,
        told,
        activity,
        runs=runs,
        servers=hub,
        now=now,
        alone=partial(activity.alone, "budgets"),
        note_ends=servers.take_note_of_ends,
    )
    return Care(Notices(told, now), servers, retention, budgets, hub)
