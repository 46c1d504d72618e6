"""Who may what: every endpoint, asked by everybody, of a real control plane beside a real Hub.

Each row of `TABLE` says what the endpoint answers to whom. An endpoint that is not in it fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from element_jupyter.service.app import ROUTES
from tests.service.conftest import NOTEBOOK
from tests.service.hub_plane import JOB, MANIFEST, HubPlane, hub_plane

# nobody      no token at all                       vera   viewer of the team, "sales"
# expired     mia's, after its time                 max    member
# suspended   somebody in no group                  lena   lead
# sam         leads another team                    root   administrator of the Hub
# airflow     the scheduler                         hub    the Hub's spawner
# run         the process of the run asked about    other  the process of another run of the team
COLUMNS = (
    *("nobody", "expired", "suspended", "sam", "vera", "max", "lena", "root"),
    *("airflow", "hub", "run", "other"),
)
TABLE = """
                                                 no  ex  su  sam ver max len roo air hub run oth
GET /health                                      200 200 200 200 200 200 200 200 200 200 200 200
GET /status                                      401 401 403 200 200 200 200 200 200 403 403 403
GET /openapi.json                                401 401 403 200 200 200 200 200 200 403 403 403
GET /metrics                                     401 401 403 403 403 403 403 200 403 403 403 403
GET /me                                          401 401 403 200 200 200 200 200 200 403 403 403
GET /audit                                       401 401 403 403 403 403 403 200 403 403 403 403
GET /audit/chain                                 401 401 403 403 403 403 403 200 403 403 403 403
GET /audit/export                                401 401 403 403 403 403 403 200 403 403 403 403
GET /audit/state                                 401 401 403 403 403 403 403 200 403 403 403 403
GET /audit/verification                          401 401 403 403 403 403 403 200 403 403 403 403
GET /sizes                                       401 401 403 200 200 200 200 200 200 403 403 403
GET /quota                                       401 401 403 200 200 200 200 200 200 403 403 403
GET /quota team                                  401 401 403 403 200 200 200 200 200 403 403 403
GET /quota/people                                401 401 403 200 403 403 200 200 403 403 403 403
GET /quota/people team                           401 401 403 403 403 403 200 200 403 403 403 403
GET /quota/teams                                 401 401 403 200 403 403 200 200 403 403 403 403
POST /quota/requests                             401 401 403 403 403 201 201 201 403 403 403 403
GET /quota/requests                              401 401 403 200 200 200 200 200 200 403 403 403
POST /quota/requests/{request_id}/approve        401 401 403 404 403 403 200 200 403 403 403 403
POST /quota/requests/{request_id}/decline        401 401 403 404 403 403 200 200 403 403 403 403
GET /quotas                                      401 401 403 200 403 403 200 200 403 403 403 403
PUT /quotas                                      401 401 403 403 403 403 403 200 403 403 403 403
GET /quotas/history                              401 401 403 403 403 403 403 200 403 403 403 403
POST /quotas/undo                                401 401 403 403 403 403 403 200 403 403 403 403
GET /allocations                                 401 401 403 200 200 200 200 200 200 403 403 403
GET /allocations team                            401 401 403 403 403 403 200 200 403 403 403 403
POST /audit                                      401 401 403 403 403 403 403 403 403 204 403 403
POST /allocations                                401 401 403 403 403 403 403 403 403 204 403 403
POST /allocations run                            401 401 403 403 403 403 403 403 403 403 403 403
POST /allocations/{allocation_id}/release        401 401 403 403 403 403 403 403 403 204 403 403
GET /care                                        401 401 403 403 403 403 403 200 403 403 403 403
GET /news                                        401 401 403 200 200 200 200 200 200 403 403 403
GET /care/preview                                401 401 403 403 403 403 403 200 403 403 403 403
POST /runs/{run_id}/restore                      401 401 403 404 403 404 404 404 404 403 403 403
GET /notices                                     401 401 403 200 200 200 200 200 200 403 403 403
POST /activity                                   401 401 403 200 200 200 200 200 200 403 403 403
POST /notices/{notice_id}/keep                   401 401 403 404 404 404 404 404 404 403 403 403
GET /running                                     401 401 403 200 200 200 200 200 200 403 403 403
GET /queue                                       401 401 403 200 200 200 200 200 200 403 403 403
POST /running/{allocation_id}/stop               401 401 403 404 403 403 200 200 403 403 403 403
GET /jobs                                        401 401 403 200 200 200 200 200 200 403 403 403
GET /jobs/{team}/{name}                          401 401 403 403 200 200 200 200 200 403 403 403
PUT /jobs/{team}/{name} title                    401 401 403 403 403 200 200 200 403 403 403 403
PUT /jobs/{team}/{name} what-it-executes         401 401 403 403 403 403 403 200 403 403 403 403
PUT /jobs/{team}/{name} owner-another            401 401 403 403 403 403 200 200 403 403 403 403
PUT /jobs/{team}/{name} owner-oneself            401 401 403 403 403 200 200 200 403 403 403 403
DELETE /jobs/{team}/{name}                       401 401 403 403 403 403 204 204 403 403 403 403
POST /jobs/{team}/{name}/pause                   401 401 403 403 403 200 200 200 403 403 403 403
POST /jobs/{team}/{name}/resume                  401 401 403 403 403 200 200 200 403 403 403 403
POST /jobs/{team}/{name}/owner another           401 401 403 403 403 403 200 200 403 403 403 403
POST /jobs/{team}/{name}/trigger                 401 401 403 403 403 400 400 400 400 403 403 403
GET /jobs/{team}/{name}/versions                 401 401 403 403 200 200 200 200 200 403 403 403
GET /jobs/{team}/{name}/versions/{version}       401 401 403 403 200 200 200 200 200 403 403 403
GET /jobs/{team}/{name}/fires                    401 401 403 403 200 200 200 200 200 403 403 403
GET /job-changes                                 401 401 403 403 403 403 403 200 200 403 403 403
GET /schema/job                                  401 401 403 200 200 200 200 200 200 403 403 403
POST /schedules/preview                          401 401 403 200 200 200 200 200 200 403 403 403
GET /usage                                       401 401 403 200 200 200 200 200 200 403 403 403
GET /usage team                                  401 401 403 403 403 403 200 200 403 403 403 403
GET /usage person                                401 401 403 403 403 403 403 200 403 403 403 403
GET /advice                                      401 401 403 200 200 200 200 200 200 403 403 403
GET /advice team                                 401 401 403 403 403 403 200 200 403 403 403 403
GET /advice all                                  401 401 403 403 403 403 403 200 403 403 403 403
POST /usage/readings                             401 401 403 403 403 403 403 403 403 204 403 403
GET /usage/export                                401 401 403 200 200 200 200 200 200 403 403 403
GET /usage/export team                           401 401 403 403 403 403 200 200 403 403 403 403
GET /usage/corrections                           401 401 403 403 403 403 403 200 403 403 403 403
POST /usage/corrections                          401 401 403 403 403 403 403 404 403 403 403 403
GET /storage                                     401 401 403 200 200 200 200 200 200 403 403 403
GET /storage team                                401 401 403 403 403 403 200 200 403 403 403 403
GET /storage all                                 401 401 403 403 403 403 403 200 403 403 403 403
POST /storage/measure                            401 401 403 202 202 202 202 202 202 403 403 403
GET /storage/to-measure                          401 401 403 403 403 403 403 403 403 200 403 403
POST /storage/measured                           401 401 403 403 403 403 403 403 403 204 403 403
GET /usage/advice job                            401 401 403 403 200 200 200 200 200 403 403 403
GET /usage/advice notebook                       401 401 403 200 200 200 200 200 200 403 403 403
POST /snapshots/missing                          401 401 403 200 200 200 200 200 403 403 403 403
PUT /blobs/{digest}                              401 401 403 204 204 204 204 204 403 403 403 403
GET /snapshots/{snapshot_id}                     401 401 403 404 200 200 200 200 200 403 403 403
GET /snapshots/{snapshot_id}/notebooks/{path}    401 401 403 404 200 200 200 200 200 403 403 403
POST /runs job                                   401 401 403 403 403 404 404 404 404 403 403 403
POST /runs notebook-of-the-team                  401 401 403 403 403 400 400 400 403 403 403 403
POST /runs notebook-of-oneself                   401 401 403 400 400 400 400 400 403 403 403 403
GET /runs                                        401 401 403 200 200 200 200 200 200 403 403 403
GET /runs/{run_id}                               401 401 403 404 200 200 200 200 200 403 403 403
GET /runs/{run_id}/events                        401 401 403 404 200 200 200 200 200 403 403 403
GET /runs/{run_id}/notebook                      401 401 403 404 200 200 200 200 200 403 403 403
GET /runs/{run_id}/artifacts/{path}              401 401 403 404 200 200 200 200 200 403 403 403
POST /runs/{run_id}/stop                         401 401 403 404 403 200 200 200 200 403 403 403
POST /runs/{run_id}/events                       401 401 403 403 403 403 403 403 403 403 200 403
POST /runs/{run_id}/heartbeat                    401 401 403 403 403 403 403 403 403 403 200 403
GET /runs/{run_id}/spec                          401 401 403 403 403 403 403 403 403 403 200 403
GET /runs/{run_id}/snapshot                      401 401 403 403 403 403 403 403 403 403 200 403
GET /runs/{run_id}/blobs/{digest}                401 401 403 403 403 403 403 403 403 403 200 403
PUT /runs/{run_id}/notebook                      401 401 403 403 403 403 403 403 403 403 204 403
PUT /runs/{run_id}/artifacts/{path}              401 401 403 403 403 403 403 403 403 403 204 403
POST /runs/{run_id}/launch                       401 401 403 403 403 403 403 403 403 403 403 403
POST /runs/{run_id}/ended                        401 401 403 403 403 403 403 403 403 204 403 403
"""
BLOB = b"a file of anybody's"
DIGEST = hashlib.sha256(BLOB).hexdigest()
ALLOCATION = {
    "id": f"s-{'0' * 26}",
    "kind": "editor",
    "person": "mia",
    "team": "sales",
    "size": "small",
    "cpu": 1,
    "memory_bytes": 1 << 30,
    "gpu": 0,
    "begun_at": "2026-11-22T06:00:00Z",
}
ASKED = {
    "team": "sales",
    "kind": "at_once",
    "resource": "gpu",
    "amount": 2,
    "until": str(datetime.now(UTC).date() + timedelta(days=3)),
    "reason": "a deadline",
}
BODIES: dict[str, Any] = {
    "POST /quota/requests": ASKED,
    "PUT /jobs/{team}/{name} title": JOB | {"title": "Sales of the night"},
    "PUT /jobs/{team}/{name} what-it-executes": JOB
    | {"tasks": [{"notebook": "sales.ipynb", "parameters": {"limit": 3}}]},
    "PUT /jobs/{team}/{name} owner-another": JOB | {"owner": "omar"},
    "POST /jobs/{team}/{name}/owner another": {"owner": "omar"},
    "POST /jobs/{team}/{name}/trigger": {
        "parameters": {"unknown": 1}
    },  # 400: one may, but for that
    "POST /schedules/preview": {
        "schedule": {"kind": "cron", "expression": "daily", "timezone": "UTC"}
    },
    "POST /snapshots/missing": {"digests": [DIGEST]},
    "POST /runs job": {"job": "sales/nightly", "task": "unknown"},  # 404: one may, but for that
    "POST /runs notebook-of-the-team": {
        "team": "sales",
        "notebook": "sales.ipynb",
        "snapshot_id": "0" * 64,  # 400: one may, but for that
    },
    "POST /runs notebook-of-oneself": {"notebook": "sales.ipynb", "snapshot_id": "0" * 64},
    "POST /activity": {"input_seconds_ago": 3},
    "POST /runs/{run_id}/events": {"events": []},
    "POST /runs/{run_id}/launch": {"ticket": "made up", "person": "mia"},
    "POST /runs/{run_id}/ended": {},
    "PUT /quotas": {"quotas": []},
    "POST /quotas/undo": {"version": 1},
    "POST /audit": {"at": "2026-11-22T07:00:00Z", "actor": "a", "action": "b", "subject": "c"},
    "POST /storage/measured": {
        "began_at": "2026-11-22T06:00:00Z",
        "whole": False,
        "done": 0,
        "of": 0,
    },
    "POST /allocations": {"allocation": ALLOCATION},
    "POST /usage/readings": {"readings": []},
    "POST /usage/corrections": {  # 404: one may, but for that
        "id": "made up",
        "allocation_id": f"s-{'1' * 26}",
        "hour": "2026-11-22T06:00:00Z",
        "cpu_seconds": 1,
        "reason": "a test",
    },
    "POST /allocations run": {"allocation": ALLOCATION | {"kind": "run"}},
    "POST /allocations/{allocation_id}/release": {"ended_at": "2026-11-22T07:00:00Z"},
}
UPLOADS = {
    "PUT /blobs/{digest}": BLOB,
    "PUT /runs/{run_id}/notebook": json.dumps(NOTEBOOK).encode(),
    "PUT /runs/{run_id}/artifacts/{path}": b"what a run leaves",
}
QUERIES = {
    "GET /quota team": {"team": "sales", "size": "small"},
    "GET /quota/people team": {"team": "sales"},
    "GET /allocations team": {"team": "sales"},
    "GET /usage": {"by": "team,day"},
    "GET /usage/export team": {"by": "person", "team": "sales", "format": "csv"},
    "GET /usage team": {"by": "person", "team": "sales"},
    "GET /usage person": {"person": "mia"},
    "GET /advice team": {"scope": "team", "team": "sales"},
    "GET /advice all": {"scope": "all"},
    "PUT /quotas": {"dry_run": True},
    "GET /storage team": {"scope": "team", "team": "sales"},
    "GET /storage all": {"scope": "all"},
    "GET /usage/advice job": {"job": "sales/nightly"},
    "GET /usage/advice notebook": {"notebook": "sales.ipynb"},
}
ROWS = {
    line[:49].strip(): [int(code) for code in line[49:].split()]
    for line in TABLE.strip().splitlines()[1:]
}


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory) -> Iterator[HubPlane]:
    directory = tmp_path_factory.mktemp("rights")
    with hub_plane(directory, postgres.url(postgres.new_database())) as both:
        both.tokens["omar"] = both.person("omar", "omar:lead", "sales:member")
        both.tokens["root"] = both.tokens["root-of-all"]
        yield both


@pytest.fixture(scope="module")
def live(both) -> str:
    """A run that its process executes, and that has left a notebook and a file."""
    run_id, both.tokens["run"] = both.live_run()
    _, both.tokens["other"] = both.live_run()
    for path in ("notebook", "artifacts/result.txt"):
        both.ask("run", "PUT", f"/runs/{run_id}/{path}", content=b"{}").raise_for_status()
    return run_id


def asked(both: HubPlane) -> int:
    """Something that mia asks for, and that is not decided."""
    answer = both.ask("mia", "POST", "/quota/requests", json=ASKED).raise_for_status()
    return int(answer.json()["id"])


@pytest.fixture(scope="module")
def stopped(both, live) -> str:
    run_id, _ = both.live_run()
    both.ask("mia", "POST", f"/runs/{run_id}/stop").raise_for_status()
    return run_id


def test_every_endpoint_is_in_the_table():
    asked = {" ".join(row.split()[:2]) for row in ROWS}

    assert asked == {f"{route.method} {route.path.replace(':path', '')}" for route in ROUTES}
    assert {len(codes) for codes in ROWS.values()} == {len(COLUMNS)}


@pytest.mark.parametrize("row", ROWS)
def test_an_endpoint_answers(row, both: HubPlane, live, stopped):
    method, path, *_ = row.split()
    path = path.format(
        team="sales",
        name="nightly",
        version=both.saved()["version"],
        run_id=stopped if path.endswith("/stop") else live,
        snapshot_id=MANIFEST.snapshot_id,
        notice_id=f"n-{'0' * 26}",
        allocation_id=stopped if path.endswith("/stop") else ALLOCATION["id"],
        request_id=asked(both) if "{request_id}" in row else 0,
        path="sales.ipynb" if "snapshots" in path else "result.txt",
        digest=DIGEST if path == "/blobs/{digest}" else min(MANIFEST.digests),
    )
    answered = {}
    for who in COLUMNS:
        if "/jobs/{team}" in row and method != "GET":
            both.saved()  # as it was, whatever the one before has done to it
        said: dict[str, Any] = {"params": QUERIES.get(row, {})}
        if row in UPLOADS:
            said["content"] = UPLOADS[row]
        elif row == "PUT /jobs/{team}/{name} owner-oneself":
            name = {"root": "root-of-all"}.get(who, who)
            said["json"] = JOB | {"owner": name, "title": "mine now"}
        elif row in BODIES:
            said["json"] = BODIES[row]
        headers = {"Accept": "application/json"}
        answered[who] = both.ask(who, method, path, headers=headers, **said).status_code

    assert answered == dict(zip(COLUMNS, ROWS[row], strict=True))


def test_lists_hold_what_is_one_s_own_and_nothing_else(both: HubPlane, live):
    jobs = {
        who: [
            item["stored"]["job"]["name"] for item in both.ask(who, "GET", "/jobs").json()["items"]
        ]
        for who in ("sam", "vera", "root", "airflow")
    }
    runs = {
        who: {item["run_id"] for item in both.ask(who, "GET", "/runs").json()["items"]}
        for who in ("sam", "vera", "root", "airflow")
    }

    assert jobs == {"sam": [], "vera": ["nightly"], "root": ["nightly"], "airflow": ["nightly"]}
    assert runs["sam"] == set()
    assert live in runs["vera"]
    assert runs["vera"] == runs["root"] == runs["airflow"]
    asked = both.ask("sam", "GET", "/runs", params={"job": "sales/nightly"}).json()
    assert asked["items"] == []


def test_whoami_says_what_the_hub_knows(both: HubPlane):
    assert both.ask("lena", "GET", "/me").json() == {
        "name": "lena",
        "admin": False,
        "teams": {"lena": "lead", "sales": "lead"},
        "hub": True,
    }
    assert both.ask("root", "GET", "/me").json()["admin"]
    told = both.ask("suspended", "GET", "/me").json()
    assert told["message"] == "sue is suspended."
