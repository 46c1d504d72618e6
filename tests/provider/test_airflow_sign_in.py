"""Airflow behind the Hub: who signs in, and that nobody sees what is another team's."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from airflow.api_fastapi import core_api
from playwright.sync_api import sync_playwright

from tests.platform_fixture import wait_until
from tests.provider.hub_airflow import PASSWORD, PREFIX, airflow_at_hub

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

OPENAPI = [
    Path(core_api.__file__).parent / "openapi" / name
    for name in ("v2-rest-api-generated.yaml", "_private_ui.yaml")
]
FOREIGN = "zebra"
"""The team that ada is not in; whatever is of it has this word in it."""
AT_THE_DOOR = {
    *("/api/v2/auth/login", "/api/v2/auth/logout", "/api/v2/version", "/api/v2/monitor/health")
}
"""What answers everybody, and says nothing of any team."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres):
    """Airflow at a Hub, with two teams: ada is in `acme`, zoe leads `zebra`, root administers."""
    with airflow_at_hub(tmp_path_factory.mktemp("hub-airflow"), postgres) as running:
        running.put("ada", "ada:lead", "acme:member")
        running.put("zoe", "zoe:lead", "zebra:lead")
        running.put("root", "root:lead")
        yield running


# ------------------------------------------------------------------- what each endpoint tells


@cache
def reading() -> dict[str, Any]:
    """Every operation that only reads, by its path."""
    documents = [yaml.load(file.read_text(), yaml.CSafeLoader) for file in OPENAPI]
    return {
        path: operations["get"]
        for document in documents
        for path, operations in sorted(document["paths"].items())
        if "get" in operations and path not in AT_THE_DOOR
    }


def paths() -> list[str]:
    return list(reading())


def required_query(path: str) -> list[str]:
    return [
        parameter["name"]
        for parameter in reading()[path].get("parameters", ())
        if parameter["in"] == "query" and parameter.get("required")
    ]


def values_of(team: str, ids: dict[str, Any]) -> dict[str, Any]:
    """What stands for each parameter of a path; a new parameter has to be added here."""
    return {
        "dag_id": f"{team}--report",
        "dag_run_id": f"{team}-run",
        "run_id": f"{team}-run",
        "task_id": "main",
        "map_index": -1,
        "try_number": 1,
        "task_try_number": 1,
        "xcom_key": f"{team}-key",
        "key": f"{team}-key",
        "version_number": 1,
        "pool_name": f"{team}-pool",
        "variable_key": f"{team}-variable",
        "connection_id": f"{team}-connection",
        "section": "core",
        "option": "executor",
        "asset_alias_id": 1,
        "dag_ids": f"{team}--report",
        "interval": 1,
        "start_date": "2026-05-01T00:00:00Z",
        "partition_key": f"{team}-partition",
        **ids[team],
    }


def filled(path: str, values: dict[str, Any]) -> str:
    query = "&".join(f"{name}={values[name]}" for name in required_query(path))
    return re.sub(r"{(\w+)}", lambda name: str(values[name[1]]), path) + (query and f"?{query}")


@pytest.fixture(scope="module")
def contents(airflow):
    """What jobs of both teams have left; the ids of it by team."""
    ids: dict[str, dict[str, Any]] = {}
    with airflow.as_control_plane() as api:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = api.post(f"/api/v2{path}", json=body)
            assert answer.is_success, answer.text
            return dict(answer.json())

        for team in ("acme", FOREIGN):
            dag, run = f"{team}--report", f"{team}-run"
            task = f"/dags/{dag}/dagRuns/{run}/taskInstances/main"
            post("/pools", {"name": f"{team}-pool", "slots": 1})
            post("/variables", {"key": f"{team}-variable", "value": f"{team} value"})
            post("/connections", {"connection_id": f"{team}-connection", "conn_type": "http"})
            post(f"{task}/xcomEntries", {"key": f"{team}-key", "value": f"{team} value"})
            backfill = post(
                "/backfills",
                {
                    "dag_id": dag,
                    "from_date": "2026-05-03T00:00:00Z",
                    "to_date": "2026-05-03T02:00:00Z",
                    "dag_run_conf": {"why": f"{team} backfill"},
                },
            )
            assets = api.get("/api/v2/assets").json()["assets"]
            asset = next(each["id"] for each in assets if each["name"] == f"{team}/report")
            post("/assets/events", {"asset_id": asset, "extra": {"what": f"{team} event"}})
            logs = airflow.data.airflow / "logs" / f"dag_id={dag}" / f"run_id={run}"
            (logs / "task_id=main").mkdir(parents=True)
            (logs / "task_id=main" / "attempt=1.log").write_text(f"{team} log\n")
            events = api.get("/api/v2/eventLogs", params={"dag_id": dag}).json()["event_logs"]
            errors = api.get("/api/v2/importErrors").json()["import_errors"]
            ids[team] = {
                "backfill_id": backfill["id"],
                "asset_id": asset,
                "event_log_id": events[0]["event_log_id"],
                "import_error_id": next(
                    each["import_error_id"] for each in errors if team in each["filename"]
                ),
            }
    return {team: values_of(team, ids) for team in ids}


