"""`element jobs` and `element runs`, with notebooks that really run."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from element_jupyter.adapters.service_client import Address, ServiceClient
from element_jupyter.core.runs import CellStarted, RunFinished
from element_jupyter.platform.client import connect
from tests.cli.control_plane import ControlPlane, a_project

SECONDS = 60


def wait_for(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


# ------------------------------------------------------------------------------------------- jobs


def test_a_list_of_jobs_shows_schedule_and_state_in_80_columns(element, project):
    element(
        "schedule",
        project / "sales.ipynb",
        "--name",
        "listed",
        "--cron",
        "weekdays",
        "--timezone",
        "UTC",
    )
    said = element("jobs", "list", "--text", "listed")
    assert "ada/listed" in said.out
    assert "Weekdays at 06:00 UTC" in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())
    (item,) = element("jobs", "list", "--text", "listed", "--json").json["items"]
    assert item["next_fire"]["at"].endswith("06:00:00Z")
    assert element("jobs", "list", "--text", "no such job").out == "No jobs yet.\n"


def test_a_file_that_cannot_be_read_is_told_beside_the_others(element, a_job, control_plane):
    broken = control_plane.data / "jobs" / "ada" / "broken"
    broken.mkdir(parents=True)
    (broken / "job.yaml").write_text("kind: Jobb\n")
    try:
        said = wait_for(lambda: (said := element("jobs", "list")).err and said)
        assert f"ada/{a_job}" in said.out
        assert "job.yaml:1: " in said.err
        assert element("jobs", "list", "--json").json["errors"]
    finally:
        (broken / "job.yaml").unlink()
        broken.rmdir()


def test_a_job_is_paused_and_resumed(element, project):
    element("schedule", project / "sales.ipynb", "--name", "sleepy", "--cron", "daily")
    assert "ada/sleepy is paused." in element("jobs", "pause", "sleepy").out
    assert "paused" in element("jobs", "list", "--text", "sleepy").out
    assert element("jobs", "show", "ada/sleepy", "--json").json["job"]["paused"] is True
    resumed = element("jobs", "resume", "sleepy")
    assert "ada/sleepy fires again." in resumed.out
    assert resumed.out.count("  in ") == 3


def test_a_job_is_handed_over(element, a_job):
    given = element("jobs", "hand-over", a_job, "grace")
    assert given.code == 0, given.err
    assert f"ada/{a_job} is grace's." in given.out
    assert element("jobs", "show", a_job, "--json").json["job"]["owner"] == "grace"


def test_a_job_is_deleted_after_asking(element, project, monkeypatch):
    element("schedule", project / "sales.ipynb", "--name", "doomed")
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    monkeypatch.setattr("typer._click.termui.visible_prompt_func", lambda *_: "n")
    assert element("jobs", "delete", "doomed").code == 130
    assert element("jobs", "show", "doomed").code == 0
    assert element("jobs", "delete", "doomed", "--yes").out == "ada/doomed is deleted.\n"
    gone = element("jobs", "show", "doomed")
    assert gone.code == 2
    assert "There is no job 'ada/doomed'" in gone.err


def test_history_shows_the_versions(element, a_job, project):
    element("schedule", project / "sales.ipynb", "--name", a_job, "--cron", "daily", "--replace")
    said = element("jobs", "history", a_job)
    assert said.code == 0, said.err
    assert "No fires yet." in said.out
    assert [
        version["version"]
        for version in element("jobs", "history", a_job, "--json").json["versions"]
    ] == [2, 1]


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Let `$EDITOR` be a series of Python functions from text to text."""

    def use(*steps):
        script = tmp_path / "editor.py"
        counter = tmp_path / "count"
        script.write_text(
            "import pathlib, sys\n"
            f"counter = pathlib.Path({str(counter)!r})\n"
            "done = int(counter.read_text()) if counter.exists() else 0\n"
            "counter.write_text(str(done + 1))\n"
            f"steps = {steps!r}\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "old, new = steps[min(done, len(steps) - 1)]\n"
            f"pathlib.Path({str(tmp_path)!r}, f'seen-{{done}}').write_text(path.read_text())\n"
            "path.write_text(path.read_text().replace(old, new))\n"
        )
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        monkeypatch.delenv("VISUAL", raising=False)

    return use


