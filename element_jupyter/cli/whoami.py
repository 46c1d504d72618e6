"""`element whoami`: who one is to the platform, and what one is to which team."""

from __future__ import annotations

from rich.text import Text

from element_jupyter.cli.output import DataOption, JsonOption, Output, table
from element_jupyter.platform.client import connect


def whoami(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show who you are here, and your level in each team."""
    local = connect(data)
    me = local.service.get("me")
    name = Text(me["name"], style="bold")
    if me["admin"]:
        name.append("  administrator", style="not bold")
    rows = [
        (team, level, "your own" if team == me["name"] else "")
        for team, level in sorted(me["teams"].items())
    ]
    output = Output(as_json=as_json)
    output.result(me, name, table(("Team", "Level", ""), rows))