@pytest.fixture(scope="module")
def ada(airflow):
    with airflow.as_person("ada") as client:
        yield client


@pytest.mark.parametrize("path", paths())
def test_a_person_is_told_nothing_of_another_team(airflow, contents, ada, path):
    foreign = contents[FOREIGN]
    wild = foreign | {"dag_id": "~", "dag_run_id": "~", "run_id": "~"}

    theirs = ada.get(filled(path, foreign))
    of_all = ada.get(filled(path, wild))
    own = ada.get(filled(path, contents["acme"]))

    if {"dag_id", *foreign_ids(contents)} & parameters(path):
        assert theirs.status_code in {403, 404, 422}, theirs.text
    for answer in (theirs, of_all, own):
        # a refusal may repeat what was asked for
        assert answer.is_client_error or FOREIGN not in answer.text
        assert answer.status_code < 500, answer.text


def foreign_ids(contents) -> set[str]:
    return {name for name, value in contents[FOREIGN].items() if contents["acme"][name] != value}


def parameters(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path)) | set(required_query(path))


def test_there_is_something_of_the_other_team_to_be_told_of(airflow, contents):
    """Else the test above would hold for an empty Airflow."""
    with airflow.as_control_plane() as admin:
        telling = [
            path for path in paths() if FOREIGN in admin.get(filled(path, contents[FOREIGN])).text
        ]
    assert len(telling) >= 50


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/dags/~/dagRuns/list", {}),
        ("/dags/~/dagRuns/~/taskInstances/list", {}),
    ],
)
def test_lists_that_are_asked_for_by_post_are_of_ones_own_teams(contents, ada, path, body):
    answer = ada.post(f"/api/v2{path}", json=body)
    assert "acme--report" in answer.text
    assert FOREIGN not in answer.text


def test_backfills_of_another_team_are_not_listed_by_naming_ones_own_in_the_body(contents, ada):
    answer = ada.request(
        "GET",
        f"/api/v2/backfills?dag_id={FOREIGN}--report",
        json={"dag_id": "acme--report"},
    )
    assert answer.status_code == 400
    assert FOREIGN not in answer.text


def test_a_line_of_the_log_that_is_no_dags_is_not_read_by_naming_ones_own(airflow, contents, ada):
    with airflow.as_control_plane() as admin:
        lines = admin.get("/api/v2/eventLogs", params={"limit": 200}).json()["event_logs"]
    line = next(each["event_log_id"] for each in lines if each["dag_id"] is None)
    assert not ada.get(f"/api/v2/eventLogs/{line}").is_success
    assert not ada.get(f"/api/v2/eventLogs/{line}?dag_id=acme--report").is_success


def test_pages_of_another_teams_notebooks_and_jobs_are_refused(ada):
    answer = ada.get(f"/element/jobs/{FOREIGN}/report")
    assert answer.status_code == 403
    # its own would be shown, if the control plane ran here
    assert ada.get("/element/jobs/acme/report").status_code == 503


# ------------------------------------------------------------------- what each level may do


def trigger(client: httpx.Client, dag: str) -> httpx.Response:
    return client.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None})


def test_levels_say_what_a_person_may_do_in_airflow(airflow):
    dag = "/api/v2/dags/acme--after"
    people = {"vic": "viewer", "mia": "member", "leo": "lead"}
    may = {}
    for person, level in people.items():
        airflow.put(person, f"{person}:lead", f"acme:{level}")
        with airflow.as_person(person) as client:
            read = client.get(f"{dag}/details").is_success
            started = trigger(client, "acme--after")
            paused = client.patch(dag, json={"is_paused": True}).is_success
            with airflow.as_control_plane() as admin:
                run = trigger(admin, "acme--after").json()["dag_run_id"]
            cleared = client.post(f"{dag}/dagRuns/{run}/clear", json={"dry_run": False}).is_success
            deleted = client.delete(f"{dag}/dagRuns/{run}").is_success
            forgotten = client.delete(dag).is_success
            may[person] = (read, started.is_success, paused, cleared, deleted, forgotten)
            if started.is_success:
                assert started.json()["triggering_user_name"] == person
    assert may == {
        "vic": (True, False, False, False, False, False),
        "mia": (True, True, True, True, False, False),
        "leo": (True, True, True, True, True, False),
    }


