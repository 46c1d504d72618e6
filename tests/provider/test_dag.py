"""Jobs as DAGs."""

import json
import subprocess
import sys

import pytest
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

from element_jupyter.provider.dag import JobFileError, build, load, refuse
from element_jupyter.provider.history import append
from element_jupyter.provider.timetable import ElementTimetable

TWO = [
    {"name": "train", "notebook": "train.ipynb", "retries": 2, "retry_delay_seconds": 5},
    {
        "name": "report",
        "notebook": "report.ipynb",
        "needs": ["train"],
        "inputs": {"accuracy": "train:accuracy"},
        "pool": "gpu",
    },
]
HOURLY = {"kind": "cron", "expression": "0 * * * *", "timezone": "UTC"}


def document(stored, *, awaited=False):
    return json.dumps({"stored": stored, "awaited": awaited})


def digest(dag):
    return SerializedDagModel.hash(LazyDeserializedDAG.from_dag(dag).data)


def test_a_job_is_a_dag_of_its_team_and_name_with_tags_to_find_it_by(stored):
    dag = build(document(stored()))
    assert dag.dag_id == "acme--report"
    assert dag.dag_display_name == "The report"
    assert dag.tags == {"team:acme", "owner:alice", "notebook:reports/daily.ipynb"}
    assert dag.task_ids == ["main"]
    assert dag.get_task("main").owner == "alice"
    assert "http://airflow.test/element/jobs/acme/report" in dag.doc_md
    assert "Figures of the day." in dag.doc_md


def test_what_a_task_needs_comes_before_it_and_its_rules_are_airflows(stored):
    dag = build(document(stored(tasks=TWO)))
    train, report = dag.get_task("train"), dag.get_task("report")
    assert report.upstream_task_ids == {"train"}
    assert (train.retries, train.retry_delay.total_seconds()) == (2, 5)
    assert report.pool == "gpu"


def test_parsing_twice_gives_the_same_dag_and_a_new_version_another(stored):
    text = document(stored(schedule=HOURLY, tasks=TWO))
    changed = stored(schedule=HOURLY, tasks=TWO) | {"version": 4}
    assert digest(build(text)) == digest(build(text))
    assert digest(build(text)) != digest(build(document(changed)))


def test_a_dag_comes_back_from_airflows_database_with_its_timetable(stored):
    dag = build(document(stored(schedule=HOURLY, catch_up="all", max_active=3)))
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert isinstance(again.timetable, ElementTimetable)
    assert again.timetable.schedule == HOURLY
    assert (again.catchup, again.max_active_runs) == (True, 3)
    assert again.start_date.isoformat() == "2026-05-01T10:00:00+00:00"


def test_a_paused_job_has_no_schedule(stored):
    dag = build(document(stored(schedule=HOURLY, paused=True)))
    assert not dag.timetable.can_be_scheduled


def test_a_job_that_others_wait_for_announces_itself_with_its_last_tasks(stored):
    dag = build(document(stored(tasks=TWO), awaited=True))
    assert dag.get_task("train").outlets == []
    assert [asset.uri for asset in dag.get_task("report").outlets] == ["element://acme/report"]


def test_a_job_may_wait_for_others(stored):
    schedule = {"kind": "asset", "jobs": ["acme/report", "ops/load"]}
    dag = build(document(stored(name="after", schedule=schedule)))
    condition = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.asset_condition
    uris = {asset.uri for _, asset in condition.iter_assets()}
    assert uris == {"element://acme/report", "element://ops/load"}


def test_the_trigger_form_offers_the_notebooks_parameters(stored):
    assert build(document(stored())).params["parameters"] == {"n": 1}
    assert build(document(stored(tasks=TWO))).params["parameters"] == {"train": {}, "report": {}}


def test_a_stub_loads_the_job_as_of_the_version_in_its_path(stored, tmp_path):
    kept = tmp_path / "history" / "acme--report.jsonl"
    kept.parent.mkdir()
    for sequence, title in ((4, "Old"), (9, "New")):
        append(kept, sequence, document(stored(title=title)))
    for version, title in ((4, "Old"), (8, "Old"), (9, "New"), (12, "New")):
        path = tmp_path / "versions" / str(version) / "jobs" / "acme--report.py"
        assert load(str(path)).dag_display_name == title
    with pytest.raises(LookupError, match="no job acme--report at version 3"):
        load(str(tmp_path / "versions" / "3" / "jobs" / "acme--report.py"))


def test_a_broken_job_says_where_and_why():
    error = {
        "team": "acme",
        "name": "broken",
        "path": "jobs/acme/broken/job.yaml",
        "line": 7,
        "message": "There is no key 'shedule'.",
        "hint": "Did you mean 'schedule'?",
    }
    with pytest.raises(JobFileError) as caught:
        refuse(json.dumps(error))
    assert str(caught.value) == (
        "Job acme/broken: There is no key 'shedule'. Did you mean 'schedule'? "
        "(jobs/acme/broken/job.yaml, line 7)"
    )


def test_the_operator_adds_little_to_the_import_of_airflows_sdk():
    code = (
        "import time; from airflow.sdk import DAG, BaseOperator; start = time.process_time(); "
        "import element_jupyter.provider.operator; print(time.process_time() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.splitlines()[-1]) < 0.05