def test_edit_saves_the_next_version(element, a_job, editor):
    editor(("tasks:", "title: Better\ntasks:"))
    said = element("jobs", "edit", a_job)
    assert said.code == 0, said.err
    assert "+title: Better" in said.out
    assert element("jobs", "show", a_job, "--json").json["job"]["title"] == "Better"


def test_edit_opens_again_what_was_refused_with_the_reason_on_top(element, a_job, editor, tmp_path):
    editor(("tasks:", "titel: Oops\ntasks:"), ("titel:", "title:"))
    said = element("jobs", "edit", a_job)
    assert said.code == 0, said.err
    reopened = (tmp_path / "seen-1").read_text()
    assert re.search(r"^#! line \d+: There is no key 'titel'", reopened)
    assert "Did you mean 'title'?" in reopened
    assert "titel: Oops" in reopened
    assert element("jobs", "show", a_job, "--json").json["job"]["title"] == "Oops"


def test_edit_gives_up_when_what_was_refused_is_saved_again(element, a_job, editor):
    editor(("tasks:", "titel: Oops\ntasks:"), ("nothing", "nothing"))
    assert element("jobs", "edit", a_job).code == 2


def test_edit_without_a_change_saves_nothing(element, a_job, editor):
    editor(("", ""))
    assert "Nothing was changed." in element("jobs", "edit", a_job).out
    assert element("jobs", "show", a_job, "--json").json["version"] == 1


def test_trigger_follows_the_run_to_its_result(element, a_job):
    said = element("jobs", "trigger", a_job, "--follow")
    assert said.code == 0, said.err
    assert "✓ 3/3" in said.out
    assert "total  12" in said.out
    assert "result.txt" in said.out
    (item,) = element("jobs", "list", "--text", a_job, "--json").json["items"]
    assert item["last_runs"] == ["succeeded"]


# ------------------------------------------------------------------------------------------- runs


def test_a_run_is_started_followed_and_looked_at(element, a_job):
    said = element("runs", "start", a_job, "-p", "factor", "5", "--follow")
    assert said.code == 0, said.err
    assert "        total 30" in said.out
    run = element("runs", "show", "last", "--json").json
    assert (run["state"], run["recorded"]) == ("succeeded", {"total": 30, "label": "x"})
    listed = element("runs", "list", "--job", f"ada/{a_job}")
    assert run["run_id"] in listed.out
    assert all(len(line) <= 80 for line in listed.out.splitlines())
    shown = element("runs", "show", run["run_id"]).out
    assert "factor=5" in shown
    assert "Cells      4/4" in shown
    logs = element("runs", "logs", run["run_id"])
    assert "total 30" in logs.out
    events = element("runs", "logs", run["run_id"], "--json").lines
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "run_finished"
    assert Path(element("runs", "open", run["run_id"]).out.strip()).is_file()


def test_a_run_that_fails_exits_with_1_and_shows_the_cell(element, tmp_path):
    project = a_project(tmp_path / "failing", "1 / 0  # here")
    element("schedule", project / "sales.ipynb", "--name", "failing", "--replace")
    said = element("runs", "start", "failing", "--follow")
    assert said.code == 1
    assert "failed" in said.out
    assert "Cell 2: 1 / 0  # here" in said.out
    assert "ZeroDivisionError: division by zero" in said.out
    assert element("runs", "logs", "last").code == 1


