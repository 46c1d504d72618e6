"""Composition of advice that saves money, at the prices of today."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.started_store import SqlStarted
from element_jupyter.config import Element
from element_jupyter.core.ledger.prices import Billing, Prices
from element_jupyter.core.sizes import Size, Sizes
from element_jupyter.platform.admin_files import prices, sizes
from element_jupyter.service.advice import Adviser, JobList


def adviser(engine: AsyncEngine, settings: Element, jobs: JobList) -> Adviser:
    """Return it, with what `prices.yaml` says, else `sizes.yaml`."""
    known = prices(settings)
    return Adviser(
        SqlStarted(engine), _in_currency(known, sizes(settings)), jobs, _now, _price(known)
    )


def _in_currency(known: Callable[[], Prices], found: Callable[[], Sizes]) -> Callable[[], Sizes]:
    def said() -> Sizes:
        return found().model_copy(update={"currency": known().currency or found().currency})

    return said


def _price(known: Callable[[], Prices]) -> Callable[[Size, str], Decimal | None]:
    def hourly(size: Size, team: str) -> Decimal | None:
        table = known()
        if table.billing_of(team) is Billing.USED:
            return None  # another size would cost the same
        today = _now().astimezone(ZoneInfo(table.timezone)).date()
        period = bisect_right(table.days, today)
        if period == 0 and size.price_per_hour is None:
            return None
        rates = table.rates(period, size.name, size.price_per_hour)
        gib = Decimal(size.memory_bytes) / 2**30
        of_parts = rates.cpu * Decimal(str(size.cpu)) + rates.gib * gib + rates.gpu * size.gpu
        return rates.whole + of_parts

    return hourly


def _now() -> datetime:
    return datetime.now(UTC)
