"""The ledger: reports of what was given and used, priced as they are made."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from element_jupyter.core.errors import ElementError, Invalid, TooLarge
from element_jupyter.core.ledger.corrections import Corrected, Correction
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.ledger.prices import Prices
from element_jupyter.core.ledger.reports import (
    FORECAST_DAYS,
    By,
    Part,
    Question,
    UsageReport,
    UsageRow,
    check_span,
    forecast,
    month_of,
    rows,
    total,
)
from element_jupyter.core.sizes import Sizes
from element_jupyter.service.ledger_export import (
    ReportFormat,
    Write,
    batches,
    csv_chunks,
    fields_of,
)

log = logging.getLogger(__name__)

_MOST_ROWS: Final = 20_000
_COUNT_SECONDS: Final = 10.0
_LONGEST_SECONDS: Final = 60.0


class LedgerStore(Protocol):
    """Where the sums are; see `adapters.sql.ledger_store`."""

    async def counted_until(self) -> datetime: ...
    def parts(
        self, question: Question, price_days: Collection[date], billed_otherwise: Collection[str]
    ) -> AsyncIterator[Part]: ...
    async def settle(self, now: datetime) -> int: ...
    async def take(self, readings: Sequence[Reading], now: datetime) -> None: ...
    async def keep_days_of(self, zone: str) -> bool: ...
    async def correct(self, correction: Correction, person: str, now: datetime) -> bool: ...
    async def corrections(self, allocation_id: str | None, limit: int) -> list[Corrected]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for; days that are None are those of the month that it is."""

    by: tuple[By, ...]
    since: date | None
    until: date | None
    team: str | None = None
    person: str | None = None
    job: str | None = None
    notebook: str | None = None


class Ledger:
    """Reads the ledger by the prices that there are now."""

    def __init__(
        self,
        store: LedgerStore,
        prices: Callable[[], Prices],
        sizes: Callable[[], Sizes],
        parquet: Write,
    ) -> None:
        self._writers = {ReportFormat.CSV: csv_chunks, ReportFormat.PARQUET: parquet}
        self._store = store
        self._prices = prices
        self._sizes = sizes

    # ----------------------------------------------------------------------------- counting

    async def take(self, readings: Sequence[Reading]) -> None:
        """Count what trusted meters say was used.

        Raises:
            Unavailable: the database does not answer; they may be told again.
        """
        await self._store.take(readings, datetime.now(UTC))

    async def count(self) -> None:
        """Count what was given up to now, in the days that `prices.yaml` says.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            zone = self._prices().timezone
        except Invalid as error:
            log.warning("the ledger keeps its days: %s", error.message)
        else:
            if await self._store.keep_days_of(zone):
                log.info("the days of the ledger are those of %s now", zone)
        await self._store.settle(datetime.now(UTC))

    async def keep_counting(self) -> None:
        """Count now, and again and again."""
        while True:
            began = time.monotonic()
            try:
                await self.count()
            except ElementError as error:
                log.warning("the ledger is counted later: %s", error.message)
            except Exception:
                # one bad round must not be the last
                log.exception("the ledger was not counted")
            took_seconds = time.monotonic() - began
            await asyncio.sleep(min(_LONGEST_SECONDS, max(_COUNT_SECONDS, 20 * took_seconds)))

    async def correct(self, correction: Correction, person: str) -> None:
        """Add a correction to what was counted; the same one again changes nothing.

        Raises:
            NotFound: nothing was given in that hour.
        """
        await self._store.correct(correction, person, datetime.now(UTC))

    async def corrections(self, allocation_id: str | None, limit: int) -> list[Corrected]:
        return await self._store.corrections(allocation_id, limit)

    # ------------------------------------------------------------------------------ reports

    def month(self) -> tuple[date, date]:
        """Return the first days of the month that it is, and of the one after."""
        return month_of(datetime.now(UTC), self._prices().timezone)

    async def report(self, asked: Asked) -> UsageReport:
        """Return the whole report.

        Raises:
            Invalid: the days are none, or `prices.yaml` has never been right.
            TooLarge: it has more rows than fit into an answer.
        """
        prices, now = self._prices(), datetime.now(UTC)
        question = _question(asked, prices, now)
        found = await self._parts(question, prices)
        listed = tuple(rows(found, question.by, prices))
        if len(listed) > _MOST_ROWS:
            raise TooLarge(
                f"That has {len(listed):,} rows.",
                "Ask for a shorter time, or for fewer things to be told apart; or export it.",
            )
        added = total(listed, found)
        return UsageReport(
            currency=prices.currency or self._sizes().currency,
            timezone=prices.timezone,
            billing=prices.billing_of(question.team),
            by=question.by,
            since=question.since,
            until=question.until,
            counted_until=await self._store.counted_until(),
            rows=listed,
            total=added,
            forecast=await self._forecast(question, prices, added.cost, now),
        )

    async def rows(self, asked: Asked) -> AsyncIterator[UsageRow]:
        """Yield the rows of a report one by one, however many there are.

        Raises:
            Invalid: the days are none, or `prices.yaml` has never been right.
        """
        prices = self._prices()
        question = _question(asked, prices, datetime.now(UTC))
        same: list[Part] = []
        async for part in self._stream(question, prices):
            if same and part.key != same[0].key:
                for row in rows(same, question.by, prices):
                    yield row
                same = []
            same.append(part)
        for row in rows(same, question.by, prices):
            yield row

    def export(self, asked: Asked, wanted: ReportFormat) -> AsyncIterator[bytes]:
        """Return a report as a file, which is made while it is read.

        Raises:
            Invalid: as `rows`; or such a file cannot be written here.
        """
        write = self._writers[wanted]
        return write(batches(self.rows(asked)), fields_of(asked.by))

    async def _parts(self, question: Question, prices: Prices) -> list[Part]:
        return [part async for part in self._stream(question, prices)]

    def _stream(self, question: Question, prices: Prices) -> AsyncIterator[Part]:
        return self._store.parts(question, prices.days, prices.teams)

    async def _forecast(
        self, question: Question, prices: Prices, so_far: Decimal, now: datetime
    ) -> Decimal | None:
        zone = prices.timezone
        if (question.since, question.until) != month_of(now, zone):
            return None
        today = now.astimezone(ZoneInfo(zone)).date()
        before = replace(
            question, by=(By.DAY,), since=today - timedelta(days=FORECAST_DAYS), until=today
        )
        found: list[UsageRow] = list(rows(await self._parts(before, prices), before.by, prices))
        by_day = {row.day: row.cost for row in found if row.day is not None}
        return forecast(so_far, by_day, question.until, now, zone)


def _question(asked: Asked, prices: Prices, now: datetime) -> Question:
    first, following = month_of(now, prices.timezone)
    since, until = asked.since, asked.until
    if since is None:
        since = first if until is None else (until - timedelta(days=1)).replace(day=1)
    until = until or max(following, since + timedelta(days=1))
    check_span(since, until)
    return Question(asked.by, since, until, asked.team, asked.person, asked.job, asked.notebook)
