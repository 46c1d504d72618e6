"""What `element usage` prints when no run is asked about: a report of the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import Output, table
from element_jupyter.core.errors import Invalid
from element_jupyter.platform.client import Local

_CENTS: Final = Decimal("0.01")


class Form(StrEnum):
    """How a report is written."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"


def report(local: Local, output: Output, form: Form, out: Path | None, **asked: str | None) -> None:
    """Ask for a report and print it, or write it to a file.

    Raises:
        Invalid: it cannot be asked for, or not be written so.
    """
    if form is Form.TABLE:
        if out is not None:
            raise Invalid("--output: a table is printed.", "Give --format csv.", field="output")
        _print(local.service.get("usage", **asked), output)
        return
    if out is None and (form is Form.PARQUET or output.as_json):
        raise Invalid(f"--output: {form} needs a file to be written to.", field="output")
    chunks = local.service.download("usage", "export", format=form, **asked)
    if out is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("wb") as file:
            size_bytes = sum(file.write(chunk) for chunk in chunks)
        partial.replace(out)
    except OSError as error:
        raise Invalid(f"{out} cannot be written: {error.strerror}.", field="output") from error
    finally:
        partial.unlink(missing_ok=True)
    output.result({"file": str(out), "size_bytes": size_bytes}, f"The report is in {out}.")


def _print(found: Mapping[str, Any], output: Output) -> None:
    if not found["rows"]:
        output.result(found, "Nothing was given in that time.")
        return
    has_gpu = bool(found["total"]["allocated_gpu_hours"])
    gpu = ("GPU h", "used") if has_gpu else ()
    by = [str(name) for name in found["by"]]
    headings = (
        *(name.capitalize() for name in by or ["all"]),
        *("Began", "CPU h", "used", "GiB h", "used", *gpu, "Idle", found["currency"]),
    )
    cells = [_row(row, by, has_gpu=has_gpu) for row in found["rows"]]
    if by:
        total = {**dict.fromkeys(by, ""), **found["total"], by[0]: "all"}
        cells.append(_row(total, by, has_gpu=has_gpu))
    output.result(found, table(headings, cells), *_notes(found))


def _row(row: Mapping[str, Any], by: Sequence[str], *, has_gpu: bool) -> tuple[str | Text, ...]:
    names = [clean(str(row[name])) if row[name] is not None else "-" for name in by] or ["all"]
    idle = row["idle_share"]
    kinds = ("cpu", "gib", *(["gpu"] if has_gpu else []))
    hours = (row[f"{measure}_{kind}_hours"] for kind in kinds for measure in ("allocated", "used"))
    return (
        *names,
        str(row["count"]),
        *(f"{each:,.1f}" for each in hours),
        "" if idle is None else f"{idle:.0%}",
        f"{Decimal(row['cost']).quantize(_CENTS):,}",
    )


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    counted = datetime.fromisoformat(found["counted_until"]).astimezone()
    yield f"Counted until {counted:%Y-%m-%d %H:%M:%S}; days are those of {found['timezone']}."
    if found["forecast"] is not None:
        cost = Decimal(found["forecast"]).quantize(_CENTS)
        yield f"The month will cost about {cost:,} {found['currency']}."
