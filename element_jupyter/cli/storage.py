"""`element usage storage`: what is kept, where, and what may be."""

from __future__ import annotations

from typing import Annotated

import typer

from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import DataOption, JsonOption, Output, ago, table
from element_jupyter.core.resources.words import memory_in_words
from element_jupyter.core.storage import ShownHolding, Storage
from element_jupyter.platform.client import connect


def storage(
    team: Annotated[str | None, typer.Option(help="Of this team, for its leads.")] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Of everybody, for administrators.", show_default=False)
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Have yours measured again.", show_default=False),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is kept: your own, a team's, or everybody's, as it was last measured."""
    output = Output(as_json=as_json)
    service = connect(data).service
    if measure:
        service.post("storage", "measure")
        output.note("Yours is measured again within some minutes, at most every five.")
    scope = "all" if everybody else "team" if team is not None else "mine"
    said = service.get("storage", scope=scope, team=team)
    found = Storage.model_validate(said)
    rows = [_row(item) for item in found.items]
    nothing = "Nothing has been measured yet."
    shown = table(("Who", "Keeps", "May", "Measured", "Where"), rows) if rows else nothing
    output.result(said, shown, *(clean(item.hint) for item in found.items[:1] if item.hint))


def _row(item: ShownHolding) -> tuple[str, ...]:
    limit = item.limit_bytes
    return (
        clean(item.person or f"team {item.team}"),
        memory_in_words(item.used_bytes),
        "" if limit is None else memory_in_words(limit),
        ago(item.measured_at),
        ", ".join(f"{place} {memory_in_words(used)}" for place, used in item.places.items()),
    )
