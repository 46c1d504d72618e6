"""`python -m tests.bench [ROW …]`: print the table and write `build/bench.json`.

Exit code 1 when a row does not hold its bar. A module is imported only for the rows asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROWS = {
    "first_cell": "tests.bench.first_cell",
    "run_overhead": "tests.bench.run_overhead",
    "written_bytes": "tests.bench.written_bytes",
    "snapshot_1gib_stall": "tests.bench.snapshot_stall",
    "airflow_trivial_task": "tests.bench.airflow_share",
    "airflow_notebook_task": "tests.bench.airflow_share",
    "job_runnable_1000": "tests.bench.airflow_jobs",
    "parser_cpu_1000": "tests.bench.airflow_jobs",
    "environment_build": "tests.bench.environments",
    "environment_disk": "tests.bench.environments",
    "environment_lookup": "tests.bench.kernel_start",
    "kernel_ready_bytecode": "tests.bench.kernel_start",
    "import_bytecode": "tests.bench.kernel_start",
    "requests_during_build": "tests.bench.requests_during_build",
    "lab_activation": "tests.bench.lab_activation",
    "lab_scroll_2000_cells": "tests.bench.lab_scrolling",
    "lab_scroll_50_mb": "tests.bench.lab_scrolling",
    "resources_cpu": "tests.bench.resources",
    "resources_stall": "tests.bench.resources",
    "resources_status": "tests.bench.resources",
    "reserve_p99": "tests.bench.reservations",
    "ledger_first_view": "tests.bench.ledger",
    "ledger_month_by_person": "tests.bench.ledger",
    "advice_million": "tests.bench.advice",
    "advice_stall": "tests.bench.advice",
    "hub_first_cell": "tests.bench.hub_first_cell",
    "hub_failed_spawns": "tests.bench.hub_people",
    "hub_api_p95": "tests.bench.hub_people",
    "idle_memory": "tests.bench.idle_platform",
    "up_ready": "tests.bench.idle_platform",
}


def main(wanted: list[str]) -> int:
    """Measure the rows asked for (all, when none is) and report; return the exit code."""
    if unknown := sorted(set(wanted) - set(ROWS)):
        print(f"There is no row '{unknown[0]}'. Rows: {', '.join(ROWS)}.", file=sys.stderr)
        return 2
    # a row that measures a Hub says so
    os.environ.setdefault("ELEMENT_HUB", "false")
    names = wanted or list(ROWS)
    results: list[dict[str, Any]] = []
    for module in dict.fromkeys(ROWS[name] for name in names):
        print(f"measuring {module} …", file=sys.stderr, flush=True)
        rows = importlib.import_module(module).measure()
        results += [row for row in rows if row["name"] in names or not wanted]
    _print(results)
    out = Path("build/bench.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if all(row["holds"] for row in results) else 1


def _print(results: list[dict[str, Any]]) -> None:
    table = Table(title="Element against its peers")
    for column in ("row", "ours", "peer", "unit", "ratio", "bar", "holds"):
        table.add_column(column)
    for row in results:
        table.add_row(
            row["name"],
            _figure(row["ours"]),
            _figure(row["peer"]),
            row["unit"],
            _figure(row["ratio"]),
            str(row["bar"]),
            "yes" if row["holds"] else "NO",
        )
    Console().print(table)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
