"""Composition of what Prometheus is told of how full the platform is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.platform_readings import SqlReadings
from element_jupyter.adapters.sql.quota_use import SqlQuotaUse
from element_jupyter.config import Element
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.service.platform_metrics import PlatformMetrics


def platform_metrics(
    engine: AsyncEngine, settings: Element, quotas: Callable[[], Quotas]
) -> PlatformMetrics:
    """Return what reads it, from the database and the disks."""
    disks = {"data": settings.data, "homes": Path(settings.homes_dir)}
    if Path(settings.teams_dir).is_dir():
        disks["teams"] = Path(settings.teams_dir)
    return PlatformMetrics(SqlReadings(engine), SqlQuotaUse(engine).read, quotas, disks)
