"""What Airflow's auth manager decides, and what it goes by while the Hub does not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import HTTPException

from element_jupyter.core.orchestration import HubAddress
from element_jupyter.core.sign_in import own_path
from element_jupyter.core.teams import Level
from element_jupyter.provider.auth.people import FRESH_SECONDS, KNOWN_SECONDS, People
from element_jupyter.provider.auth.rights import HubUser, may, team_of

HUB = HubAddress(
    api_url="http://127.0.0.1:1/hub/api",
    public_url="https://element.example",
    token_file=Path("/nowhere"),
)
RUN, LOG = DagAccessEntity.RUN, DagAccessEntity.AUDIT_LOG


def person(level: Level | None = None, *, admin: bool = False) -> HubUser:
    levels = {"ada": Level.LEAD} | ({"ml": level} if level else {})
    return HubUser("ada", levels, admin)


@pytest.mark.parametrize(
    ("who", "reads", "starts", "deletes_runs", "deletes_the_dag"),
    [
        (person(), False, False, False, False),
        (person(Level.VIEWER), True, False, False, False),
        (person(Level.MEMBER), True, True, False, False),
        (person(Level.LEAD), True, True, True, False),
        (person(admin=True), True, True, True, True),
        (HubUser("ada", {"ml": Level.LEAD}), False, False, False, False),
    ],
    ids=["stranger", "viewer", "member", "lead", "admin", "suspended"],
)
def test_what_each_level_may_do_to_a_job_of_its_team(
    who, reads, starts, deletes_runs, deletes_the_dag
):
    assert may(who, "GET", None, "ml--train") is reads
    assert may(who, "POST", RUN, "ml--train") is starts
    assert may(who, "PUT", None, "ml--train") is starts
    assert may(who, "DELETE", RUN, "ml--train") is deletes_runs
    assert may(who, "DELETE", None, "ml--train") is deletes_the_dag


@pytest.mark.parametrize("dag_id", ["", "ml", "ml-train", "ml--", "--train", "train"])
def test_a_dag_that_is_no_teams_is_the_administrators(dag_id):
    assert not may(person(Level.LEAD), "GET", None, dag_id)
    assert may(person(admin=True), "GET", None, dag_id)


def test_the_team_of_a_dag_is_what_its_id_begins_with():
    assert team_of("ml--train--again") == "ml"
    assert team_of("ml-ops--train") == "ml-ops"


def test_of_all_dags_only_what_airflow_filters_is_read_and_nothing_is_changed():
    lead = person(Level.LEAD)
    assert may(lead, "GET", RUN, None)
    assert not may(lead, "GET", LOG, None)
    assert may(lead, "GET", LOG, "ml--train")
    assert not may(lead, "PUT", None, None)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/services/airflow/dags?tags=a", "/services/airflow/dags?tags=a"),
        ("https://element.example/services/airflow/dags", "/services/airflow/dags"),
        ("https://evil.example/services/airflow/dags", "/services/airflow/"),
        ("//evil.example/services/airflow/", "/services/airflow/"),
        ("/services/airflow/../../user/ada", "/services/airflow/"),
        ("/services/airflow/%2e%2e/user", "/services/airflow/"),
        ("/services/airflow/\\evil", "/services/airflow/"),
        ("/services/airflow/\n/evil", "/services/airflow/"),
        ("/services/airflowish/", "/services/airflow/"),
        ("/services/airflow/" + "a" * 5000, "/services/airflow/"),
        ("http://[", "/services/airflow/"),
        (None, "/services/airflow/"),
    ],
)
def test_a_sign_in_leads_to_a_page_of_airflow(target, path):
    assert own_path(target, prefix=f"{HUB.prefix}/", origin=HUB.public_url) == path


# ------------------------------------------------------------------- what is known of people


class PlayedHub:
    """The Hub at its network interface: one answer, and how often it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: dict[str, Any] = {
            "kind": "user",
            "name": "ada",
            "groups": ["ada:lead", "ml:member"],
            "admin": False,
            "scopes": ["access:services!service=airflow"],
        }
        self.asked: list[str] = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                played.asked.append(f"{self.path} {self.headers['Authorization']}")
                body = json.dumps(played.answer).encode()
                self.send_response(played.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> HubAddress:
        return HUB.model_copy(
            update={"api_url": f"http://127.0.0.1:{self.server.server_port}/hub/api"}
        )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hub() -> Iterator[PlayedHub]:
    played = PlayedHub()
    yield played
    played.server.shutdown()
    played.server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(hub, clock) -> People:
    return People(hub.address, clock=clock)


async def test_the_hub_is_asked_with_the_persons_own_token_and_not_at_every_request(
    people, hub, clock
):
    for _ in range(3):
        user = await people.of_token("secret")
    assert hub.asked == ["/hub/api/user token secret"]
    assert user.levels == {"ada": Level.LEAD, "ml": Level.MEMBER}
    clock.now += FRESH_SECONDS
    hub.answer["groups"] = ["ada:lead"]
    assert (await people.of_token("secret")).levels == {"ada": Level.LEAD}


async def test_a_hub_that_is_down_changes_nothing_for_a_while_and_then_nobody_is_known(
    people, hub, clock
):
    await people.of_token("secret")
    hub.status = 502
    clock.now += KNOWN_SECONDS - 1
    assert (await people.of_token("secret")).name == "ada"
    clock.now += 2
    with pytest.raises(HTTPException, match="does not answer") as refusal:
        await people.of_token("secret")
    assert refusal.value.status_code == 503
    hub.status = 200
    assert (await people.of_token("secret")).name == "ada"


async def test_somebody_whom_the_hub_no_longer_knows_is_not_known_by_what_was(people, hub, clock):
    await people.of_token("secret")
    clock.now += FRESH_SECONDS
    hub.status = 403
    with pytest.raises(HTTPException) as refusal:
        await people.of_token("secret")
    assert refusal.value.status_code == 401
    hub.status = 502
    with pytest.raises(HTTPException) as refusal:
        await people.of_token("secret")
    assert refusal.value.status_code == 503


@pytest.mark.parametrize(
    "change",
    [{"kind": "service"}, {"scopes": []}, {"scopes": ["access:services!service=other"]}],
    ids=["a service's", "without scopes", "for another service"],
)
async def test_a_token_that_is_not_for_airflow_is_refused(people, hub, change):
    hub.answer |= change
    with pytest.raises(HTTPException) as refusal:
        await people.of_token("secret")
    assert refusal.value.status_code == 403
