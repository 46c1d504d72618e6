"""The audit as a file, made while it is sent: CSV for tables, or a line of JSON for each entry."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, Final

from element_jupyter.core.audit import AuditEntry

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
    lines: list[str] = [_row(_FIELDS)] if wanted is ExportFormat.CSV else []
    async for entry in entries:
        if wanted is ExportFormat.CSV:
            said = entry.model_dump(mode="json")
            lines.append(_row([_cell(said[name]) for name in _FIELDS]))
        else:
            lines.append(entry.model_dump_json() + "\n")
        if len(lines) >= _TOGETHER:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()


def _row(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    # a spreadsheet would take it for a formula, which others may have written
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
