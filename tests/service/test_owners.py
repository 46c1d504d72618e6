"""Owners of jobs: handed over, taken, suspended, gone; a job runs as its owner or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.platform_fixture import wait_until
from tests.service.hub_plane import JOB, HubPlane, hub_plane

NIGHTLY = "/jobs/sales/nightly"


@pytest.fixture(scope="module")
def hub(postgres, tmp_path_factory) -> Iterator[HubPlane]:
    directory = tmp_path_factory.mktemp("owners")
    with hub_plane(directory, postgres.url(postgres.new_database())) as both:
        yield both


@pytest.fixture
def both(hub: HubPlane) -> HubPlane:
    hub.saved()
    return hub


def started(both: HubPlane, who: str, **said: Any) -> Any:
    return both.ask(who, "POST", "/runs", json={"job": "sales/nightly", **said})


def test_a_job_that_is_handed_over_runs_once_its_new_owner_has_taken_it(both: HubPlane):
    given = both.ask("lena", "POST", f"{NIGHTLY}/owner", json={"owner": "max"})
    refused = started(both, "mia")
    triggered = both.ask("lena", "POST", f"{NIGHTLY}/trigger")
    listed = both.ask("vera", "GET", "/jobs").json()["items"][0]
    both.ask("lena", "POST", f"{NIGHTLY}/resume").raise_for_status()  # is not hers to take
    still = both.ask("vera", "GET", NIGHTLY).json()
    taken = both.ask("max", "POST", f"{NIGHTLY}/resume").json()
    run = started(both, "mia").json()

    assert given.json()["held"] == (
        "lena has handed it over to max, who has not taken it yet by resuming it."
    )
    for answer in (refused, triggered):
        assert answer.status_code == 409
        assert "max, who has not taken it" in answer.json()["message"]
        assert "element jobs resume sales/nightly" in answer.json()["hint"]
    assert (listed["stored"]["held"], listed["next_fire"]) == (given.json()["held"], None)
    assert still["held"] is not None
    assert (taken["held"], taken["offered_by"]) == (None, None)
    assert run["owner"] == "max"


def test_whoever_may_edit_a_job_may_take_it_over_with_what_it_executes(both: HubPlane):
    changed = JOB | {"tasks": [{"notebook": "sales.ipynb", "parameters": {"limit": 7}}]}
    refused = both.ask("max", "PUT", NIGHTLY, json=changed)
    taken = both.ask("max", "PUT", NIGHTLY, json=changed | {"owner": "max"})

    assert refused.status_code == 403
    assert "runs as mia" in refused.json()["message"]
    assert refused.json()["field"] == "owner"
    assert taken.json()["stored"]["job"]["owner"] == "max"
    assert taken.json()["stored"]["saved_by"] == "max"
    assert started(both, "mia").json()["owner"] == "max"


def test_another_s_job_is_executed_as_its_owner_has_said(both: HubPlane):
    wider = started(both, "max", parameters={"anything": 1}, allow_extra_parameters=True)
    other = started(both, "max", kernel="another")

    assert (wider.status_code, wider.json()["field"]) == (403, "allow_extra_parameters")
    assert (other.status_code, other.json()["field"]) == (403, "kernel")
    assert started(both, "max", parameters={"limit": 3}).status_code == 201


def test_an_owner_must_be_a_member_of_the_team(both: HubPlane):
    for stranger, reason in (("sam", "is not a member of"), ("nobody-here", "knows nobody")):
        answer = both.ask("lena", "POST", f"{NIGHTLY}/owner", json={"owner": stranger})
        assert answer.status_code == 400
        assert reason in answer.json()["message"]
    viewer = both.ask("root-of-all", "PUT", NIGHTLY, json=JOB | {"owner": "vera"})
    assert "vera is not a member of the team 'sales'" in viewer.json()["message"]


def test_whatever_is_a_team_s_says_who_owns_it_and_who_has_made_it_so(both: HubPlane):
    started(both, "max").raise_for_status()
    both.tokens["mia visiting"] = both.visiting("mia", "sales")
    snapshot = both.uploaded("mia visiting")
    of_visit = {"notebook": "sales.ipynb", "snapshot_id": snapshot}
    both.ask("mia visiting", "POST", "/runs", json=of_visit).raise_for_status()
    both.ask("lena", "POST", f"{NIGHTLY}/owner", json={"owner": "max"}).raise_for_status()

    jobs = [item["stored"] for item in both.ask("vera", "GET", "/jobs").json()["items"]]
    versions = both.ask("vera", "GET", f"{NIGHTLY}/versions").json()["items"]
    runs = both.ask("vera", "GET", "/runs").json()["items"]

    people = {"mia", "max", "lena", "nora"}
    assert {each["job"]["owner"] for each in (*jobs, *versions)} <= people
    assert {each["saved_by"] for each in (*jobs, *versions)} <= {*people, "administrator"}
    assert (versions[0]["saved_by"], versions[0]["job"]["owner"]) == ("lena", "max")
    assert {run["owner"] for run in runs} <= people
    assert [run["owner"] for run in runs if run["as_team"]] == ["mia"]
    for run in runs:  # what it has executed is on record with it, and theirs to see
        assert both.ask("vera", "GET", f"/snapshots/{run['snapshot_id']}").is_success


def test_the_job_of_somebody_who_has_left_does_not_run_and_says_why(both: HubPlane):
    both.tokens["nora"] = both.person("nora", "nora:lead", "sales:member")
    schedule = {"kind": "cron", "expression": "0 6 * * *", "timezone": "UTC"}
    said = JOB | {"name": "noras", "owner": "nora", "schedule": schedule, "max_active": 1}
    both.uploaded("nora")
    both.ask("nora", "PUT", "/jobs/sales/noras", json=said).raise_for_status()
    first, both.tokens["first"] = both.live_run("sales/noras")
    waiting = both.ask("mia", "POST", "/runs", json={"job": "sales/noras"}).json()["run_id"]
    both.person("nora")  # in no group any more

    def held() -> Any:
        return both.ask("vera", "GET", "/jobs/sales/noras").json()["held"]

    wait_until(held, 60)
    due = datetime(2026, 11, 21, 6, tzinfo=UTC).isoformat()
    fire = {"job": "sales/noras", "due_at": due, "trigger": "schedule", "dag_run_id": "s1"}
    refused = both.ask("airflow", "POST", "/runs", json=fire)
    fires = both.ask("vera", "GET", "/jobs/sales/noras/fires").json()["items"]

    assert held() == "It does not run as its owner any more: nora is suspended."
    assert refused.status_code == 409
    assert "A lead of the team 'sales' can hand it over" in refused.json()["hint"]
    assert [(row["state"], "nora is suspended" in row["reason"]) for row in fires] == [
        ("skipped", True)
    ]

    now = datetime.now(UTC).isoformat()
    end = {"kind": "run_finished", "sequence": 1, "at": now, "state": "succeeded"}
    told = {"events": [end | {"duration_seconds": 1.0}]}
    both.ask("first", "POST", f"/runs/{first}/events", json=told).raise_for_status()
    wait_until(lambda: both.ask("mia", "GET", f"/runs/{waiting}").json()["state"] == "failed", 60)
    reason = both.ask("mia", "GET", f"/runs/{waiting}").json()["reason"]
    assert reason == "It did not start: nora is suspended."

    both.person("nora", "nora:lead", "sales:member")
    wait_until(lambda: held() is None, 60)
    assert both.ask("mia", "POST", "/runs", json={"job": "sales/noras"}).status_code == 201
