"""How environments are shown in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.text import Text

from element_jupyter.cli.output import ago
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.keeping import EnvironmentSummary, NotebookEnvironment, State

_SIGNS: Final = {
    State.READY: ("✓ ready", "green"),
    State.MISSING: ("◌ not built", "yellow"),
    State.BUILDING: ("◔ building", "cyan"),
    State.FAILED: ("✗ failed", "red"),
}
_SHOWN: Final = 40


def described(state: NotebookEnvironment, found: Found, directory: Path | None) -> list[str | Text]:
    """Return everything about the environment of a notebook, for a person."""
    definition = found.definition
    word, colour = _SIGNS[state.state]
    lines: list[str | Text] = [
        Text.assemble((definition.title, "bold"), "  ", (word, colour)),
        f"  {definition.why}",
        "",
    ]
    facts = {
        "Environment": state.environment_id,
        "Directory": str(directory) if directory else None,
        "Lock": state.lock_id,
        "Locked by": definition.lock_path,
        "Python": _python(state, found),
        "Variants": ", ".join(definition.variants),
        "Packages": str(state.packages) if state.packages is not None else None,
        "Project": str(found.root) if found.root else None,
    }
    lines += [f"{name:<12} {text}" for name, text in facts.items() if text]
    if definition.requirements:
        lines += ["", Text("Requirements", style="bold")]
        lines += [f"  {each.spec}" for each in definition.requirements[:_SHOWN]]
        more = len(definition.requirements) - _SHOWN
        lines += [f"  … {more} more"] if more > 0 else []
    if definition.origins:
        lines += ["", Text("Takes packages from", style="bold")]
        lines += [f"  {each.kind}: {each.location}  {each.named_in}" for each in definition.origins]
    if state.ignored:
        lines += ["", Text("Found, and not used", style="bold")]
        lines += [f"  {each.path}: {each.reason}" for each in state.ignored]
    if state.notices:
        lines += ["", Text("To know", style="bold"), *(f"  {each}" for each in state.notices)]
    if state.failure is not None:
        lines += ["", Text(state.failure.text, style="red")]
    return lines


def _python(state: NotebookEnvironment, found: Found) -> str:
    asked = found.definition.python
    wanted = f"({asked} says {found.definition.python_from})" if asked else ""
    return " ".join(part for part in (state.python, wanted) if part)


def summary_lines(each: EnvironmentSummary) -> list[str | Text]:
    """Return one environment of a list: its id is too long for a table beside all the rest."""
    used = f"used {ago(each.last_used_at)}" if each.last_used_at else "never used"
    by = [f"{holder.kind} {holder.what or holder.id}" for holder in each.holders]
    by += [f"job {job}" for job in each.jobs] + [f"shared as {name}" for name in each.names]
    sizes = f"{size(each.own_bytes)} of its own, {size(each.shared_bytes)} shared"
    return [
        Text.assemble((each.environment_id, "bold"), f"  {each.definition}"),
        f"  Python {each.python}, {each.packages} packages, {sizes}, {used}",
        *([f"  {', '.join(by)}"] if by else []),
    ]


def size(count: int) -> str:
    """Return a number of bytes as people read it: `9.1 MB`."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1000
    raise AssertionError
