"""The platform with its Hub: people sign in, and their servers and runs are theirs."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from element_jupyter.config import Element
from element_jupyter.platform.doctor import examine
from tests.faults.accounting import allocations
from tests.hub.signing_in import Visitor
from tests.hub_platform import (
    OWNER,
    SERVICE,
    HubPlatform,
    hub_platform,
    needs_accounts,
    readable,
)
from tests.platform_fixture import ROOT, wait_until
from tests.ui.complaints import hear

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600), needs_accounts]


UNTIL_TOLD = (
    (
        "import pathlib, time\n"
        "told = pathlib.Path.home() / 'go-on'\n"
        "told.unlink(missing_ok=True)\n"
        "deadline = time.monotonic() + 120\n"
        "while not told.exists() and time.monotonic() < deadline:\n"
        "    time.sleep(0.1)"
    ),
    "print('to the end')",
)
"""Cells that wait until they are told to go on."""


def tell_to_go_on() -> None:
    (Path(pwd.getpwnam(OWNER).pw_dir) / "go-on").touch()


expect.set_options(timeout=60_000)  # a deadline for a busy machine

COLLABORATION = ROOT / ".tools/collaboration"
TEAM = f"t{os.getpid()}"
MEMBER, VIEWER = f"mo-{os.getpid()}", f"vi-{os.getpid()}"
SHARED = "import getpass, os\nprint(getpass.getuser(), 6 * 7)"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    directory = tmp_path_factory.mktemp("hub")
    # as where all of the platform was root's
    old = directory / "data" / "jobs" / "old"
    old.mkdir(parents=True)
    (old / "job.yaml").touch(0o600)
    (directory / "roots").touch(0o600)
    (old / "link").symlink_to(directory / "roots")
    with hub_platform(directory, ELEMENT_COLLABORATION_DIR=str(COLLABORATION)) as running:
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
        *UNTIL_TOLD,
    )
    wait_until(lambda: hub.run_is(run_id)["cells_done"] == 1, 60, lambda: hub.log_of("hub"))
    with hub.hub() as client:
        client.delete(f"/users/{OWNER}/server")
    wait_until(lambda: set(hub.servers()) == {run_id})
    tell_to_go_on()

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


def test_editors_and_runs_draw_on_the_same_limits_and_give_back_what_they_had(hub):
    quotas = hub.data / "quotas.yaml"
    before = quotas.read_text()
    with hub.hub() as client:
        client.delete(f"/users/{OWNER}/server")
    wait_until(lambda: hub.servers() == {}, 60, lambda: hub.log_of("service"))
    # room for one of either; a small server has one core
    quotas.write_text("quotas: [{who: everyone, at_once: {cpu: 1}, largest: {cpu: 2}}]")
    try:
        hub.start_editor()
        waiting = hub.start_run("print('had room')")
        wait_until(
            lambda: "has 1 of 1 core in use" in hub.run_is(waiting)["reason"],
            30,
            lambda: str(hub.run_is(waiting)),
        )
        with hub.hub() as client:
            client.delete(f"/users/{OWNER}/server")
        assert hub.ended(waiting)["state"] == "succeeded"

        with hub.hub() as client:
            refused = client.post(f"/users/{OWNER}/server", json={"size": "medium"})
        assert refused.status_code == 403
        assert "At most 1 core at once can be had here (everyone's limit)" in refused.text
        wait_until(lambda: not allocations(hub, still_open=True), 60, lambda: hub.log_of("hub"))
        editor, run = (
            next(each for each in allocations(hub) if (each["run_id"] == waiting) is of_run)
            for of_run in (False, True)
        )
        assert editor["kind"] == "editor"
        assert editor["ended_at"] <= run["begun_at"]
    finally:
        quotas.write_text(before)


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


def test_nothing_is_root_but_what_starts_the_processes_of_people(hub):
    up = psutil.Process(hub.platform.up.pid)
    processes = hub.platform.state["processes"]
    named = {process["pid"]: name for name, process in processes.items()} | {up.pid: "up"}

    owners = {
        named.get(process.pid, " ".join(process.cmdline())): process.username()
        for process in (up, *up.children(recursive=True))
        if process.status() != psutil.STATUS_ZOMBIE
    }

    assert {name for name, owner in owners.items() if owner == "root"} == {"up", "hub", "runner"}
    assert owners["service"] == SERVICE
    assert owners["proxy"] == f"{SERVICE}-proxy"
    # it is told to whoever asks
    assert {name: each["account"] for name, each in processes.items()} == {
        name: owners[name] for name in processes
    }
    accounts = next(
        each for each in examine(Element(data_dir=str(hub.data))) if each.check == "accounts"
    )
    assert accounts.verdict == "ok"
    assert f"as {SERVICE}: service" in accounts.message


def test_control_plane_and_proxy_read_what_is_theirs_and_nothing_else(hub):
    home = Path(pwd.getpwnam(OWNER).pw_dir)
    data = hub.data
    secrets = [*(data / "secrets").iterdir(), data / "token", data / "hub" / "people.sqlite"]
    assert len(secrets) > 7
    of_control_plane = [
        data / "control-plane" / "hub-control-plane-token",
        data / "sizes.yaml",
        data / "quotas.yaml",
    ]
    of_control_plane += [data / "jobs", data / "runs", data / "jobs" / "old" / "job.yaml"]
    of_proxy = [data / "proxy", data / "proxy" / "routes.yaml", data / "proxy" / "traefik.json"]
    others = [Path("/etc/shadow"), home, *secrets, data, data / "logs" / "hub.log", data / "run"]
    paths = [*of_control_plane, *of_proxy, *others, data / "teams.yaml"]

    assert readable(SERVICE, paths) == set(of_control_plane)
    assert readable(f"{SERVICE}-proxy", paths) == set(of_proxy)


def test_what_an_earlier_element_has_left_is_the_control_plane_s_from_then_on(hub):
    for name in ("jobs", "jobs/old", "jobs/old/job.yaml", "blobs", "runs", "spool"):
        assert (hub.data / name).owner() == SERVICE, name
    assert (hub.directory / "roots").owner() == "root"


@pytest.fixture(scope="module")
def people(hub: HubPlatform) -> dict[str, Visitor]:
    """A member and a viewer of a team, who have just signed up."""
    admin = hub.sign_in()
    hub.accounts.add(f"team-{TEAM}")
    return {
        MEMBER: hub.invite(admin, MEMBER, f"{TEAM}:member"),
        VIEWER: hub.invite(admin, VIEWER, f"{TEAM}:viewer"),
    }


def acts_on(hub: HubPlatform, subject: str) -> list[dict[str, Any]]:
    """What is on record of somebody or something, the oldest first."""
    with hub.platform.service() as service:
        found = service.get("/audit", params={"subject": subject}).raise_for_status().json()
    return list(reversed(found["items"]))


def test_who_may_what_is_on_record_from_an_invitation_on(hub, people):
    admin = hub.sign_in()
    wait_until(lambda: acts_on(hub, VIEWER))

    invited = [act for act in acts_on(hub, "people") if act["after"]["name"] == VIEWER]
    assert [(act["actor"], act["as_admin"]) for act in invited] == [(OWNER, True)]
    assert invited[0]["after"] == {"action": "invite", "name": VIEWER, "teams": f"{TEAM}:viewer"}
    (came,) = acts_on(hub, VIEWER)
    assert (came["actor"], came["action"], came["before"]) == (
        "element-hub",
        "rights.changed",
        None,
    )
    assert set(came["after"]["groups"]) == {f"{TEAM}:viewer", f"{VIEWER}:lead"}

    teams = {"action": "teams", "person": VIEWER}
    for level in ("member", "viewer"):
        admin.form("/hub/people", teams | {"teams": f"{TEAM}:{level}"}).raise_for_status()
    wait_until(lambda: len(acts_on(hub, VIEWER)) == 3)
    raised = acts_on(hub, VIEWER)[1]
    assert (raised["actor"], raised["as_admin"]) == (OWNER, True)
    assert raised["before"]["groups"] == [f"{TEAM}:viewer"]
    assert raised["after"]["groups"] == [f"{TEAM}:member"]


@contextmanager
def browsing_as(hub: HubPlatform, browser: Browser, visitor: Visitor) -> Iterator[Page]:
    """Open the Hub's home page as somebody who has signed in; nothing may go wrong in it."""
    complaints: list[str] = []
    window = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    window.add_cookies(
        [
            {"name": each.name, "value": each.value or "", "url": f"{hub.url}{each.path}"}
            for each in visitor.cookies.jar
        ]
    )
    page = window.new_page()
    page.set_default_timeout(60_000)
    hear(page, complaints)
    page.goto(f"{hub.url}/hub/home")
    yield page
    window.close()
    # what JupyterLab asks for by itself, and does not take a refusal of
    refusals = (f"{VIEWER} is a viewer of the team", "nbconvert")
    assert [said for said in complaints if not any(each in said for each in refusals)] == []


