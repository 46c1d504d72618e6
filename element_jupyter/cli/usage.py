"""`element usage`: what was given, used and what it cost; and what a run has used, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from element_jupyter.cli.advice import advice
from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import DataOption, JsonOption, Output, duration, state_text, table
from element_jupyter.cli.runs import find_run
from element_jupyter.cli.storage import storage
from element_jupyter.cli.usage_report import Form, report
from element_jupyter.core.resources.words import memory_in_words
from element_jupyter.core.runs import CellFinished, CellStarted, Event, Run, RunStarted, Usage
from element_jupyter.platform.client import connect

app = typer.Typer()
app.command()(advice)
app.command()(storage)

_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_LEVELS: Final = " .:-=+*#@"
_ROWS: Final = 4
_LABEL: Final = 9
_WIDEST: Final = 100


@app.callback(invoke_without_command=True)
def usage(  # noqa: PLR0917 - what a report may be asked for
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            help="What rows are told apart by, such as team,day: any of person, team, job,"
            " notebook, size, kind, day, month."
        ),
    ] = "day",
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="The first day; else the month's.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="The first day that is not asked for.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="What was started for this team.")] = None,
    person: Annotated[str | None, typer.Option(help="What this person started.")] = None,
    job: Annotated[str | None, typer.Option(help="Of this job: team/name.")] = None,
    notebook: Annotated[str | None, typer.Option(help="Of this notebook.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.TABLE,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write it to.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was given, what was used of it and what it cost; of a run, cell by cell."""
    if context.invoked_subcommand is not None:
        return
    asked = {"by": by, "since": since, "until": until, "team": team, "person": person}
    output = Output(as_json=as_json)
    report(connect(data), output, form, out, **asked, job=job, notebook=notebook)


@app.command(name="run")
def of_run(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, or 'last'.", show_default=False)
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each cell of a run has used, and the run's memory over time."""
    output = Output(as_json=as_json)
    local = connect(data)
    found = find_run(local, run)
    events = _of_last_start(told.event for told in local.service.events(found.run_id))
    cells = [event for event in events if isinstance(event, CellFinished)]
    told = [event for event in events if isinstance(event, Usage)]
    output.result(
        {
            "run_id": found.run_id,
            "state": found.state,
            "total": {name: getattr(found, name) for name in (*_NUMBERS, "memory_limit_bytes")},
            "out_of_memory": found.out_of_memory,
            "cells": [{name: getattr(cell, name) for name in _OF_CELL} for cell in cells],
            "over_time": [
                event.model_dump(mode="json", exclude={"sequence", "kind"}) for event in told
            ],
        },
        Text.assemble(state_text(found.state), f"  {found.run_id}"),
        *([clean(found.reason)] if found.out_of_memory else []),
        _cells(found, cells, {e.index: e.first_line for e in events if isinstance(e, CellStarted)}),
        *_over_time(told, output),
    )


_NUMBERS: Final = (
    "cpu_seconds",
    "peak_memory_bytes",
    "gpu_seconds",
    "peak_gpu_memory_bytes",
)
_OF_CELL: Final = ("index", "ok", "duration_seconds", *_NUMBERS)


def _of_last_start(events: Iterator[Event]) -> list[Event]:
    """Return the events since the runner last began."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, RunStarted):
            found.clear()
        found.append(event)
    return found


def _cells(run: Run, cells: Sequence[CellFinished], lines: dict[int, str]) -> Table | Text:
    if not cells:
        return Text("No cell of it has ended.")
    has_gpu = bool(run.peak_gpu_memory_bytes) or any(cell.peak_gpu_memory_bytes for cell in cells)
    rows = [
        (
            str(cell.index + 1),
            duration(cell.duration_seconds),
            *_used(cell, has_gpu=has_gpu),
            clean(lines.get(cell.index, "")),
        )
        for cell in cells
    ]
    took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
    rows.append(("all", duration(took), *_used(run, has_gpu=has_gpu), ""))
    gpu = ("GPU", "GPU memory") if has_gpu else ()
    return table(("Cell", "Took", "CPU", "Memory", *gpu, "First line"), rows)


def _used(of: CellFinished | Run, *, has_gpu: bool) -> Iterator[str]:
    yield duration(of.cpu_seconds)
    limit = of.memory_limit_bytes if isinstance(of, Run) else None
    yield _size(of.peak_memory_bytes) + (f" of {_size(limit)}" if limit else "")
    if has_gpu:
        yield duration(of.gpu_seconds)
        yield _size(of.peak_gpu_memory_bytes)


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else memory_in_words(size_bytes)


def _over_time(told: Sequence[Usage], output: Output) -> Iterator[Text]:
    if len(told) < 2:
        return
    wide = (output.out.encoding or "").lower().startswith("utf")
    width = min(output.out.width, _WIDEST) - _LABEL - 2
    span = (told[-1].at - told[0].at).total_seconds()
    highest = max(event.memory_bytes for event in told)
    yield Text(f"\nMemory over {duration(span)}, at most {_size(highest)}")
    times = [(event.at - told[0].at).total_seconds() / (span or 1) for event in told]
    columns = _columns(times, [event.memory_bytes for event in told], width)
    for number, row in enumerate(_rows(columns, highest, _LEVELS if wide else _PLAIN_LEVELS)):
        label = {0: _size(highest), _ROWS - 1: "0"}.get(number, "")
        yield Text(f"{label:>{_LABEL}} {row}".rstrip())


def _columns(times: Sequence[float], values: Sequence[int], width: int) -> list[int]:
    """Return the highest value of each column; one that has none is as the last was."""
    found = [0] * width
    for time, value in zip(times, values, strict=True):
        column = min(width - 1, int(time * width))
        found[column] = max(found[column], value)
    for column in range(1, width):
        found[column] = found[column] or found[column - 1]
    return found


def _rows(columns: Sequence[int], highest: int, levels: str) -> Iterator[str]:
    steps = len(levels) - 1
    heights = [round(value / (highest or 1) * steps * _ROWS) for value in columns]
    for row in range(_ROWS - 1, -1, -1):
        yield "".join(levels[min(steps, max(0, height - row * steps))] for height in heights)
