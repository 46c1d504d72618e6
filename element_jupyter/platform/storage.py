"""Composition of what knows what people and teams keep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.adapters.sql.storage_store import SqlStorage
from element_jupyter.config import Element
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.service.quotas import QuotaKeeper
from element_jupyter.service.storage import StorageKeeper


def storage_keeper(
    engine: AsyncEngine,
    settings: Element,
    quotas: Callable[[], Quotas],
    keeper: QuotaKeeper,
) -> StorageKeeper:
    """Return it, asked when a run waits for less, and heard when less is kept."""
    nightly_at = time.fromisoformat(settings.storage_at) if settings.storage_at else None
    found = StorageKeeper(
        SqlStorage(engine), quotas, lambda: datetime.now(UTC), nightly_at, SqlNotices(engine)
    )

    def freed() -> None:
        keeper.freed()  # which is set when there are runs

    found.freed = freed
    keeper.waits_for_storage = found.ask
    return found
