"""A report of the ledger as a file, made while it is sent: CSV or Parquet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from typing import Final

from element_jupyter.core.ledger.reports import By, UsageRow, UsageSums
from element_jupyter.service.spreadsheets import csv_row

_TOGETHER: Final = 2000
Write = Callable[[AsyncIterator[Sequence[UsageRow]], tuple[str, ...]], AsyncIterator[bytes]]
"""Writes rows, in batches, of which only these fields are wanted."""


class ReportFormat(StrEnum):
    """What a report is written as."""

    CSV = "csv"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8" if self is self.CSV else "application/vnd.apache.parquet"


def fields_of(by: Sequence[By]) -> tuple[str, ...]:
    """Return the columns: what rows are told apart by, then the amounts."""
    return (*(each.value for each in by), *UsageSums.model_fields)


async def batches(rows: AsyncIterator[UsageRow]) -> AsyncIterator[Sequence[UsageRow]]:
    """Yield the rows, many at a time."""
    some: list[UsageRow] = []
    async for row in rows:
        some.append(row)
        if len(some) == _TOGETHER:
            yield some
            some = []
    if some:
        yield some


async def csv_chunks(
    found: AsyncIterator[Sequence[UsageRow]], fields: tuple[str, ...]
) -> AsyncIterator[bytes]:
    """Yield a CSV file, piece by piece."""
    yield csv_row(fields).encode()
    async for some in found:
        listed = (row.model_dump(mode="json") for row in some)
        yield "".join(csv_row(row[name] for name in fields) for row in listed).encode()
