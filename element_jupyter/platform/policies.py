"""Composition of the quotas that count, and of what follows their changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.hub.roster import HubRoster
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.adapters.sql.policy_store import SqlPolicies
from element_jupyter.adapters.sql.quota_use import SqlQuotaUse
from element_jupyter.adapters.sql.request_store import SqlQuotaRequests
from element_jupyter.config import Element
from element_jupyter.core.quotas.use import Levels
from element_jupyter.core.teams import Level
from element_jupyter.platform.admin_files import quotas
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub.access import HubAccess
from element_jupyter.platform.published_quotas import PublishedQuotas
from element_jupyter.service.policies import Policies
from element_jupyter.service.quota_requests import QuotaRequests
from element_jupyter.service.quota_standings import QuotaStandings


class ManagedQuotas(NamedTuple):
    """What belongs together."""

    policies: Policies
    requests: QuotaRequests
    standings: QuotaStandings


async def managed_quotas(
    stack: AsyncExitStack,
    engine: AsyncEngine,
    settings: Element,
    data: Data,
    hub: HubAccess | None,
) -> ManagedQuotas:
    """Return what knows the quotas, and follows what changes them until the stack is closed.

    Raises:
        Unavailable: the database does not answer.
    """
    use, people = SqlQuotaUse(engine).read, _people(stack, settings, hub)
    found = Policies(
        SqlPolicies(engine),
        quotas(settings),
        PublishedQuotas(settings, data).write,
        _now,
        use=use,
        people=people,
    )
    await found.follow()
    standings = QuotaStandings(found.in_force, use, people, _now)
    stack.push_async_callback(standings.close)
    for work in (found.keep_following(), standings.prepare()):
        stack.push_async_callback(_ended, asyncio.create_task(work))
    requests = QuotaRequests(SqlQuotaRequests(engine), found, _now, SqlNotices(engine).tell)
    return ManagedQuotas(found, requests, standings)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _now() -> datetime:
    return datetime.now(UTC)


def _people(
    stack: AsyncExitStack, settings: Element, hub: HubAccess | None
) -> Callable[[], Awaitable[Mapping[str, Levels]]]:
    if hub is None:

        async def alone() -> Mapping[str, Levels]:
            return {settings.owner: {settings.owner: Level.LEAD}}

        return alone
    roster = HubRoster(hub.api_url, hub.token_file)
    stack.push_async_callback(roster.close)
    return roster.everyone
