"""The platform with its Hub: people sign in, and their servers and runs are theirs."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hub_platform import OWNER, HubPlatform, hub_platform, needs_accounts
from tests.platform_fixture import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600), needs_accounts]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    with hub_platform(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_the_administrator_signs_in_and_lab_knows_who_it_is(hub):
    visitor = hub.sign_in()
    hub.start_editor()
    visitor.get(f"/user/{OWNER}/lab").raise_for_status()  # where one is signed in on the way

    me = visitor.get(f"/user/{OWNER}/element/api/v1/me").raise_for_status().json()

    assert me == {"name": OWNER, "admin": True, "teams": {OWNER: "lead"}, "hub": True}
    uids = {process.uids().real for process in psutil.process_iter() if _is_editor(process)}
    assert uids == {pwd.getpwnam(OWNER).pw_uid}


def test_a_run_is_its_owner_s_and_goes_on_when_the_owner_s_server_is_stopped(hub):
    run_id = hub.start_run(
        "import getpass, os, pathlib, time\nprint(getpass.getuser(), os.environ.get('ELEMENT_RUN_TOKEN'))",
        "deadline = time.monotonic() + 60\n"
        "while not (pathlib.Path.home() / 'go-on').exists() and time.monotonic() < deadline:\n"
        "    time.sleep(0.1)",
        "print('to the end')",
    )
    wait_until(lambda: hub.run_is(run_id)["cells_done"] == 1, 60, lambda: hub.log_of("hub"))
    with hub.hub() as client:
        client.delete(f"/users/{OWNER}/server")
    wait_until(lambda: set(hub.servers()) == {run_id})
    (Path(pwd.getpwnam(OWNER).pw_dir) / "go-on").touch()

    run = hub.ended(run_id)

    assert (run["state"], run["owner"]) == ("succeeded", OWNER)
    assert hub.printed(run_id) == f"{OWNER} None\nto the end\n"
    wait_until(lambda: hub.servers() == {}, 30, lambda: hub.log_of("service"))


def test_a_run_is_held_to_its_size_and_says_so_when_that_is_too_little(hub):
    run_id = hub.start_run("x = bytearray(3 << 30)", size="small")

    run = hub.ended(run_id)

    assert run["state"] == "failed"
    assert run["out_of_memory"], run
    assert run["memory_limit_bytes"] == 2 << 30


def test_an_unknown_size_is_refused_by_its_name(hub):
    with hub.platform.service() as service:
        answer = service.post(
            "/runs", json={"notebook": "a.ipynb", "snapshot_id": "0" * 64, "size": "vast"}
        )
    assert answer.status_code == 400
    assert answer.json()["field"] == "size"


def test_a_run_of_one_s_own_making_is_not_started_by_the_hub(hub):
    visitor = hub.sign_in()
    token = visitor.token_of_person()

    with hub.platform.service() as service:
        service.headers["Authorization"] = f"Bearer {token}"
        launch = service.post(
            "/runs/r-00000000000000000000000000/launch", json={"ticket": "x", "person": OWNER}
        )
        assert launch.status_code == 403
    with hub.hub() as client:
        client.headers["Authorization"] = f"token {token}"
        answer = client.post(
            f"/users/{OWNER}/servers/r-forged",
            json={"user_options": {"run": "r-00000000000000000000000000", "ticket": "x"}},
        )
    assert answer.status_code == 403, answer.text


def test_stopping_the_platform_stops_people_s_servers_too(hub):
    hub.start_editor()

    assert hub.platform.stop() == 0

    assert not [process for process in psutil.process_iter() if _is_editor(process)]
    hub.start()
    assert hub.servers() == {}


def _is_editor(process: psutil.Process) -> bool:
    try:
        return "jupyterhub.singleuser" in process.cmdline() and process.username() == OWNER
    except (psutil.Error, OSError):
        return False
