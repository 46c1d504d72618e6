"""What a job may be."""

import pytest
from pydantic import ValidationError

from element_jupyter.core.jobs import Job, JobTask


def a_job(**changes):
    return Job(**{"team": "ada", "name": "sales", "owner": "ada", "snapshot_id": "0" * 64,
                  "tasks": [{"notebook": "a.ipynb"}], **changes})  # fmt: skip


def tasks(**needs):
    return [{"name": name, "notebook": "a.ipynb", **task} for name, task in needs.items()]


def test_a_job_has_one_id_for_people_and_one_for_airflow():
    job = a_job(team="data.team", name="daily-sales")
    assert (job.id, job.dag_id) == ("data.team/daily-sales", "data.team--daily-sales")
    assert job.task("main").notebook == "a.ipynb"
    assert job.task("other") is None


@pytest.mark.parametrize(
    "path",
    ["../a.ipynb", "/a.ipynb", "a/../b.ipynb", "./a.ipynb", "a//b.ipynb", "a\\b.ipynb", "a.py",
     ".ipynb", "a\n.ipynb", "a\0.ipynb", "x" * 1020 + ".ipynb"],
)  # fmt: skip
def test_a_notebook_stays_inside_the_project(path):
    with pytest.raises(ValidationError):
        JobTask(notebook=path)


@pytest.mark.parametrize("path", ["a.ipynb", "dir/a b (1).ipynb", "ünï/c.ipynb", "..a/b..ipynb"])
def test_ordinary_paths_are_notebooks(path):
    assert JobTask(notebook=path).notebook == path


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "at least 1 item"),
        ([{"notebook": "a.ipynb"}, {"notebook": "b.ipynb"}], "two tasks are called 'main'"),
        (tasks(a={"needs": ["b"]}), "'a' needs 'b', which is not a task"),
        (tasks(a={"needs": ["a"]}), "the tasks a need one another in a circle"),
        (tasks(a={"needs": ["b"]}, b={"needs": ["a"]}, c={}), "the tasks a, b need one another"),
        (tasks(a={}, b={"inputs": {"x": "a:y"}}), "takes an input from 'a' but does not need it"),
        (tasks(a={}, b={"inputs": {"x": "c:y"}, "needs": ["a"]}), "needs 'c', which is not a task"),
        (tasks(a={"inputs": {"x": "nonsense"}}), "match pattern"),
        (tasks(a={"parameters": {"1x": 1}}), "match pattern"),
        (tasks(a={"retries": 21}), "less than or equal to 20"),
        (tasks(a={"parameters": {"x": float("nan")}}), "finite"),
    ],
)
def test_tasks_that_do_not_fit_together_are_refused_in_words(given, sentence):
    with pytest.raises(ValidationError, match=sentence):
        a_job(tasks=given)


def test_tasks_may_depend_on_one_another_in_any_order():
    job = a_job(tasks=tasks(report={"needs": ["train"], "inputs": {"x": "train:auc"}}, train={}))
    assert [task.name for task in job.tasks] == ["report", "train"]


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "cron", "expression": "daily"},
        {"kind": "once", "at": "2026-11-20T06:00:00Z"},
        {"kind": "asset", "jobs": ["a/b"]},
    ],
)
def test_a_schedule_is_told_by_its_kind(schedule):
    assert a_job(schedule=schedule).schedule.kind == schedule["kind"]


def test_a_schedule_of_no_known_kind_is_refused():
    with pytest.raises(ValidationError, match="does not match any"):
        a_job(schedule={"kind": "never"})
