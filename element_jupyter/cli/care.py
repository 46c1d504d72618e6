"""`element care`: what the platform tidies up, and what it would now."""

from __future__ import annotations

import typer

from element_jupyter.cli.output import DataOption, JsonOption, Output, ago, table
from element_jupyter.core.care.idleness import in_words
from element_jupyter.core.care.preview import CarePreview, CareShown, ServerStanding
from element_jupyter.core.snapshots import size_in_words as size
from element_jupyter.platform.client import connect

app = typer.Typer(no_args_is_help=True)


@app.callback()
def care() -> None:
    """Show what is tidied up: idle servers, and outputs of old runs."""


@app.command()
def show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the policy in force, and how the servers stand that run."""
    output = Output(as_json=as_json)
    shown = CareShown.model_validate(connect(data).service.get("care"))
    said = shown.policy.editors
    idle = (
        f"Idle servers are stopped after {in_words(said.idle)}, with a GPU after"
        f" {in_words(said.idle_with_gpu)}; people are told {in_words(said.warning)} before."
        if said.stop_idle
        else "Idle servers are not stopped."
    )
    keep = shown.policy.runs.keep
    outputs = (
        "Outputs of runs are kept for ever."
        if keep is None
        else f"Outputs of runs are kept for {in_words(keep)}, then"
        f" {in_words(shown.policy.runs.trash)} in the trash."
    )
    headings = ("Server", "Team", "Size", "Last active", "Now", "Stops")
    rows = [_row(each) for each in shown.servers]
    output.result(shown, idle, outputs, table(headings, rows) if rows else "No server runs.")


def _row(server: ServerStanding) -> tuple[str, ...]:
    doing = "works" if server.working else "waits" if server.busy else "idle"
    if server.reported_at is None:
        doing = "not known"
    return (
        f"{server.person}/{server.server}".rstrip("/"),
        server.team,
        server.size,
        ago(server.active_at),
        doing,
        f"{server.stops_at:%Y-%m-%d %H:%M} UTC" if server.stops_at else "",
    )


@app.command()
def preview(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what would be tidied up now, and what it frees; do nothing."""
    output = Output(as_json=as_json)
    found = CarePreview.model_validate(connect(data).service.get("care", "preview"))
    rows = [
        (each.subject, each.sentence, "" if each.frees_bytes is None else size(each.frees_bytes))
        for each in found.items
    ]
    if not rows:
        output.result(found, "There is nothing to tidy up.")
        return
    freed = f"This frees {size(found.disk_bytes)} of disk, {size(found.memory_bytes)} of memory"
    output.result(
        found, table(("What", "Why", "Frees"), rows), f"{freed} and {found.cores:g} cores."
    )
