"""Rows of CSV that a spreadsheet opens without executing what others have written into them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any


def csv_row(cells: Iterable[Any]) -> str:
    """Write a row; what is no text as JSON, nothing at all for None."""
    line = io.StringIO()
    csv.writer(line).writerow([_cell(each) for each in cells])
    return line.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    # a spreadsheet would take it for a formula
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
