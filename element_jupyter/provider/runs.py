"""What a task instance asks of the control plane, and what it makes of the answer: pure.

The idempotency key is `<job>|<logical date>|<task>|<dag run id>|<try>` (with `[<index>]` behind the
task of a mapped one): a task that is started twice, by whomever, finds the same run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException

Document = dict[str, Any]

_TRIGGERS: Final = {
    "scheduled": "schedule",
    "backfill": "backfill",
    "asset_triggered": "asset",
    "asset_materialization": "asset",
    "operator_triggered": "api",
}
ENDED: Final = frozenset({"succeeded", "failed", "stopped", "lost"})


@dataclass(frozen=True)
class Instance:
    """One try of one task in one DAG run."""

    dag_run_id: str
    run_type: str
    logical_date: datetime | None
    run_after: datetime
    try_number: int
    map_index: int = -1


def run_request(
    instance: Instance,
    *,
    job: str,
    task: str,
    version: int | None,
    parameters: Document,
    on_schedule: bool,
) -> Document:
    """Build the body of `POST /runs`.

    `on_schedule` says that the DAG's scheduled runs are fires of the job's schedule, so that the
    catch-up policy applies to them.
    """
    trigger = _TRIGGERS.get(instance.run_type, "manual")
    logical_date = instance.logical_date.isoformat() if instance.logical_date else None
    mapped = f"[{instance.map_index}]" if instance.map_index >= 0 else ""
    key = "|".join(
        (job, logical_date or "", task + mapped, instance.dag_run_id, str(instance.try_number))
    )
    body: Document = {
        "job": job,
        "task": task,
        "parameters": parameters,
        "trigger": trigger,
        "logical_date": logical_date,
        "dag_run_id": instance.dag_run_id,
        "attempt": instance.try_number,
        "idempotency_key": key,
    }
    if version is not None:
        body["version"] = version
    if trigger == "schedule" and on_schedule:
        body["due_at"] = instance.run_after.isoformat()
    return body


def overrides(conf: Document | None, stored: Document, *, task: str | None) -> Document:
    """Return the parameters that a person changed in the trigger form, from `dag_run.conf`.

    `stored` is what the job says. `task` is None when the job has one task, whose parameters then
    stand at the top; else they stand under the task's name.

    Raises:
        AirflowException: `parameters` is not an object.
    """
    given = (conf or {}).get("parameters", {})
    if isinstance(given, dict) and task is not None:
        given = given.get(task, {})
    if not isinstance(given, dict):
        raise AirflowException(
            "`parameters` of the DAG run's configuration must be an object, not "
            f"{type(given).__name__}: "
            + ('{"name": value}.' if task is None else f'{{"{task}": {{"name": value}}}}.')
        )
    return {
        name: value for name, value in given.items() if name not in stored or stored[name] != value
    }


def xcoms(run: Document) -> Document:
    """Return what a task leaves for others: `return_value` holds all of it."""
    left = {key: run.get(key) for key in ("run_id", "state", "output_path")}
    left["recorded"] = run.get("recorded") or {}
    return {**left, "return_value": dict(left)}


def outcome(run: Document) -> Document:
    """Return the part of a run that a task is resumed with: small, whatever the run left."""
    kept = ("run_id", "state", "reason", "output_path", "recorded")
    cell = run.get("failing_cell") or {}
    return {
        **{key: run.get(key) for key in kept},
        "failing_cell": {key: cell.get(key) for key in ("index", "first_line", "ename", "evalue")}
        if cell
        else None,
    }


def failure(run: Document) -> str:
    """Say in one sentence how a run ended that did not succeed."""
    was = "was " if run["state"] in {"lost", "stopped"} else ""
    sentence = f"Run {run['run_id']} {was}{run['state']}"
    if cell := run.get("failing_cell"):
        first_line = f" ({cell['first_line']})" if cell.get("first_line") else ""
        sentence += f" in cell {cell['index'] + 1}{first_line}: {cell['ename']}: {cell['evalue']}"
    elif run.get("reason"):
        sentence += f": {run['reason']}"
    return sentence
