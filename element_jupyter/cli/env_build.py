"""How the making of an environment is shown: a bar in a terminal, else a line for each phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from element_jupyter.cli.output import Output
from element_jupyter.core.environments.building import EnvironmentFailed, Phase
from element_jupyter.platform.environments.composition import Environment, Environments

_WORDS: Final = {
    Phase.WAITING: "Waiting for another build of it",
    Phase.RESOLVING: "Resolving",
    Phase.DOWNLOADING: "Downloading",
    Phase.INSTALLING: "Installing",
    Phase.CHECKING: "Checking",
    Phase.READY: "Ready",
    Phase.FAILED: "Failed",
}


@contextmanager
def in_whole(output: Output) -> Iterator[None]:
    """Tell a failure in all its words, and end with 1; other errors are one sentence and a hint."""
    try:
        yield
    except EnvironmentFailed as error:
        failure = error.failure
        problem = error.problem.model_dump(mode="json")
        if output.as_json:
            output.result({**problem, "failure": failure.model_dump(mode="json")})
        else:
            output.note(failure.text)
        raise typer.Exit(error.exit_code) from None


class BuildView:
    """Shows what a build tells, on standard error."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._phase: Phase | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._output.err.is_terminal and not self._output.as_json:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._output.err,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task("Starting", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(
        self, phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None:
        """Show how far it is."""
        if self._bar is not None:
            task = self._bar.task_ids[0]
            words = Text(_WORDS[phase]).markup
            self._bar.update(task, description=words, completed=done or 0, total=total)
        elif phase is not self._phase and not self._output.as_json:
            of = f" {total} packages" if total and phase is not Phase.READY else ""
            self._output.note(f"{_WORDS[phase]}{of}")
        self._phase = phase


def followed(made: Environments, build_id: str, output: Output) -> Environment:
    """Show a build to its end, and return what it has made; Ctrl-C cancels it.

    Raises:
        EnvironmentFailed: it has failed.
    """
    with BuildView(output) as view:
        try:
            return made.follow(build_id, view.tell)
        except KeyboardInterrupt:
            made.cancel(build_id)
            raise
