"""`element env list|verify|prune`: what is built, whether it is whole, and what may go."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from element_jupyter.cli.env_build import BuildView, in_whole
from element_jupyter.cli.env_find import connect, find
from element_jupyter.cli.env_show import size, summary_lines
from element_jupyter.cli.output import DataOption, JsonOption, Output, duration, table
from element_jupyter.core.environments.keeping import State, Verification
from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.platform.environments.composition import Environments


def list_environments(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List what is built: how large, last used when, by whom, and which jobs are pinned to it."""
    output = Output(as_json=as_json)
    found = connect(data).summaries()
    lines = [line for each in found for line in summary_lines(each)]
    output.result({"items": found}, *(lines or ["Nothing is built yet."]))


def verify(
    target: Annotated[
        str, typer.Argument(metavar="[ID|NOTEBOOK|DIR]", help="Default: here.", show_default=False)
    ] = ".",
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that are built.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare names and sizes, not every file's hash.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take what is damaged away, and build it again.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare an environment with its lock, every file's hash; exit 1 when something differs."""
    output = Output(as_json=as_json)
    made = connect(data)
    if everything:
        wanted = [each.environment_id for each in made.summaries()]
    else:
        wanted = [_environment_id(made, target)]
    found = [made.verify(each, quick=quick) for each in wanted]
    damaged = [each for each in found if each.faults]
    repaired: list[str] = []
    if repair:
        for each in damaged:
            output.note(f"Building {each.environment_id} again.")
            with in_whole(output), BuildView(output) as view:
                made.repair(each.environment_id, view.tell)
            repaired.append(each.environment_id)
    lines = [line for each in found for line in _faults(each)]
    output.result({"items": found, "repaired": repaired}, *lines)
    if len(repaired) < len(damaged):
        raise typer.Exit(1)


def _environment_id(made: Environments, target: str) -> str:
    if target[:3] in {"py-", "cf-"} and not Path(target).exists():
        return target
    found = find(made, Path(target), None, None)
    state = made.state_of(found)
    if state.environment_id is None or state.state is not State.READY:
        raise NotFound(
            f"The environment of {found.definition.title} is not built.",
            "Build it: `element env build`.",
        )
    return state.environment_id


def _faults(found: Verification) -> list[str | Text]:
    took = duration(found.seconds)
    if not found.faults:
        return [f"{found.environment_id}: {found.files} files, all as locked ({took})"]
    head = f"{found.environment_id}: {len(found.faults)} of {found.files} files differ ({took})"
    return [
        Text(head, style="bold red"),
        *(f"  {each.path}: {each.problem}" for each in found.faults[:50]),
        *([f"  … {len(found.faults) - 50} more"] if len(found.faults) > 50 else []),
    ]


def prune(
    unused_for: Annotated[
        str, typer.Option("--unused-for", help="Only what was not used for so long, e.g. 12h.")
    ] = "30d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Remove nothing; show what would go.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove environments that no kernel, run, job or shared name uses."""
    output = Output(as_json=as_json)
    made = connect(data)
    age = _age(unused_for)
    going = made.prune(age, dry_run=True)
    freed = sum(each.own_bytes for each in going)
    rows = [(each.environment_id, size(each.own_bytes), each.definition) for each in going]
    listing = [table(("Environment", "Frees", "Definition"), rows)] if rows else []
    if dry_run or not going:
        said = f"{len(going)} would go and free {size(freed)}." if going else "Nothing to remove."
        output.result({"items": going, "removed": False}, *listing, said)
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise Invalid(
                f"{len(going)} environments would be removed.", "Say so with --yes.", field="yes"
            )
        output.result(None, *listing)
        if not typer.confirm(f"Remove {len(going)}, which frees {size(freed)}?"):
            raise typer.Abort
    removed = made.prune(age)
    freed = sum(each.own_bytes for each in removed)
    output.result(
        {"items": removed, "removed": True}, f"{len(removed)} removed, {size(freed)} freed."
    )


def _age(text: str) -> timedelta:
    units = {"d": "days", "h": "hours", "m": "minutes", "min": "minutes", "w": "weeks"}
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ").strip()
    unit = text.removeprefix(number).strip()
    if not number.isdecimal() or len(number) > 5 or unit not in units:
        raise Invalid(f"'{text[:40]}' is no time.", "Write 30d, 12h or 90min.", field="unused_for")
    return timedelta(**{units[unit]: int(number)})
