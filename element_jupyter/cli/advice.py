"""`element usage advice`: sizes that fit, jobs that may be interrupted, and what it would save."""

from __future__ import annotations

from typing import Annotated

import typer

from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import DataOption, JsonOption, Output, table
from element_jupyter.core.resources.savings import Savings
from element_jupyter.platform.client import connect


def advice(
    team: Annotated[str | None, typer.Option(help="Of this team, for its leads.")] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Of everybody, for administrators.", show_default=False)
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, each.")] = 10,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what could be saved: your own, a team's, or everybody's; nothing is changed by it."""
    output = Output(as_json=as_json)
    scope = "all" if everybody else "team" if team is not None else "mine"
    said = connect(data).service.get("advice", scope=scope, team=team, limit=limit)
    found = Savings.model_validate(said)
    rows = [
        (
            clean(item.now.size),
            clean(item.better.size),
            _money(item.saves_per_month, found.currency),
            clean(item.sentence),
        )
        for item in found.items
    ]
    able = [
        (clean(item.job), _money(item.cost_per_month, found.currency), " ".join(item.why))
        for item in found.spot_able
    ]
    nothing = "Nothing that is started often needs another size."
    fitting = table(("Now", "Enough", "Saves a month", "Why"), rows) if rows else nothing
    spot = table(("May be interrupted", "Costs a month", "Why"), able)
    output.result(said, fitting, *([spot] if able else []))


def _money(amount: float | None, currency: str) -> str:
    return "" if amount is None else f"{amount:.2f} {currency}"
