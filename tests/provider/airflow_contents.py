"""Fills an Airflow's database with jobs of two teams: `python airflow_contents.py DIRECTORY`.

It runs in a process of its own, since Airflow reads its configuration when it is imported. All that
is of the team `zebra` has that word in it, so a word that appears where it must not is a leak.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun
from airflow.models.dagwarning import DagWarning
from airflow.models.hitl import HITLDetail
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

TEAMS = ("acme", "zebra")
HOURLY: dict[str, object] = {"kind": "cron", "expression": "7 * * * *", "timezone": "UTC"}


def _stored(team: str, name: str, schedule: dict[str, object] | None) -> str:
    job = {
        "apiVersion": "element/v1",
        "kind": "Job",
        "team": team,
        "name": name,
        "title": f"{team} {name}",
        "description": f"{team} figures of the day",
        "owner": f"{team}-owner",
        "snapshot_id": "0" * 64,
        "schedule": schedule,
        "catch_up": "latest",
        "max_active": 1,
        "paused": False,
        "tasks": [
            {"name": "main", "notebook": f"{team}/daily.ipynb", "parameters": {"what": team}}
        ],
    }
    stored = {
        "job": job,
        "version": 3,
        "saved_at": "2026-05-01T10:00:00Z",
        "saved_by": f"{team}-owner",
        "scheduled_since": "2026-05-01T10:00:00Z",
    }
    return json.dumps({"stored": stored, "awaited": name == "report"})


def _jobs(directory: Path) -> None:
    for team in TEAMS:
        schedules: dict[str, dict[str, object]] = {
            "report": HOURLY,
            "after": {"kind": "asset", "jobs": [f"{team}/report"]},
        }
        for name, schedule in schedules.items():
            (directory / f"{team}--{name}.py").write_text(
                "# An Airflow dag\nfrom element_jupyter.provider.dag import build\n"
                f"dag = build({_stored(team, name, schedule)!r})\n"
            )
        (directory / f"{team}--broken.py").write_text(
            f"# An Airflow dag\nraise ValueError('{team} does not parse')\n"
        )


def _run(team: str) -> None:
    dag_id, at = f"{team}--report", datetime(2026, 5, 2, 10, 7, tzinfo=UTC)
    with create_session() as session:
        serialized = SerializedDagModel.get(dag_id, session=session)
        assert serialized is not None
        run: DagRun = serialized.dag.create_dagrun(
            run_id=f"{team}-run",
            logical_date=at,
            data_interval=(at, at),
            run_after=at,
            conf={"secret": f"{team} conf"},
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.SUCCESS,
            note=f"{team} note",
            session=session,
        )
        task: TaskInstance = run.get_task_instances(session=session)[0]
        task.try_number = 1
        session.add(DagWarning(dag_id, "non-existent pool", f"{team} warning"))
        session.add(
            HITLDetail(
                ti_id=task.id,
                options=["yes"],
                subject=f"{team} asks",
                body=f"{team} wants to know",
                params={},
            )
        )
        fields = {"stored_parameters": f"{team} rendered"}
        session.add(
            RenderedTaskInstanceFields(task, render_templates=False, rendered_fields=fields)
        )


def main(directory: Path) -> None:
    jobs = directory / "jobs"
    jobs.mkdir(parents=True)
    _jobs(jobs)
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(str(directory), bundle_path=directory, bundle_name="element")
    with create_session() as session:
        sync_bag_to_db(bag, "element", None, session=session)
    for team in TEAMS:
        _run(team)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
