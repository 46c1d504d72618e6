"""`element schedule`: from a notebook on disk to a job that is stored."""

import json
from datetime import datetime

import pytest

from element_jupyter.core.values import slug


def stored(element, name):
    return element("jobs", "show", name, "--json").json["job"]


def test_a_notebook_becomes_a_job_with_its_project_and_schedule(element, project, request):
    said = element(
        "schedule", project / "sales.ipynb", "--cron", "0 6 * * 1-5", "--timezone", "Europe/Zurich",
        "-p", "factor", "3", "-p", "label=a=7", "--retries", "2", "--time-limit", "60",
        "--name", "weekday-sales", "--catch-up", "all", "--size", "medium",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "Created ada/weekday-sales (version 1)" in said.out
    assert "Weekdays at 06:00 Europe/Zurich" in said.out
    assert said.out.count(" 06:00  in ") == 3
    job = stored(element, "weekday-sales")
    assert job["schedule"]["expression"] == "0 6 * * 1-5"
    assert (job["catch_up"], job["size"]) == ("all", "medium")
    (task,) = job["tasks"]
    assert task["parameters"] == {"factor": 3, "label": "a=7"}
    assert (task["notebook"], task["retries"], task["time_limit_seconds"]) == ("sales.ipynb", 2, 60)


def test_json_is_what_was_stored_and_what_comes_next(element, project):
    said = element(
        "schedule", project / "sales.ipynb", "--cron", "hourly", "--name", "as-json", "--json"
    )
    assert said.json["change"] == "created"
    assert said.json["stored"]["job"]["name"] == "as-json"
    assert said.json["preview"]["sentence"] == "Every hour at :00"
    assert len(said.json["preview"]["fires"]) == 3


def test_without_a_schedule_it_waits_to_be_triggered(element, project):
    said = element("schedule", project / "sales.ipynb")
    assert "It runs when it is triggered: element jobs trigger ada/sales" in said.out
    assert stored(element, "sales")["schedule"] is None


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--at", "2099-01-02 03:04", "--timezone", "Asia/Tokyo"], "once"),
        (["--at", "23:59"], "once"),
        (["--on", "ada/upstream"], "asset"),
    ],
)
def test_it_can_fire_once_or_after_another_job(options, kind, element, project):
    element("schedule", project / "sales.ipynb", "--name", "upstream", "--replace")
    name = slug("-".join(options))
    said = element("schedule", project / "sales.ipynb", "--name", name, *options)
    assert said.code == 0, said.err
    schedule = stored(element, name)["schedule"]
    assert schedule["kind"] == kind
    if "Asia/Tokyo" in options:
        assert schedule["at"] == "2099-01-01T18:04:00Z"
    if "23:59" in options:
        assert datetime.fromisoformat(schedule["at"]) > datetime.now().astimezone()


def test_an_existing_job_is_replaced_only_when_asked_to(element, project):
    words = ["schedule", project / "sales.ipynb", "--name", "mine"]
    assert element(*words).code == 0
    again = element(*words, "--cron", "daily")
    assert again.code == 2
    assert "There is a job ada/mine already." in again.err
    assert "--replace" in again.err
    replaced = element(*words, "--cron", "daily", "--replace")
    assert "Updated ada/mine (version 2)" in replaced.out
    assert "Unchanged: ada/mine (version 2)" in element(*words, "--cron", "daily", "--replace").out


def test_a_dry_run_shows_and_saves_nothing(element, project):
    said = element(
        "schedule", project / "sales.ipynb", "--name", "dry", "--cron", "daily", "--dry-run"
    )
    assert said.code == 0, said.err
    assert "Would create ada/dry" in said.out
    assert element("jobs", "show", "dry").code == 2


def test_a_template_is_put_in_when_a_run_starts(element, project):
    said = element("schedule", project / "sales.ipynb", "--name", "dated", "-p", "day", "{{ ds }}")
    assert said.code == 0, said.err
    assert stored(element, "dated")["tasks"][0]["parameters"] == {"day": "{{ ds }}"}


@pytest.mark.parametrize(
    ("options", "sentence", "hint"),
    [
        (["--cron", "61 * * * *"], "minute 61 is not between 0 and 59", "The minute can be"),
        (["--cron", "0 0 30 2 *"], "there is no 30 February", "L"),
        (["--cron", "daily", "--timezone", "Mars"], "There is no time zone 'Mars'", "IANA"),
        (["--cron", "daily", "--at", "06:00"], "exclude one another", "one of them"),
        (["--end", "2099-01-01"], "--start and --end go with --cron", "--cron"),
        (["--at", "soonish"], "--at 'soonish' is not a time", "06:00"),
        (["--at", "2001-01-01"], "1 January 2001 at 00:00 UTC has passed", "future"),
        (["-p", "facto", "3"], "The notebook has no parameter 'facto'", "Did you mean 'factor'?"),
        (["-p", "factor", "many"], "Parameter 'factor' is a whole number", "declares factor = 2"),
        (["-p", "nope", "{{ ds }}"], "The notebook has no parameter 'nope'", ""),
        (["--name", "../x"], "name: it must be lower-case letters", ""),
        (["--team", "A B"], "team: it must be lower-case letters", ""),
        (["--retries", "99"], "retries", ""),
        (["--size", "vast"], "There is no size 'vast'", "There are: small"),
        (["--on", "nobody/nothing"], "there is no job 'nobody/nothing'", ""),
    ],
)
def test_what_cannot_work_is_refused_in_words(options, sentence, hint, element, project):
    said = element(
        "schedule", project / "sales.ipynb", "--timezone", "UTC", "--name", "refused", *options
    )
    assert said.code == 2
    assert sentence in said.err
    assert hint in said.err
    assert said.out == ""
    assert element("jobs", "show", "refused").code == 2


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.ipynb", None, "There is no notebook 'gone.ipynb'"),
        ("notes.txt", b"", "'notes.txt' is not a notebook"),
        ("broken.ipynb", b"{", "it is no JSON"),
        ("empty.ipynb", b"{}", "its format must be 3 or 4"),
    ],
)
def test_what_is_not_a_notebook_is_refused(name, content, sentence, element, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = element("schedule", name)
    assert said.code == 2
    assert sentence in said.err


def test_a_project_that_is_too_large_is_refused_with_its_largest_files(
    element, project, monkeypatch
):
    monkeypatch.setenv("ELEMENT_SNAPSHOT_REFUSE_BYTES", "1000")
    (project / "huge.bin").write_bytes(b"0" * 2000)
    said = element("schedule", project / "sales.ipynb", "--name", "huge", "--json")
    assert said.code == 2
    assert "huge.bin" in json.loads(said.out)["message"]
