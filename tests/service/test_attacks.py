"""Attacks on the control plane that must fail, from outside, with what an attacker could have."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from element_jupyter.core.snapshots import Entry, Manifest
from element_jupyter.service.app import ROUTES
from element_jupyter.service.http import Route
from tests.service.conftest import NOTEBOOK
from tests.service.hub_plane import JOB, MANIFEST, SNAPSHOT_FILES, HubPlane, hub_plane

NO_RUN = "r-" + "0" * 26
ESCAPES = (
    "..",
    "%2e%2e",
    "../../../token",
    "..%2f..%2f..%2ftoken",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2ftoken",
    "%252e%252e%252f%252e%252e%252f%252e%252e%252ftoken",
    "..%5c..%5c..%5ctoken",
    "....//....//....//token",
    "%2fetc%2fpasswd",
    "%c0%ae%c0%ae%c0%aftoken",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8ftoken",
    "%e2%80%a5%2ftoken",
    "%00",
    "result.txt%00.ipynb",
    "token%0d%0aX-Injected:%201",
    "~root%2ftoken",
    "file:%2f%2f%2fetc%2fpasswd",
)


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory) -> Iterator[HubPlane]:
    directory = tmp_path_factory.mktemp("attacks")
    with hub_plane(directory, postgres.url(postgres.new_database())) as both:
        yield both


@pytest.fixture(scope="module")
def live(both: HubPlane) -> str:
    run_id, both.tokens["run"] = both.live_run()
    for path in ("notebook", "artifacts/result.txt"):
        both.ask("run", "PUT", f"/runs/{run_id}/{path}", content=b"{}").raise_for_status()
    return run_id


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("/runs/{run}", NO_RUN),
        ("/runs/{run}/events", NO_RUN),
        ("/runs/{run}/notebook", NO_RUN),
        ("/runs/{run}/artifacts/result.txt", NO_RUN),
        ("/snapshots/{run}", "1" * 64),
        ("/snapshots/{run}/notebooks/sales.ipynb", "1" * 64),
    ],
)
def test_what_is_another_team_s_looks_as_if_it_were_not_there(both: HubPlane, live, path, unknown):
    there = live if "runs" in path else MANIFEST.snapshot_id
    found = both.ask("sam", "GET", path.format(run=there))
    missing = both.ask("sam", "GET", path.format(run=unknown))

    assert found.status_code == missing.status_code == 404
    assert found.text.replace(there, unknown).replace(there[:12], unknown[:12]) == missing.text
    assert both.ask("vera", "GET", path.format(run=there)).is_success


def test_another_s_run_is_not_stopped(both: HubPlane, live):
    assert both.ask("sam", "POST", f"/runs/{live}/stop").status_code == 404
    assert both.ask("vera", "POST", f"/runs/{live}/stop").status_code == 403
    assert both.ask("vera", "GET", f"/runs/{live}").json()["stop_requested_at"] is None


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.path_names], ids=lambda r: r.method + r.path
)
def test_no_path_leads_out_of_where_it_belongs(both: HubPlane, live, route: Route):
    secret = both.tokens["administrator"]
    good = {
        "team": "sales",
        "name": "nightly",
        "version": "1",
        "run_id": live,
        "allocation_id": f"s-{'0' * 26}",
        "snapshot_id": MANIFEST.snapshot_id,
        "digest": min(MANIFEST.digests),
        "path": "sales.ipynb" if "snapshots" in route.path else "result.txt",
    }
    who = "run" if route.access.run and route.access.run in route.path_names else "root-of-all"
    before = _outside(both, live)

    for name in route.path_names:
        for escape in ESCAPES:
            parts = {**good, name: escape}
            path = route.path.replace(":path}", "}").format(**parts)
            status, headers, body = _sent(both, who, route.method, path)

            assert status < 500, (path, body)
            assert secret not in body, path
            assert "root:" not in body, path
            assert "X-Injected" not in headers, path
    assert _outside(both, live) == before


def _sent(both: HubPlane, who: str, method: str, path: str) -> tuple[int, str, str]:
    """Send a path as it is: a client of good manners would mend it."""
    host, port = both.plane.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(
            method,
            "/api/v1" + path,
            body=b"" if method == "GET" else b"{}",
            headers={
                "Authorization": f"Bearer {both.tokens[who]}",
                "Accept": "application/json",
            },
        )
        answer = connection.getresponse()
        return answer.status, str(answer.headers), answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def _outside(both: HubPlane, run_id: str) -> set[str]:
    """All files of the data directory and beside it, but what a run may leave."""
    root = both.plane.data.parent
    found = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return {
        path
        for path in found
        if not path.startswith((f"data/runs/{run_id}/", "hub", "data/jobs/", "data/blobs/"))
    }


FORGED = (
    {"X-Forwarded-User": "root-of-all"},
    {"X-Remote-User": "root-of-all"},
    {"Remote-User": "root-of-all"},
    {"X-JupyterHub-User": "root-of-all"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    {"X-Original-URL": "/api/v1/health", "X-Rewrite-URL": "/api/v1/health"},
    {"X-HTTP-Method-Override": "GET"},
    {"Authorization": "Basic cm9vdC1vZi1hbGw6c2VjcmV0"},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer root-of-all"},
)


@pytest.mark.parametrize("headers", FORGED, ids=" ".join)
def test_headers_that_a_proxy_might_set_make_nobody_anybody(both: HubPlane, headers):
    assert both.ask("nobody", "GET", "/jobs", headers=headers).status_code == 401
    if "Authorization" not in headers:
        assert both.ask("sam", "GET", "/me", headers=headers).json()["name"] == "sam"
        assert both.ask("sam", "GET", "/jobs/sales/nightly", headers=headers).status_code == 403


@pytest.fixture(scope="module")
def signed_in(both: HubPlane) -> dict[str, str]:
    """The cookies of a browser in which the Hub's administrator has signed in."""
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=30) as browser:
        browser.get(f"{both.hub.url}/hub/login").raise_for_status()
        form = {
            "username": "root-of-all",
            "password": "secret",
            "_xsrf": browser.cookies.get("_xsrf", path="/hub/") or "",
        }
        browser.post(f"{both.hub.url}/hub/login", data=form, params={"next": "/hub/home"})
        cookies = {cookie.name: cookie.value or "" for cookie in browser.cookies.jar}
    assert "jupyterhub-hub-login" in cookies
    return cookies


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.access.action is not None], ids=lambda r: r.method + r.path
)
def test_a_page_of_another_site_changes_and_reads_nothing(both: HubPlane, signed_in, route: Route):
    path = re.sub(r"\{\w+(:path)?\}", "x", route.path)
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in signed_in.items()),
        "Origin": "https://evil.example",
        "Content-Type": "text/plain",
    }
    query = {"token": both.tokens["root-of-all"], "_xsrf": signed_in.get("_xsrf", "x")}

    answer = both.ask("nobody", route.method, path, headers=headers, params=query, content=b"{}")

    assert answer.status_code == 401
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_a_name_that_was_rebound_to_this_machine_gets_no_answer(both: HubPlane):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        answer = both.ask("root-of-all", "GET", "/jobs", headers={"Host": host})
        assert answer.status_code in {400, 403}, host


