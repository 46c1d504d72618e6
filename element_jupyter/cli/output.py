"""What a command says: results on standard output, everything else on standard error.

With `--json`, standard output is one JSON document (or one per line where things arrive one by
one) and nothing else; a failure is a `Problem` there too, and the exit code is the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.values import Value

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs.", show_default=False)
]

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data directory.", show_default=False)
]

STATES = {
    "queued": ("◌", "cyan"),
    "starting": ("◔", "cyan"),
    "running": ("●", "blue"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "lost": ("?", "magenta"),
    "paused": ("‖", "yellow"),
    "due": ("◌", "cyan"),
    "ran": ("✓", "green"),
    "skipped": ("-", "yellow"),
    "missed": ("!", "red"),
}
"""Sign and colour of each state; the word always stands beside them."""


class Output:
    """The two streams of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(highlight=False, soft_wrap=True, stderr=True)

    def result(self, value: Any, *lines: str | Text | Table) -> None:
        """Print a result: as JSON the value, for a person the lines."""
        if self.as_json:
            print_json(value)
            return
        for line in lines:
            self.out.print(line, soft_wrap=not isinstance(line, Table), markup=False)

    def line(self, value: Any, text: str | Text) -> None:
        """Print one of many that arrive one by one."""
        if self.as_json:
            print_json(value, indent=None)
        else:
            self.out.print(text, markup=False)

    def note(self, text: str | Text) -> None:
        """Say something that is no result, such as what is being done or a warning."""
        self.err.print(text, markup=False)

    @contextmanager
    def meters(self) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
        """Show how far long steps are, in a terminal; yields a maker of meters in bytes."""
        from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        hidden = not self.err.is_terminal
        with Progress(*columns, console=self.err, transient=True, disable=hidden) as progress:

            def meter(title: str) -> Callable[[int, int], None]:
                task: TaskID | None = None

                def advance(done: int, total: int) -> None:
                    nonlocal task
                    if task is None:
                        task = progress.add_task(title, total=total)
                    progress.update(task, completed=done, total=total)

                return advance

            yield meter


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a JSON document in what the terminal can show."""
    wide = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(plain(value), indent=indent, ensure_ascii=not wide)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return values and their lists as what JSON knows."""
    if isinstance(value, Value):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Make a table that fits a terminal of 80 columns: the last column gives way first."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        last = index == len(headings) - 1
        made.add_column(heading, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def state_text(state: str) -> Text:
    """Return a state as sign and word."""
    sign, colour = STATES.get(state, ("", ""))
    wide = (sys.stdout.encoding or "").lower().startswith("utf")
    return Text(f"{sign} {state}" if wide else state, style=colour)


def ago(at: datetime | str | None, now: datetime | None = None) -> str:
    """Return how far away an instant is: `3 min ago`, `in 2 h`."""
    if at is None:
        return ""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    away = moment - (now or datetime.now(UTC))
    text = duration(abs(away))
    if abs(away) < timedelta(seconds=1):
        return "now"
    return f"in {text}" if away > timedelta(0) else f"{text} ago"


def duration(time: timedelta | float | None) -> str:
    """Return a duration in its largest unit that is at least one and a half of it."""
    if time is None:
        return ""
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def lasted(started: datetime | None, finished: datetime | None) -> str:
    """Return how long something took, or has taken so far."""
    return duration((finished or datetime.now(UTC)) - started) if started else ""


def environment_lines(pins: Mapping[str, Pin]) -> list[Text]:
    """Return the environments that a job's tasks are pinned to, one line for those that share."""
    tasks: dict[Pin, list[str]] = {}
    for task, pin in pins.items():
        tasks.setdefault(pin, []).append(task)
    return [
        Text.assemble(
            ("Environment ", "dim"),
            environment_text(pin.definition, pin.python, pin.environment_id),
            (f"  of {', '.join(names)}" if len(tasks) > 1 else "", "dim"),
        )
        for pin, names in tasks.items()
    ]


def environment_text(definition: str | None, python: str | None, environment_id: str) -> Text:
    """Return what people call an environment, its Python, and its id."""
    said = f"{definition}, Python {python}" if python else definition
    return Text.assemble(said or "", (f"  {environment_id}", "dim"))


def clock(at: datetime, zone: Any) -> str:
    """Return an instant as people read it: `Sat 21 Nov 2026 06:00`."""
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M}"
