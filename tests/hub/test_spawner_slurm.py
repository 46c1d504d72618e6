"""Servers and runs as jobs of a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import httpx
import pytest

from tests.platform_fixture import wait_until
from tests.slurm_fixture import running_slurm
from tests.spawner_fixture import SERVES, TELLS, is_root, running_hub_of_accounts

pytestmark = [
    pytest.mark.skipif(not is_root(), reason="only root makes accounts"),
    pytest.mark.skipif(
        shutil.which("slurmctld", path="/usr/sbin:/sbin") is None, reason="no Slurm"
    ),
]
CONFIG = """
from batchspawner import SlurmSpawner
from element_jupyter.platform.spawners import cluster_spawner
accounts = c.JupyterHub.spawner_class.machine.accounts
c.JupyterHub.spawner_class = cluster_spawner(
    SlurmSpawner, here / "sizes.yaml", launcher=Tickets(here), url="http://127.0.0.1:9/element",
    released=note_released(here / "released.jsonl"),
)
# on a cluster the accounts are there already
c.Spawner.pre_spawn_hook = lambda spawner: accounts.ensure(spawner.user.name) and None
c.Spawner.cmd = [{python!r}, "-c", {program!r}]
c.Spawner.environment = {{"SLURM_CONF": {conf!r}}}
c.Spawner.poll_interval = 2
c.SlurmSpawner.startup_poll_interval = 0.1
c.SlurmSpawner.batch_script = SlurmSpawner.batch_script.default_value.replace("#SBATCH --get-user-env=L", "")
"""


@pytest.fixture(scope="module")
def slurm():
    with running_slurm() as variables:
        yield variables


@pytest.fixture(scope="module")
def hub(tmp_path_factory, slurm):
    config = CONFIG.format(python=sys.executable, program=TELLS + SERVES, conf=slurm["SLURM_CONF"])
    directory = tmp_path_factory.mktemp("slurm") / "hub"
    with running_hub_of_accounts(directory, config, environment=slurm) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub):
    ada = hub.person("ada", "ml:member")
    hub.ready(ada, team="ml", memory="7000M", nprocs="8", prologue="touch prologue-was-here")
    return ada


def jobs(slurm, person):
    told = subprocess.run(
        ["squeue", "-h", "-u", person, "-o", "%T %C %m"],
        env=os.environ | slurm, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return told.stdout.splitlines()


def test_a_server_is_a_job_that_asks_for_the_size_whatever_its_options_say(hub, ada, slurm):
    assert jobs(slurm, ada) == ["RUNNING 1 600M"]

    home = hub.home(ada)
    told = json.loads((home / "told.json").read_text())
    assert told["uids"] == [home.stat().st_uid] * 3
    assert told["environment"]["ELEMENT_TEAM"] == "ml"
    assert told["environment"]["MEM_LIMIT"] == str(600 << 20)
    assert "SECRET_OF_THE_HUB" not in told["environment"]
    assert not (home / "prologue-was-here").exists()


@pytest.mark.parametrize(
    "said", [{"exec_prefix": "id;"}, {"port": "80"}, {"port": 1, "ip": "evil"}, []]
)
def test_a_server_tells_its_port_and_nothing_else(hub, ada, said):
    told = json.loads((hub.home(ada) / "told.json").read_text())
    token = told["environment"]["JUPYTERHUB_API_TOKEN"]
    with hub.api(token) as api:
        answer = api.post("/batchspawner", json=said)

    if said != {"port": 1, "ip": "evil"}:
        assert answer.status_code == 400
    assert hub.server(ada)["ready"]
    assert "Traceback" not in hub.log()


def test_somebody_elses_token_tells_no_port(hub, ada):
    with hub.api(hub.token_of(hub.person("eve"))) as api:
        assert api.post("/batchspawner", json={"port": 80}).status_code == 400
    answer = httpx.post(f"{hub.api_url}/batchspawner", json={"port": 80}, trust_env=False)
    assert answer.status_code == 403


def test_a_run_is_a_job_with_its_own_token_and_its_end_is_told(hub, ada, slurm):
    assert hub.run(ada, "r-job", TELLS + SERVES, size="tight").status_code in {201, 202}
    wait_until(lambda: hub.server(ada, "r-job").get("ready"), 60, hub.log)
    assert "RUNNING 1 300M" in jobs(slurm, ada)
    told = json.loads((hub.home(ada) / "told.json").read_text())
    assert told["environment"]["ELEMENT_RUN_TOKEN"] == "of the run"
    assert not {"JUPYTERHUB_API_TOKEN", "ELEMENT_PORT_TOKEN"} & told["environment"].keys()

    subprocess.run(["scancel", "-u", ada, "-n", "spawner-jupyterhub", "--state=RUNNING"],
                   env=os.environ | slurm, check=True)  # fmt: skip

    wait_until(lambda: hub.lines("ended.jsonl"), 40, hub.log)
    assert hub.lines("ended.jsonl")[0]["run"] == "r-job"