def test_nobody_makes_somebody_else_run_what_they_have_written(both: HubPlane):
    mine = JOB | {"name": "of-max"}
    for owner in ("mia", "lena", "root-of-all"):
        answer = both.ask("max", "PUT", "/jobs/sales/of-max", json=mine | {"owner": owner})
        assert (answer.status_code, answer.json()["field"]) == (403, "owner"), owner
    run = {"notebook": "sales.ipynb", "snapshot_id": MANIFEST.snapshot_id, "owner": "mia"}
    assert both.ask("max", "POST", "/runs", json=run).json()["field"] == "owner"
    elsewhere = both.ask("max", "PUT", "/jobs/mia/mine", json=JOB | {"team": "mia", "name": "mine"})
    assert elsewhere.status_code == 403


@pytest.fixture(scope="module")
def visiting(both: HubPlane) -> HubPlane:
    """Members of a team can take what its server holds of those who visit it; here they have."""
    for name in ("mia", "lena", "vera"):
        both.tokens[f"{name} visiting"] = both.visiting(name, "sales")
    both.tokens["sam visiting"] = both.visiting("sam", "sales")
    return both


def test_in_the_server_of_a_team_one_is_in_no_other_and_administers_nothing(visiting: HubPlane):
    both = visiting
    private = both.uploaded("mia", {"diary.ipynb": json.dumps(NOTEBOOK | {"x": 1}).encode()})
    both.saved("mia", team="mia", name="own", snapshot_id=private,
               tasks=[{"notebook": "diary.ipynb"}])  # fmt: skip
    digest = hashlib.sha256(json.dumps(NOTEBOOK | {"x": 1}).encode()).hexdigest()
    mia = "mia visiting"
    run = {"notebook": "diary.ipynb", "snapshot_id": private}

    assert both.ask(mia, "GET", "/me").json() == {
        "name": "mia", "admin": False, "teams": {"sales": "member"}, "hub": True,
    }  # fmt: skip
    assert both.ask("sam visiting", "GET", "/me").status_code == 401
    listed = both.ask(mia, "GET", "/jobs", params={"limit": 200}).json()["items"]
    assert {item["stored"]["job"]["team"] for item in listed} == {"sales"}
    assert both.ask(mia, "GET", "/jobs/mia/own").status_code == 403
    assert both.ask(mia, "POST", "/jobs/mia/own/trigger").status_code == 403
    assert both.ask(mia, "POST", "/runs", json=run | {"team": "mia"}).status_code == 403
    assert both.ask(mia, "POST", "/runs", json=run).json()["field"] == "snapshot_id"
    assert both.ask(mia, "GET", f"/snapshots/{private}").status_code == 404
    missing = both.ask(mia, "POST", "/snapshots/missing", json={"digests": [digest]}).json()
    assert missing["missing"] == [digest]
    assert both.ask("vera visiting", "POST", "/runs", json=run).status_code == 403