def test_what_is_the_administrators_is_for_administrators_alone(airflow, ada):
    with airflow.as_person("root") as root:
        for path in ("connections", "variables", "pools", "providers", "plugins", "jobs"):
            assert ada.get(f"/api/v2/{path}").status_code == 403, path
            assert root.get(f"/api/v2/{path}").is_success, path
        menus = [
            client.get("/ui/auth/menus").json()["authorized_menu_items"] for client in (ada, root)
        ]
    assert sorted(menus[0]) == ["Dags", "Docs", "Required Actions", "XComs"]
    assert {"Connections", "Variables", "Pools", "Providers", "Config"} <= set(menus[1])


def test_a_suspended_person_may_see_nothing(airflow):
    airflow.put("sue", "acme:lead")
    with airflow.as_person("sue") as sue:
        answer = sue.get("/api/v2/dags")
    assert answer.status_code == 403
    assert "suspended" in answer.text


# ------------------------------------------------------------------------------- machines


def test_a_token_of_the_hub_without_access_to_airflow_is_refused(airflow):
    with airflow.hub.api() as api:
        scopes = {"scopes": ["read:users:name!user=ada"]}
        token = api.post("/users/ada/tokens", json=scopes).raise_for_status().json()["token"]
    with airflow.as_token(token) as client:
        answer = client.get("/api/v2/dags")
        exchanged = client.post("/auth/token")
    assert (answer.status_code, exchanged.status_code) == (403, 403)
    assert "access:services!service=airflow" in answer.text


def test_a_token_that_the_hub_does_not_know_is_refused(airflow):
    with airflow.as_token("0" * 32) as client:
        assert client.get("/api/v2/dags").status_code == 401
        assert client.post("/auth/token").status_code == 401
    assert httpx.get(f"{airflow.url}/api/v2/dags").status_code == 401


def test_a_token_of_the_hub_is_exchanged_for_one_of_airflow(airflow, ada):
    token = ada.post("/auth/token").raise_for_status().json()["access_token"]
    with airflow.as_token(token) as client:
        assert client.get("/ui/auth/me").json()["username"] == "ada"
    assert airflow.hub.token not in token


# -------------------------------------------------------------------------------- browsers


def browser() -> httpx.Client:
    return httpx.Client(follow_redirects=True, timeout=30, trust_env=False)


@contextmanager
def signed_in(airflow, name: str) -> Iterator[httpx.Client]:
    """A client that has signed in as a browser does, with cookies alone."""
    with browser() as client:
        begin = {"next": f"{airflow.url}/dags"}
        page = client.get(f"{airflow.url}/api/v2/auth/login", params=begin)
        assert urlsplit(str(page.url)).path == "/hub/login"
        form = {"username": name, "password": PASSWORD, "_xsrf": client.cookies.get("_xsrf")}
        done = client.post(page.url, data=form)
        assert done.url.path == f"{PREFIX}/dags", done.text
        yield client


def test_a_cookie_comes_from_the_hubs_sign_in_and_is_for_airflows_pages_alone(airflow):
    with signed_in(airflow, "ada") as client:
        assert client.get(f"{airflow.url}/ui/auth/me").json()["username"] == "ada"
        cookie = next(each for each in client.cookies.jar if each.name == "_token")
        assert cookie.path == f"{PREFIX}/"
        assert cookie.has_nonstandard_attr("HttpOnly")
        # signing in again while an old cookie is there does not go round
        client.cookies.set("_token", "x.y.z", domain=cookie.domain, path=f"{PREFIX}/")
        again = client.get(f"{airflow.url}/api/v2/auth/login")
        assert again.url.path == f"{PREFIX}/"
        assert client.get(f"{airflow.url}/ui/auth/me").json()["username"] == "ada"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/user/ada/files/evil.html",
        f"{PREFIX}/../../user/ada/",
        f"{PREFIX}.evil.example/",
        "javascript:alert(1)",
    ],
)
def test_a_sign_in_leads_to_pages_of_airflow_only(airflow, target):
    with signed_in(airflow, "ada") as client:
        direct = client.get(f"{airflow.url}/auth/login", params={"next": target})
        assert direct.url.path == f"{PREFIX}/"
        assert direct.url.netloc == httpx.URL(airflow.url).netloc


