"""`element audit`: who did what, whether the record is whole, and a copy of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import DataOption, JsonOption, Output, ago, table
from element_jupyter.core.audit import NOTHING_BEFORE, AuditEntry, first_break
from element_jupyter.core.errors import ElementError, Invalid
from element_jupyter.platform.client import Local, connect

app = typer.Typer(no_args_is_help=True)


@app.callback()
def audit() -> None:
    """Show and verify what people have changed, and each use of an administrator's power."""


@app.command(name="list")
def list_audit(
    actor: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only what was done to this, such as sales/daily.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who did what, the newest first."""
    output = Output(as_json=as_json)
    pages = connect(data).service.pages("audit", actor=actor, subject=subject)
    found = list(islice((item for page in pages for item in page["items"]), limit))
    rows = [_row(AuditEntry.model_validate(item)) for item in found]
    headings = ("Did", "Who", "When", "To", "Change")
    output.result({"items": found}, table(headings, rows) if rows else "Nothing is on record yet.")


def _row(entry: AuditEntry) -> tuple[str | Text, ...]:
    action = Text(entry.action)
    if entry.as_admin:
        action.append(" as administrator", style="yellow")
    return (
        action,
        clean(entry.actor),
        ago(entry.at),
        clean(entry.subject),
        clean(_change(entry.before, entry.after)),
    )


def _change(before: Any, after: Any) -> str:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return " → ".join(_told(each) for each in (before, after) if each is not None)
    return ", ".join(
        f"{name} {_told(before.get(name))} → {_told(after.get(name))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(held)}" for name, held in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write: one entry per line, as JSON.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole chain into a file, and show its last digest, to be kept elsewhere."""
    output = Output(as_json=as_json)
    count, head = 0, NOTHING_BEFORE
    partial = out.with_name(out.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for entry in _chain(connect(data)):
            file.write(entry.model_dump_json() + "\n")
            count, head = entry.sequence, entry.digest
    partial.replace(out)
    output.result(
        {"entries": count, "head": head, "file": str(out)},
        f"{count} entries are in {out}. The last digest is {head}.",
    )


def _chain(local: Local) -> Iterator[AuditEntry]:
    after: str | None = "0"
    while after is not None:
        page = local.service.get("audit", "chain", after=int(after))
        yield from map(AuditEntry.model_validate, page["items"])
        after = page["next_cursor"]


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option(help="Verify an export instead of the platform's own.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="A digest kept from before: it must be in the chain."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look whether the record is whole: exit 0 when it is, 1 when it was tampered with."""
    if head is not None and not re.fullmatch(r"[0-9a-f]{64}", head):
        raise Invalid("--head: it must be 64 hexadecimal digits.", field="head")
    output = Output(as_json=as_json)
    watched = _Watched(_read(file) if file else _chain(connect(data)), head)
    broken = first_break(watched)
    if broken is not None:
        raise ElementError(
            f"The audit is broken at entry {broken.sequence}: {broken.reason}.",
            "What is before it holds. Compare with an export that was kept elsewhere.",
        )
    if head is not None and not watched.met:
        raise ElementError(
            "The audit does not hold the digest that was kept.",
            "Its end was cut off, or all of it was written anew, since that was noted.",
        )
    output.result(
        {"entries": watched.count, "head": watched.last, "whole": True},
        f"The audit is whole: {watched.count} entries. The last digest is {watched.last}.",
    )


class _Watched:
    """Passes entries on, and remembers the last, and whether one was met."""

    def __init__(self, entries: Iterator[AuditEntry], wanted: str | None) -> None:
        self._entries = entries
        self._wanted = wanted
        self.met = wanted == NOTHING_BEFORE
        self.count = 0
        self.last = NOTHING_BEFORE

    def __iter__(self) -> Iterator[AuditEntry]:
        for entry in self._entries:
            yield entry
            self.met = self.met or entry.digest == self._wanted
            self.count, self.last = entry.sequence, entry.digest


def _read(file: Path) -> Iterator[AuditEntry]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        yield from map(AuditEntry.model_validate_json, lines)
    except (OSError, ValueError) as error:
        raise Invalid(
            f"--file: {file} cannot be read as an export of the audit.",
            "`element audit export` writes one.",
            field="file",
        ) from error