def test_in_the_server_of_a_team_nothing_is_executed_as_anybody_but_the_team(visiting: HubPlane):
    both = visiting
    both.saved()
    mia, evil = "mia visiting", {"evil.ipynb": json.dumps(NOTEBOOK | {"by": "max"}).encode()}
    snapshot = both.uploaded(mia, evil)
    job = JOB | {"snapshot_id": snapshot, "tasks": [{"notebook": "evil.ipynb"}]}

    run = both.ask(mia, "POST", "/runs", json={"notebook": "evil.ipynb", "snapshot_id": snapshot})
    new = both.ask(mia, "PUT", "/jobs/sales/new", json=job | {"name": "new", "as_team": False})
    of_job = both.ask(mia, "POST", "/runs", json={"job": "sales/new"}).json()
    assert (run.json()["owner"], run.json()["team"]) == ("mia", "sales")
    assert run.json()["as_team"], run.text
    assert new.json()["stored"]["job"]["as_team"]
    assert (of_job["owner"], of_job["as_team"]) == ("mia", True)

    nightly = "/jobs/sales/nightly"  # which runs as mia
    for who, owner in ((mia, "mia"), ("lena visiting", "lena")):
        changed = both.ask(who, "PUT", nightly, json=job | {"owner": owner})
        taken = both.ask(who, "POST", f"{nightly}/owner", json={"owner": owner})
        assert (changed.status_code, taken.status_code) == (403, 403), who
    assert both.ask(mia, "DELETE", nightly).status_code == 403
    for other in ({"kernel": "another"}, {"allow_extra_parameters": True}):
        answer = both.ask(mia, "POST", "/runs", json={"job": "sales/nightly", **other})
        assert answer.status_code == 403, other
    both.ask("lena", "POST", f"{nightly}/owner", json={"owner": "max"}).raise_for_status()
    both.tokens["max visiting"] = both.visiting("max", "sales")
    resumed = both.ask("max visiting", "POST", f"{nightly}/resume")
    assert resumed.json()["offered_by"] == "lena"  # it is not taken
    both.saved()


def test_a_job_that_runs_as_the_team_is_every_member_s_and_becomes_nobody_else_s(both: HubPlane):
    both.uploaded("max")
    shared = JOB | {"name": "shared", "as_team": True}
    path = "/jobs/sales/shared"
    both.ask("mia", "PUT", path, json=shared).raise_for_status()

    changed = shared | {"tasks": [{"notebook": "sales.ipynb", "parameters": {"limit": 9}}]}
    assert both.ask("max", "PUT", path, json=changed).is_success
    as_mia = both.ask("max", "PUT", path, json=changed | {"as_team": False})
    assert (as_mia.status_code, as_mia.json()["field"]) == (403, "owner")
    nightly = both.ask("max", "PUT", "/jobs/sales/nightly", json=JOB | {"as_team": True})
    assert nightly.status_code == 403
    nobody = JOB | {"team": "mia", "name": "x", "as_team": True}
    refused = both.ask("mia", "PUT", "/jobs/mia/x", json=nobody)
    assert (refused.status_code, refused.json()["field"]) == (400, "as_team")


