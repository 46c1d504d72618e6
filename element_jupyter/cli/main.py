"""The `element` command: what there is, and how every command ends.

    0   done
    1   the work failed: a run failed, a limit forbids it
    2   wrong use: a malformed option, file or schedule; no such thing; not allowed
    3   not reachable: the platform does not run
    130 interrupted by Ctrl-C

A command raises errors of `core.errors`; here they become one sentence and a hint. Only the module
of the command that is called is imported, so that `element --help` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import typer
from typer.exceptions import TyperException


class Entry(NamedTuple):
    """One command or group of commands: where its code is, and what help says of it."""

    module: str
    attribute: str
    summary: str
    panel: str


_PLATFORM: Final = "The platform"
_NOTEBOOKS: Final = "Notebooks and jobs"

COMMANDS: Final = {
    "up": Entry("up", "up", "Start the platform on this machine.", _PLATFORM),
    "demo": Entry("demo", "demo", "Start the platform and watch a scheduled run.", _PLATFORM),
    "status": Entry("status", "status", "Show what runs, where, and in which version.", _PLATFORM),
    "doctor": Entry("status", "doctor", "Find out what is wrong and how to mend it.", _PLATFORM),
    "whoami": Entry("whoami", "whoami", "Show who you are here, and your teams.", _PLATFORM),
    "audit": Entry("audit", "app", "Show and verify who did what.", _PLATFORM),
    "care": Entry("care", "app", "Show what the platform tidies up.", _PLATFORM),
    "run": Entry("run", "run", "Run a notebook here and now.", _NOTEBOOKS),
    "schedule": Entry("schedule", "schedule", "Make a notebook a job.", _NOTEBOOKS),
    "apply": Entry("apply", "apply", "Create or update jobs from files.", _NOTEBOOKS),
    "jobs": Entry("jobs", "app", "Look at jobs, pause, trigger, edit and delete them.", _NOTEBOOKS),
    "runs": Entry("runs", "app", "Look at runs, follow, stop and start them.", _NOTEBOOKS),
    "quota": Entry("quota", "app", "Show limits, ask for more, manage quotas.", _NOTEBOOKS),
    "usage": Entry("usage", "app", "Show what was used, and what it cost.", _NOTEBOOKS),
    "env": Entry("env", "app", "Show, lock, build and keep environments.", _NOTEBOOKS),
    "schema": Entry("schema", "app", "Print the schema of the files.", _NOTEBOOKS),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a letter shows a question mark instead of a traceback
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = build(given)(args=_paired(given), prog_name="element", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        return 1
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        return 130
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            raise
        exit_code, told = problem
        _tell(told, as_json="--json" in given)
        return exit_code
    return code if isinstance(code, int) else 0


def _paired(given: list[str]) -> list[str]:
    if not any(word in {"-p", "--parameter"} for word in given):
        return given
    from element_jupyter.cli.pairs import joined

    return joined(given)


def build(arguments: Sequence[str]) -> typer.Typer:
    """Make the command line, with the code of the command that is called and no other."""
    app = typer.Typer(
        help="JupyterLab notebooks become dependable Airflow jobs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_options,
    )
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, entry in COMMANDS.items():
        code = _load(entry) if name == called else _stub(entry)
        if isinstance(code, typer.Typer):
            app.add_typer(code, name=name, help=entry.summary, rich_help_panel=entry.panel)
        else:
            app.command(name, rich_help_panel=entry.panel)(code)
    return app


def _load(entry: Entry) -> Any:
    from element_jupyter.cli.pairs import adapted

    module = importlib.import_module(f"element_jupyter.cli.{entry.module}")
    return adapted(getattr(module, entry.attribute))


def _stub(entry: Entry) -> Callable[[], None]:
    def stub() -> None: ...

    stub.__doc__ = entry.summary
    return stub


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            found = installed("element-jupyter")
        except PackageNotFoundError:
            found = "from a checkout that is not installed"
        sys.stdout.write(f"element {found}\n")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Take the options that stand before the command."""


def _problem(error: Exception) -> tuple[int, dict[str, Any]] | None:
    """Return exit code and problem of an error that is meant for a person; None for another."""
    # what has not been imported has not raised anything
    errors = sys.modules.get("element_jupyter.core.errors")
    if errors and isinstance(error, errors.ElementError):
        return error.exit_code, error.problem.model_dump()
    traitlets = sys.modules.get("traitlets")
    if traitlets and isinstance(error, traitlets.TraitError):
        return 2, _invalid(str(error), "See element_config.py and the ELEMENT_… variables.")
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        hint = f"See `{context.command_path} --help`." if context else ""
        return error.exit_code, _invalid(error.format_message(), hint)
    return None


def _invalid(message: str, hint: str) -> dict[str, Any]:
    return {"code": "invalid", "message": message, "hint": hint, "field": None}


def _tell(problem: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(problem, indent=2) + "\n")
        sys.stdout.flush()
    elif problem["message"].strip():
        # the help that a bare `element` prints has been printed already
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(Text.assemble(("Error: ", "bold red"), problem["message"]))
        if problem["hint"]:
            console.print(Text.assemble(("Hint: ", "bold"), problem["hint"]))
        if problem.get("details"):
            console.print(Text(problem["details"], style="dim"))


def _silence() -> None:
    """Let the interpreter end without a word about the pipe that nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
