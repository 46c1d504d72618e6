"""A run as it happens: its cells, what they print, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from element_jupyter.cli.output import Output, duration, lasted, state_text
from element_jupyter.core.runs import (
    RECORD_TYPES,
    CellFinished,
    CellStarted,
    Event,
    FailingCell,
    Note,
    Recorded,
    Run,
    RunFinished,
    RunStarted,
    StateChanged,
)
from element_jupyter.core.runs import Output as CellOutput
from element_jupyter.platform.client import Local, Told

MAX_LINES: Final = 200
"""Lines shown of one output; the executed notebook has them all."""

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def follow(local: Local, run_id: str, output: Output, *, outputs: bool = True) -> Run:
    """Show a run until it has ended, and return it.

    With `--json`, each event is one line. Otherwise cells go to standard output as they come;
    `outputs` says whether what they print does too.
    """
    told = local.service.follow(run_id)
    if output.as_json:
        for each in told:
            output.line(each.event, "")
    else:
        show(told, output.out, outputs=outputs)
    return Run.model_validate(local.service.get("runs", run_id))


def show(told: Iterable[Told], console: Console, *, outputs: bool) -> None:
    """Print events as lines; in a terminal, the last line says what goes on now."""
    lines = Lines(outputs=outputs)
    if not console.is_terminal:
        for each in told:
            for line in lines.of(each.event):
                console.print(line)
        return
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        for each in told:
            for line in lines.of(each.event):
                live.console.print(line, soft_wrap=True)
            live.update(Group(Spinner("dots", lines.now)) if lines.now else "")


class Lines:
    """Turns the events of one run into lines; `now` is what it is doing."""

    def __init__(self, *, outputs: bool) -> None:
        self._outputs = outputs
        self._total = 0
        self._number = 0
        self._first_line = ""
        self.now = ""

    def of(self, event: Event) -> Iterator[Text]:
        """Yield what one event adds."""
        match event:
            case StateChanged():
                place = f", number {event.queue_position} in line" if event.queue_position else ""
                self.now = f"{event.state}{place}"
                reason = f"  {clean(event.reason)}" if event.reason else ""
                yield Text.assemble(state_text(event.state), place, (reason, "dim"))
            case RunStarted():
                self._total = event.cells_total
                self.now = "running"
                where = f" in {clean(event.pin.definition)}" if event.pin else ""
                yield Text.assemble(
                    state_text("running"),
                    f"  {event.cells_total} cells, kernel {event.kernel}{where}",
                )
            case CellStarted():
                self._number += 1
                self._first_line = clean(event.first_line)
                self.now = f"{self._place}  {self._first_line}"
            case CellOutput() if self._outputs:
                yield from (Text(f"        {line}", style="dim") for line in text_of(event))
            case CellFinished():
                sign = ("✓", "green") if event.ok else ("✗", "red")
                yield Text.assemble(
                    sign, f" {self._place}  {duration(event.duration_seconds):>7}  ",
                    self._first_line,
                )  # fmt: skip
            case Recorded():
                yield Text(f"        recorded {event.name} = {clean(str(event.value))[:500]}")
            case Note():
                yield Text(clean(event.message), style="yellow" if event.level == "warning" else "")
            case RunFinished():
                self.now = ""

    @property
    def _place(self) -> str:
        return f"{self._number:>{len(str(self._total))}}/{self._total}"


def result_lines(run: Run) -> Iterator[Text | Table]:
    """Yield how a run ended: state, reason, failing cell, what it recorded and left."""
    took = lasted(run.started_at, run.finished_at)
    yield Text.assemble(state_text(run.state), f" after {took}" if took else "", f"  {run.run_id}")
    if run.reason:
        yield Text(clean(run.reason))
    if run.failing_cell:
        yield from failing_cell_lines(run.failing_cell)
    if run.recorded:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, value in run.recorded.items():
            shown = f"{value:.4g}" if isinstance(value, float) else clean(str(value))[:200]
            grid.add_row(Text(f"  {name}"), Text(shown, style="bold"))
        yield grid
    if run.output_path:
        yield Text.assemble(("Notebook   ", "dim"), run.output_path)
    for artifact in run.artifacts:
        size = f"{artifact.size_bytes / 1000:,.0f} kB"
        yield Text.assemble(("Artifact   ", "dim"), f"{clean(artifact.path)} ({size})")


def failing_cell_lines(cell: FailingCell) -> Iterator[Text]:
    """Yield where and how a notebook failed, and the end of its traceback."""
    yield Text.assemble(
        ("Cell ", "bold"), f"{cell.index + 1}: {clean(cell.first_line)}\n",
        (f"{cell.ename}: ", "bold red"), clean(cell.evalue)[:2000],
    )  # fmt: skip
    for line in clean(cell.traceback).splitlines()[-15:]:
        yield Text(f"    {line}", style="dim")


def text_of(event: CellOutput) -> Iterator[str]:
    """Yield the lines of an output that a terminal can show."""
    output: dict[str, Any] = dict(event.output)
    kind = output.get("output_type")
    if kind == "stream":
        rows = clean_rows(_joined(output.get("text", "")))
    elif kind == "error":
        rows = [f"{output.get('ename')}: {clean(str(output.get('evalue')))}"]
    else:
        data = output.get("data") or {}
        if any(kind in data for kind in RECORD_TYPES):
            return  # its values have events of their own
        images = [name for name in data if name.startswith("image/")]
        # the text of a figure is only its class and size
        plain = _joined(data.get("text/plain", "")) if not images else ""
        rows = [*(f"[{name}]" for name in images), *clean_rows(plain)]
    yield from rows[:MAX_LINES]
    if len(rows) > MAX_LINES:
        yield f"[… {len(rows) - MAX_LINES} more lines are in the executed notebook]"


def clean_rows(text: str) -> list[str]:
    """Return lines as a terminal would leave them, a bar that writes over itself as it was last."""
    rows = _ESCAPES.sub("", text).rstrip("\n").split("\n") if text else []
    return [clean(row.rstrip("\r").rpartition("\r")[2]) for row in rows]


def clean(text: str) -> str:
    """Return text without what would steer the terminal."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def _joined(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)
