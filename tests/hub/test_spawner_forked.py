"""Runs of the Hub that are forked from a fork server for people."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from element_jupyter.adapters.forkserver import ForkServer
from tests.hub_fixture import reachable
from tests.platform_fixture import ROOT, wait_until
from tests.spawner_fixture import ANSWERS, SERVES, TELLS, is_root, running_hub_of_accounts

pytestmark = pytest.mark.skipif(not is_root(), reason="only root makes accounts")


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    socket = tmp_path_factory.mktemp("forks") / "run" / "people.sock"
    process = subprocess.Popen(
        [*reachable(), sys.executable, "-m", "element_jupyter.platform.forkserver", "--for-people",
         "--socket", str(socket), "--preload", "tests.forked_run", "http.server", "json"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SECRET_OF_THE_HUB": "do not tell"},
    )  # fmt: skip
    wait_until(lambda: asyncio.run(ForkServer(socket).answers()))
    yield socket, process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, forks):
    directory = tmp_path_factory.mktemp("forked") / "hub"
    options = {"fork_target": "tests.forked_run:main"}
    with running_hub_of_accounts(
        directory, "c.Spawner.poll_interval = 2\n", fork_socket=forks[0], **options
    ) as hub:
        yield hub


def forked(hub, person, run_id, program, **launch):
    environment = {"ELEMENT_RUN_TOKEN": "of the run", "PROGRAM": program}
    return hub.run(person, run_id, "raise SystemExit(99)", environment=environment, **launch)


def test_a_forked_run_is_its_person_within_its_limits(hub, forks):
    ada = hub.person("ada")
    assert forked(hub, ada, "r-fork", TELLS + SERVES, size="tight").status_code == 201
    home = hub.home(ada)
    told = json.loads((home / "told.json").read_text())
    pid = hub.state(ada, "r-fork")["pid"]
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    hub.stop(ada, "r-fork")

    assert parent == forks[1].pid
    assert told["uids"] == [home.stat().st_uid] * 3
    assert told["gids"] == [home.stat().st_gid] * 3
    assert told["groups"] == sorted(os.getgrouplist(ada, home.stat().st_gid))
    assert told["cwd"] == str(home)
    assert told["open"] == []
    assert told["environment"]["ELEMENT_RUN_TOKEN"] == "of the run"
    assert told["environment"]["HOME"] == str(home)
    assert not {"SECRET_OF_THE_HUB", "JUPYTERHUB_API_TOKEN"} & told["environment"].keys()
    assert f"{ada}~r-fork" in groups
    assert not Path(f"/proc/{pid}").exists()


def test_how_a_forked_run_ended_is_told_though_the_hub_is_not_its_parent(hub):
    ada = hub.person("ada")
    forked(hub, ada, "r-code", f"{ANSWERS}\nserver.handle_request()\nraise SystemExit(5)")
    forked(hub, ada, "r-memory", f"{ANSWERS}\nserver.handle_request()\na = bytearray(900 << 20)")

    wait_until(lambda: len(hub.lines("ended.jsonl")) >= 3, 20, hub.log)

    told = {line["run"]: line["how"] for line in hub.lines("ended.jsonl")}
    assert told["r-code"] == {"code": 5, "signal": None, "out_of_memory": False}
    assert told["r-memory"] == {"code": None, "signal": 9, "out_of_memory": True}


def test_what_runs_as_somebody_who_is_suspended_ends_and_their_account_is_locked(hub):
    eve = hub.person("eve")
    forked(hub, eve, "r-going-on", SERVES)
    pid = hub.state(eve, "r-going-on")["pid"]
    with hub.api() as api:
        api.request("DELETE", f"/groups/{eve}:lead/users", json={"users": [eve]})

    wait_until(lambda: not hub.server(eve, "r-going-on").get("ready"), 30, hub.log)

    assert not Path(f"/proc/{pid}").exists()
    wait_until(lambda: [x for x in hub.lines("ended.jsonl") if x["run"] == "r-going-on"], 10)
    wait_until(lambda: subprocess.run(["su", eve, "-c", "true"], capture_output=True).returncode)
    hub.person("eve")
    assert forked(hub, eve, "r-back", SERVES).status_code == 201
    hub.stop(eve, "r-back")


def test_without_its_fork_server_a_run_is_executed(hub, forks):
    ada = hub.person("ada")
    forks[1].kill()
    forks[1].wait()
    began = time.monotonic()

    hub.run(ada, "r-executed", SERVES)

    assert hub.server(ada, "r-executed")["ready"], time.monotonic() - began
    assert "executed, not forked" in hub.log()
    hub.stop(ada, "r-executed")
