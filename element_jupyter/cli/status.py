"""`element status` and `element doctor`: what runs, and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from element_jupyter import config
from element_jupyter.cli.output import JsonOption, Output, ago, table
from element_jupyter.core.errors import Unavailable
from element_jupyter.platform.data import Data
from element_jupyter.platform.doctor import Finding, Verdict, examine, versions
from element_jupyter.platform.state import is_running, read_state

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data directory.", show_default=False)
]

_SIGNS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARN: ("!", "yellow"),
    Verdict.FAIL: ("✗", "red"),
}


def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what runs, where, and in which version; exit 3 when the platform is not up."""
    directory = Data(config.load(data_dir=str(data) if data else None).data)
    state = read_state(directory.state_file) if is_running(directory.lock_file) else None
    if state is None:
        raise Unavailable(
            f"Element does not run on {directory.root}.", "Start it with `element up`."
        )
    now = datetime.now(UTC)
    found = versions()
    rows = [
        (process.title, process.state, str(process.pid or ""), process.account or "",
         str(process.restarts or ""), ago(process.since, now))
        for process in state.processes.values()
    ]  # fmt: skip
    output = Output(as_json=as_json)
    output.result(
        {**state.model_dump(mode="json"), "data_dir": str(directory.root), "versions": found},
        Text("Element is ready" if state.ready else "Element is starting", style="bold"),
        f"Control plane  {state.service_url}",
        *([f"People open    {state.public_url}"] if state.public_url else []),
        *([f"Airflow        {state.airflow_url}"] if state.airflow_url else []),
        f"Data           {directory.root}",
        table(("Process", "State", "PID", "Account", "Restarts", "Since"), rows),
        ", ".join(f"{name} {version}" for name, version in found.items() if version),
    )


def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Find out what is wrong and how to mend it; exit 1 when something has to be mended."""
    findings = examine(config.load(data_dir=str(data) if data else None))
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    lines = [line for finding in findings for line in _lines(finding)]
    output = Output(as_json=as_json)
    output.result({"ok": not failed, "findings": findings}, *lines)
    if failed:
        raise typer.Exit(1)


def _lines(finding: Finding) -> list[Text]:
    sign, colour = _SIGNS[finding.verdict]
    lines = [
        Text.assemble(
            (f"{sign} {finding.verdict:<5}", colour), f"{finding.check:<15} {finding.message}"
        )
    ]
    if finding.hint:
        lines.append(Text(f"{'':23}{finding.hint}"))
    return lines