def test_a_team_works_in_one_notebook_and_its_viewers_watch(hub, people):
    with sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--headless", "--no-sandbox", "--disable-gpu"],
        )
        stack.callback(browser.close)
        vi = stack.enter_context(browsing_as(hub, browser, people[VIEWER]))
        mo = stack.enter_context(browsing_as(hub, browser, people[MEMBER]))
        expect(vi.get_by_text("Its server does not run. A member of the team")).to_be_visible()
        expect(vi.get_by_role("button", name="Open the team's JupyterLab")).to_have_count(0)
        mo.get_by_role("button", name="Open the team's JupyterLab").click()
        expect(mo).to_have_url(re.compile(f"/user/team-{TEAM}/lab"), timeout=120_000)
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(SHARED)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, hub.files_of(TEAM) / "shared.ipynb")
        mo.goto(f"{hub.url}/user/team-{TEAM}/lab/tree/shared.ipynb?reset")
        expect(mo.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
        vi.reload()
        vi.get_by_role("button", name="Open the team's JupyterLab").click()
        expect(vi).to_have_url(re.compile(f"/user/team-{TEAM}/lab"))
        vi.goto(f"{hub.url}/user/team-{TEAM}/lab/tree/shared.ipynb?reset")
        of_mo, of_vi = (each.locator(".jp-Notebook .cm-content").first for each in (mo, vi))
        output = ".jp-OutputArea-output"
        expect(of_vi).to_contain_text("getpass.getuser()")
        expect(vi.get_by_text("Read-only").first).to_be_visible()

        of_mo.click()
        mo.keyboard.press("Control+End")
        mo.keyboard.type("; print('of mo')")
        expect(of_vi).to_contain_text("of mo")
        mo.keyboard.press("Control+Enter")
        expect(mo.locator(output)).to_contain_text(f"team-{TEAM} 42")
        expect(vi.locator(output)).to_contain_text(f"team-{TEAM} 42")

        of_vi.click()
        vi.keyboard.press("Control+End")
        vi.keyboard.type("; print('of vi')")
        vi.keyboard.press("Control+Enter")
        mo.keyboard.press("Enter")
        mo.keyboard.press("Control+End")
        mo.keyboard.type("; print('again')")
        expect(of_vi).to_contain_text("again")
        mo.keyboard.press("Control+Enter")
        expect(mo.locator(output)).to_contain_text("again")
        expect(of_mo).not_to_contain_text("of vi")
        expect(mo.locator(output)).not_to_contain_text("of vi")

        mo.get_by_role("button", name="Run this notebook in the background now").click()
        wait_until(lambda: runs_of_team(hub), 90, lambda: hub.log_of("service"))
    run = hub.ended(runs_of_team(hub)[0]["run_id"])
    assert (run["state"], run["team"], run["owner"], run["as_team"]) == (
        *("succeeded", TEAM, MEMBER, True),
    )
    assert hub.printed(run["run_id"]) == f"team-{TEAM} 42\nof mo\nagain\n"
    assert "of vi" not in (hub.files_of(TEAM) / "shared.ipynb").read_text()


def runs_of_team(hub: HubPlatform) -> list[dict[str, Any]]:
    with hub.platform.service() as service:
        found = service.get("/runs").raise_for_status().json()["items"]
    return [run for run in found if run["team"] == TEAM]


@needs_accounts
def test_what_people_keep_is_measured_as_du_counts_it(hub):
    hub.start_editor()
    home = hub.homes / OWNER
    (home / "kept").mkdir()
    (home / "kept" / "data.bin").write_bytes(os.urandom(30_000_000))
    os.link(home / "kept" / "data.bin", home / "kept" / "the same.bin")
    with (home / "kept" / "sparse.bin").open("wb") as file:
        file.truncate(1 << 40)
    (home / "kept" / "elsewhere").symlink_to("/usr")

    def measured() -> dict[str, Any]:
        subprocess.run(
            [sys.executable, "-m", "element_jupyter.platform.measuring", "--data", hub.data],
            env=os.environ | hub.environment,
            check=True,
        )
        with hub.platform.service() as service:
            found = service.get("/storage", params={"scope": "all"}).raise_for_status().json()
        return dict(found)

    def is_as_du_says() -> bool:
        (item,) = (each for each in measured()["items"] if each["person"] == OWNER)
        said = subprocess.run(
            ["du", "-xs", "--block-size=1", home], check=True, capture_output=True, text=True
        )
        return bool(item["places"]["home"] == pytest.approx(int(said.stdout.split()[0]), rel=0.01))

    # `up` may be measuring too, and say later what it has seen earlier
    wait_until(is_as_du_says, 60)
    found = measured()
    assert found["measured_at"] is not None
    assert found["measuring"] is None
    assert found["shared_bytes"] > 0


def test_stopping_the_platform_stops_people_s_servers_too(hub):
    hub.start_editor()

    assert hub.platform.stop() == 0

    assert not [process for process in psutil.process_iter() if _is_editor(process)]
    hub.start("--leave-runs")
    assert hub.servers() == {}


def test_a_run_that_is_left_goes_on_and_is_counted(hub):
    if "--leave-runs" not in hub.platform.up.args:
        hub.platform.stop()
        hub.start("--leave-runs")
    run_id = hub.start_run("print('started')", *UNTIL_TOLD)
    wait_until(lambda: hub.run_is(run_id)["cells_done"] == 1, 60, lambda: hub.log_of("hub"))

    assert hub.platform.stop() == 0

    assert "1 notebook that runs goes on" in hub.platform.log()
    hub.start()
    assert hub.run_is(run_id)["state"] == "running"
    tell_to_go_on()
    assert hub.ended(run_id)["state"] == "succeeded"
    assert hub.printed(run_id) == "started\nto the end\n"


def _is_editor(process: psutil.Process) -> bool:
    try:
        return "jupyterhub.singleuser" in process.cmdline() and process.username() == OWNER
    except (psutil.Error, OSError):
        return False