def test_a_run_is_stopped(element, tmp_path):
    project = a_project(tmp_path / "slow", "import time\ntime.sleep(600)")
    element("schedule", project / "sales.ipynb", "--name", "slow", "--replace")
    run_id = element("runs", "start", "slow", "--json").json["run_id"]

    def state():
        return element("runs", "show", run_id, "--json").json["state"]

    wait_for(lambda: state() == "running")
    assert "running  2 cells" in element("runs", "logs", run_id).out
    assert element("runs", "stop", run_id).out == f"{run_id} is being stopped.\n"
    wait_for(lambda: state() == "stopped")
    assert "had ended already" in element("runs", "stop", run_id).out
    assert element("runs", "open", "r-00000000000000000000000000").code == 2


def test_ctrl_c_ends_following_and_not_the_run(element, tmp_path, control_plane):
    project = a_project(tmp_path / "long", "import time\ntime.sleep(600)")
    element("schedule", project / "sales.ipynb", "--name", "long", "--replace")
    run_id = element("runs", "start", "long", "--json").json["run_id"]
    command = [sys.executable, "-m", "element_jupyter.cli", "runs", "logs", run_id, "-f", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as follower:
        for line in follower.stdout:
            if b"cell_started" in line:
                break
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 130
        assert follower.stderr.read() == b""
    assert element("runs", "show", run_id, "--json").json["state"] == "running"
    element("runs", "stop", run_id)


def test_what_a_notebook_prints_cannot_steer_the_terminal(element, tmp_path):
    project = a_project(tmp_path / "rude", r"print('a\x1b[2J\x1b]0;owned\x07b\x08')")
    element("schedule", project / "sales.ipynb", "--name", "rude", "--replace")
    said = element("runs", "start", "rude", "--follow")
    assert "        ab\n" in said.out
    assert "\x1b" not in said.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runs", "show", "r-00000000000000000000000000"], "There is no run"),
        (["runs", "show", "../../etc"], "it must be a run id"),
        (["runs", "start", "a/b/c"], "'a/b/c' is not a job"),
        (["runs", "start", "nothing-such"], "There is no job"),
        (["jobs", "show", "UPPER"], "it must be lower-case"),
        (["jobs", "trigger", "nothing-such"], "There is no job"),
    ],
)
def test_what_is_not_there_is_said_with_exit_2(words, sentence, element):
    said = element(*words)
    assert said.code == 2
    assert sentence in said.err


# ----------------------------------------------------------------------------------------- faults


def test_following_goes_on_over_a_restart_of_the_control_plane(
    postgres, tmp_path, monkeypatch, capsys
):
    plane = ControlPlane(tmp_path / "data", postgres.url(postgres.new_database()))
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(plane.data))
    monkeypatch.setenv("ELEMENT_OWNER", "ada")
    from element_jupyter.cli.main import main

    try:
        project = a_project(
            tmp_path / "project",
            *(f"import time\nprint({number})\ntime.sleep(0.5)" for number in range(8)),
        )
        assert main(["schedule", str(project / "sales.ipynb"), "--name", "steady"]) == 0
        local = connect(plane.data)
        run_id = local.service.post("runs", body={"job": "ada/steady"})["run_id"]
        seen, restarted = [], threading.Event()
        for told in local.service.follow(run_id):
            seen.append(told)
            if (
                isinstance(told.event, CellStarted)
                and told.event.index == 3
                and not restarted.is_set()
            ):
                plane.end(signal.SIGKILL)
                restarted.set()
                threading.Thread(target=plane.start).start()
        assert restarted.is_set()
        assert [told.id for told in seen] == [str(number) for number in range(1, len(seen) + 1)]
        started = [told.event.index for told in seen if isinstance(told.event, CellStarted)]
        assert started == list(range(9))
        assert isinstance(seen[-1].event, RunFinished)
        assert seen[-1].event.state == "succeeded"
    finally:
        wait_for(lambda: plane.process.poll() is None)
        plane.end()


def test_following_gives_up_when_nobody_answers_for_long():
    client = ServiceClient(lambda: Address("http://127.0.0.1:9", "token"))
    began = time.monotonic()
    from element_jupyter.core.errors import Unavailable

    with pytest.raises(Unavailable):
        list(client.follow("r-00000000000000000000000000", patience_seconds=0.5))
    assert time.monotonic() - began < 20