def test_a_sign_in_that_another_began_is_not_finished(airflow):
    with httpx.Client(timeout=30, trust_env=False) as attacker, browser() as victim:
        begun = attacker.get(f"{airflow.url}/auth/login")
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        for code in ("stolen", ""):
            answer = victim.get(
                f"{airflow.url}/auth/callback", params={"state": state, "code": code}
            )
            assert answer.status_code == 400
            assert "_token" not in victim.cookies


def test_the_hub_asks_for_the_proof_that_belongs_to_a_sign_in(airflow):
    begun = httpx.get(f"{airflow.url}/auth/login", trust_env=False)
    query = parse_qs(urlsplit(begun.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
def test_a_change_that_another_sites_page_asks_for_is_refused(airflow, headers):
    with signed_in(airflow, "ada") as client:
        url = f"{airflow.url}/api/v2/dags/acme--report"
        answer = client.patch(url, json={"is_paused": True}, headers=headers)
        assert answer.status_code == 403
        own = client.patch(url, json={"is_paused": False}, headers={"Origin": airflow.hub.url})
        assert own.is_success


def test_what_is_taken_away_at_the_hub_is_gone_within_a_minute(airflow):
    """Leaving a group, and signing out of the Hub, with cookies that stay as they are."""
    airflow.put("kim", "kim:lead", "acme:member", f"{FOREIGN}:member")
    with signed_in(airflow, "kim") as leaving, signed_in(airflow, "kim") as going:
        dags = f"{airflow.url}/api/v2/dags"
        assert FOREIGN in leaving.get(dags).text
        assert going.get(dags).is_success
        airflow.put("kim", "kim:lead", "acme:member")
        going.get(f"{airflow.hub.url}/hub/logout")
        began = time.monotonic()

        wait_until(lambda: FOREIGN not in leaving.get(dags).text, 55)
        wait_until(lambda: not going.get(dags).is_success, 55)

        assert time.monotonic() - began < 55
        assert "acme--report" in leaving.get(dags).text
        assert going.get(dags).status_code == 401


def test_signing_out_of_airflow_signs_out_of_the_hub(airflow):
    with signed_in(airflow, "ada") as client:
        token = next(each.value for each in client.cookies.jar if each.name == "_token")
        left = client.get(f"{airflow.url}/api/v2/auth/logout")
        assert left.url.path == "/hub/login"
        assert client.get(f"{airflow.url}/ui/auth/me").status_code == 401
        assert client.get(f"{airflow.hub.url}/hub/home").url.path == "/hub/login"
    # who has kept the cookie has kept nothing
    with airflow.as_token(token) as kept:
        assert not kept.get("/ui/auth/me").is_success


@pytest.mark.browser
def test_a_person_signs_in_looks_around_and_signs_out(airflow, contents, tmp_path):
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        page.goto(f"{airflow.url}/dags")
        page.locator("#username_input").fill("ada")
        page.locator("#password_input").fill(PASSWORD)
        page.locator("#login_submit").click()
        page.get_by_text("acme report").first.wait_for()
        page.screenshot(path=tmp_path / "dags.png")
        assert FOREIGN not in page.content()
        page.goto(f"{airflow.url}/dags/acme--report")
        page.get_by_role("heading", name="acme report").first.wait_for()
        page.screenshot(path=tmp_path / "dag.png")
        page.goto(f"{airflow.url}/api/v2/auth/logout")
        page.locator("#username_input").wait_for()
        page.goto(f"{airflow.url}/dags")
        page.locator("#username_input").wait_for()
        chromium.close()


def test_without_the_hub_who_is_known_stays_known_for_a_while(airflow):
    """The last test of this module: it kills the Hub."""
    with airflow.as_person("zoe") as zoe, airflow.as_control_plane() as admin:
        direct = zoe.headers["authorization"].split()[1]
        with airflow.as_token(direct, direct=True) as client:
            assert client.get("/api/v2/dags").is_success
            stranger = airflow.hub.token_of("ada")
            airflow.hub.kill()
            assert client.get("/api/v2/dags").is_success
            with airflow.as_token(stranger, direct=True) as unknown:
                answer = unknown.get("/api/v2/dags")
        assert answer.status_code == 503
        assert "The Hub does not answer" in answer.text
        assert admin.get("/api/v2/dags").is_success
