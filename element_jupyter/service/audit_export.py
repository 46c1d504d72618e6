"""The audit as a file, made while it is sent: CSV for tables, or a line of JSON for each entry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

from element_jupyter.core.audit import AuditEntry
from element_jupyter.service.spreadsheets import csv_row

_FIELDS: Final = tuple(AuditEntry.model_fields)
_TOGETHER: Final = 500


class ExportFormat(StrEnum):
    """What a table of entries is written as."""

    CSV = "csv"
    JSONL = "jsonl"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8" if self is ExportFormat.CSV else "application/jsonl"


async def exported(
    entries: AsyncIterator[AuditEntry], wanted: ExportFormat
) -> AsyncIterator[bytes]:
    """Yield the file, piece by piece."""
    lines: list[str] = [csv_row(_FIELDS)] if wanted is ExportFormat.CSV else []
    async for entry in entries:
        if wanted is ExportFormat.CSV:
            said = entry.model_dump(mode="json")
            lines.append(csv_row(said[name] for name in _FIELDS))
        else:
            lines.append(entry.model_dump_json() + "\n")
        if len(lines) >= _TOGETHER:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()
