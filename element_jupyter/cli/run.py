"""`element run`: a notebook here and now, without any service."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from element_jupyter import config
from element_jupyter.cli.output import JsonOption, Output, duration, print_json, state_text
from element_jupyter.core.environments.building import Phase
from element_jupyter.core.errors import Invalid
from element_jupyter.core.runs import (
    CellFinished,
    CellStarted,
    Event,
    FailingCell,
    Note,
    RunFinished,
    RunStarted,
    RunState,
)

EXIT_CODES: Final = {RunState.SUCCEEDED: 0, RunState.FAILED: 1, RunState.STOPPED: 1}
SOURCE_LINES: Final = 12


def run(
    notebook: Annotated[Path, typer.Argument(help="The notebook.", show_default=False)],
    *,
    parameter: Annotated[
        list[tuple[str, str]] | None,
        typer.Option("--parameter", "-p", metavar="NAME VALUE", help="Set a parameter."),
    ] = None,
    allow_extra: Annotated[
        bool,
        typer.Option("--allow-extra", help="Accept parameters that the notebook does not have."),
    ] = False,
    kernel: Annotated[
        str | None, typer.Option("--kernel", help="Kernel, instead of the notebook's own.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", min=0.1, help="Seconds the run may take.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Executed notebook. Default: NAME-output.ipynb."),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="PATH|NAME",
            help="Definition of an environment, or the name of a shared one; path[variant]."
            " Default: what is found beside the notebook.",
        ),
    ] = None,
    size: Annotated[str | None, typer.Option("--size", help="Of runs of the platform.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a notebook here and now; Ctrl-C stops it, a second time at once."""
    if size is not None:
        raise Invalid(
            "A run here and now gets what this machine has; sizes are for runs of the platform.",
            "Leave --size out, or make the notebook a job: element schedule NOTEBOOK --size NAME.",
            field="size",
        )
    from element_jupyter.cli.env_find import pointed
    from element_jupyter.platform.runner import InPlace, run_in_place

    settings = config.load()
    if environment is not None and not settings.environments:
        raise Invalid(
            "Environments are switched off here: the kernels that are installed are used.",
            "Leave --environment out, or set Element.environments to True.",
            field="environment",
        )

    given: dict[str, str] = {}
    for name, text in parameter or []:
        if name in given:
            raise Invalid(f"Parameter '{name}' is given twice.", field=f"parameters.{name}")
        given[name] = text
    request = InPlace(
        notebook=notebook,
        output=output,
        parameters=given,
        allow_extra_parameters=allow_extra,
        kernel=kernel,
        environment=pointed(notebook, environment)[1] if environment is not None else None,
        data_directory=settings.data if settings.environments else None,
        time_limit_seconds=time_limit,
    )
    out = Output(as_json=as_json)
    view = _View(out)
    try:
        watching = view.build if view.has_bar else None
        finished = run_in_place(request, view.tell, view.begin, watching)
    finally:
        view.close()
    if not as_json:
        view.conclude(finished)
    raise typer.Exit(EXIT_CODES[finished.state])


class _View:
    """A progress bar in a terminal, else a line for each cell; JSON lines when asked for."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._bar: Progress | None = None
        self._sources: Sequence[str] = ()
        self._started: dict[int, CellStarted] = {}
        self._done = 0
        self._total = 0

    @property
    def has_bar(self) -> bool:
        return self._out.err.is_terminal and not self._out.as_json

    def build(
        self, phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None:
        """Show how far the notebook's environment is."""
        from element_jupyter.platform.run_building import phrase

        if phase.ended:
            self.close()
            return
        if self._bar is None:
            self._bar = _bar(self._out)
            self._bar.start()
            self._bar.add_task("", total=None)
        said = f"environment: {phrase(phase)}"
        self._bar.update(self._bar.task_ids[0], description=said, completed=done or 0, total=total)

    def begin(self, sources: Sequence[str]) -> None:
        """Take the sources of the cells that will be executed, by their index."""
        self._sources = sources

    def tell(self, event: Event) -> None:
        if self._out.as_json:
            print_json(event, indent=None)
            return
        match event:
            case RunStarted():
                self._total = event.cells_total
                self.close()
                if self.has_bar:
                    self._bar = _bar(self._out)
                    self._bar.start()
                    self._bar.add_task("starting the kernel", total=event.cells_total)
            case CellStarted():
                self._started[event.index] = event
                if self._bar is not None:
                    line = Text(event.first_line).markup
                    self._bar.update(self._bar.task_ids[0], description=line)
            case CellFinished():
                self._done += 1
                if self._bar is not None:
                    self._bar.advance(self._bar.task_ids[0])
                else:
                    self._line(event)
            case Note():
                self._out.note(event.message)
            case _:
                return

    def _line(self, event: CellFinished) -> None:
        started = self._started.get(event.index)
        sign = "ok" if event.ok else "FAILED"
        line = started.first_line if started else ""
        self._out.note(
            f"[{self._done}/{self._total}] {duration(event.duration_seconds):>8}  {sign}  {line}"
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def conclude(self, finished: RunFinished) -> None:
        """Say how it ended; of a failure, where, what and how to look at it."""
        took = duration(finished.duration_seconds)
        if finished.failing_cell is not None:
            self._failure(finished.failing_cell)
        reason = f": {finished.reason}" if finished.reason else ""
        self._out.note(Text.assemble(state_text(finished.state), f" after {took}{reason}"))
        for name, value in finished.recorded.items():
            self._out.note(f"{name} = {value}")
        if finished.output_path is not None:
            sys.stdout.write(f"{finished.output_path}\n")
            sys.stdout.flush()

    def _failure(self, failing: FailingCell) -> None:
        self._out.note(Text(f"Cell {failing.index + 1} failed:", style="bold red"))
        source = self._sources[failing.index] if failing.index < len(self._sources) else ""
        lines = source.splitlines()
        for line in lines[:SOURCE_LINES]:
            self._out.note(f"    {line}")
        if len(lines) > SOURCE_LINES:
            self._out.note(f"    … {len(lines) - SOURCE_LINES} more lines")
        self._out.note(Text(f"{failing.ename}: {failing.evalue}", style="red"))


def _bar(out: Output) -> Progress:
    return Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=out.err,
        transient=True,
    )