def test_asking_what_is_missing_tells_nothing_of_what_others_have(both: HubPlane):
    theirs = sorted(MANIFEST.digests)
    nobodys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    own = hashlib.sha256(b"sam's own").hexdigest()
    both.ask("sam", "PUT", f"/blobs/{own}", content=b"sam's own").raise_for_status()

    asked = {"digests": [*theirs, *nobodys, own, MANIFEST.snapshot_id]}
    missing = both.ask("sam", "POST", "/snapshots/missing", json=asked).json()["missing"]

    assert set(missing) == {*theirs, *nobodys, MANIFEST.snapshot_id}
    mias = both.ask("mia", "POST", "/snapshots/missing", json=asked).json()["missing"]
    assert set(mias) == {*nobodys, own}


def test_naming_another_s_file_in_a_manifest_of_one_s_own_opens_nothing(both: HubPlane):
    notebook = json.dumps(NOTEBOOK | {"metadata": {"by": "sam"}}).encode()
    files = {"mine.ipynb": notebook, "stolen.csv": SNAPSHOT_FILES["secret.csv"]}
    stolen = json.dumps(NOTEBOOK).encode()
    forged = Manifest(
        entries=tuple(
            Entry(path=path, digest=hashlib.sha256(body).hexdigest(), size_bytes=len(body))
            for path, body in sorted((files | {"stolen.ipynb": stolen}).items())
        )
    )
    for body in (notebook, forged.to_json()):
        digest = hashlib.sha256(body).hexdigest()
        both.ask("sam", "PUT", f"/blobs/{digest}", content=body).raise_for_status()

    read = both.ask("sam", "GET", f"/snapshots/{forged.snapshot_id}/notebooks/stolen.ipynb")
    run = {"notebook": "mine.ipynb", "snapshot_id": forged.snapshot_id}
    executed = both.ask("sam", "POST", "/runs", json=run)
    others = both.ask("sam", "POST", "/runs", json=run | {"snapshot_id": MANIFEST.snapshot_id})
    job = JOB | {"team": "sam", "name": "x", "owner": "sam", "snapshot_id": MANIFEST.snapshot_id}
    saved = both.ask("sam", "PUT", "/jobs/sam/x", json=job)

    assert read.status_code == 404
    for answer in (executed, others, saved):
        assert (answer.status_code, answer.json()["field"]) == (400, "snapshot_id")
        assert "is not stored, or not whole" in answer.json()["message"]


def test_a_key_that_somebody_takes_first_does_not_take_another_s_run(both: HubPlane):
    key = "sales/nightly|2026-11-21T06:00:00Z|main|scheduled__1|1"
    snapshot_id = both.uploaded("sam", {"own.ipynb": json.dumps(NOTEBOOK).encode()})
    run = {"notebook": "own.ipynb", "snapshot_id": snapshot_id, "idempotency_key": key}
    sams = both.ask("sam", "POST", "/runs", json=run).raise_for_status()
    theirs = both.ask(
        "airflow", "POST", "/runs", json={"job": "sales/nightly", "idempotency_key": key}
    )

    assert sams.status_code == theirs.status_code == 201
    assert theirs.json()["job"] == "sales/nightly"
    again = both.ask(
        "airflow", "POST", "/runs", json={"job": "sales/nightly", "idempotency_key": key}
    )
    assert (again.status_code, again.json()["run_id"]) == (200, theirs.json()["run_id"])


def test_what_the_proxy_passes_on_is_the_rest_interface_and_nothing_else(both: HubPlane):
    def through(path: str) -> int:
        headers = {"Authorization": f"Bearer {both.tokens['root-of-all']}"}
        return httpx.get(both.plane.url + path, headers=headers, trust_env=False).status_code

    assert through("/services/element/api/v1/me") == 200
    assert through("/services/element/metrics") == 404
    assert through("/services/element/api/v1/metrics") == 404
