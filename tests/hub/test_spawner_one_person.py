"""The spawner of a Hub that is not root: one person, and a watchdog where no groups are writable."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from element_jupyter.adapters.accounts import PeopleAccounts
from element_jupyter.adapters.forkserver import ForkServer
from tests.hub_fixture import end_hub, reachable, start_hub
from tests.platform_fixture import ROOT, wait_until
from tests.spawner_fixture import (
    ANSWERS,
    CONFIG,
    SERVES,
    SIZES,
    TELLS,
    as_hub,
    is_root,
    start_again,
)

pytestmark = pytest.mark.skipif(not is_root(), reason="only root can be another user for a while")

# what an ordinary user's Hub is, for one that root has to start
ORDINARY = """
import os
os.setgroups([])
os.setresgid({gid}, {gid}, {gid})
os.setresuid({uid}, {uid}, {uid})
os.environ |= {{"HOME": {home!r}, "USER": {name!r}, "LOGNAME": {name!r}}}
"""


@pytest.fixture(scope="module")
def hub():
    here = Path(tempfile.mkdtemp(prefix="element-one-"))
    here.chmod(0o755)
    name = f"t{secrets.token_hex(3)}"
    account = PeopleAccounts(f"{name}-people", here / "homes").ensure(name)
    directory = here / "hub"
    directory.mkdir()
    (directory / "sizes.yaml").write_text(SIZES)
    (directory / "mark").write_text(f"{name}- -")
    (directory / "data").mkdir()
    for each in (directory, *directory.iterdir()):
        os.chown(each, account.uid, account.gid)
    text = ORDINARY.format(uid=account.uid, gid=account.gid, home=account.home, name=name)
    socket = directory / "run" / "fork.sock"
    socket.parent.mkdir(mode=0o700)
    os.chown(socket.parent, account.uid, account.gid)
    forks = subprocess.Popen(
        [*reachable(), *("setpriv", f"--reuid={account.uid}", f"--regid={account.gid}"),
         "--clear-groups", sys.executable, "-m", "element_jupyter.platform.forkserver",
         "--socket", str(socket), "--preload", "tests.forked_run", "http.server"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OF_THE_FORK_SERVER": "alone"},
    )  # fmt: skip
    wait_until(lambda: asyncio.run(ForkServer(socket).answers()))
    options = {"fork_socket": str(socket), "fork_target": "tests.forked_run:main"}
    text += CONFIG.format(here=str(directory), group="none", homes="/none", options=options)
    hub = as_hub(start_hub(directory, text.replace('owner="ada"', f'owner="{name}-ada"')))
    hub.account = account
    hub.forks = forks
    yield hub
    forks.kill()
    forks.wait()
    end_hub(hub)
    subprocess.run(
        ["sh", "-c", "kill -KILL -1"], user=account.uid, group=account.gid, extra_groups=[]
    )
    subprocess.run(["userdel", "--force", name], capture_output=True)
    subprocess.run(["groupdel", f"{name}-people"], capture_output=True)
    shutil.rmtree(here)


def test_the_person_who_runs_it_is_served_as_who_they_are(hub):
    ada = hub.person("ada")
    program = TELLS + SERVES
    hub.run(ada, "r-own", "raise SystemExit(9)", environment={"PROGRAM": program})

    pid = hub.state(ada, "r-own")["pid"]

    assert Path(f"/proc/{pid}").stat().st_uid == hub.account.uid
    assert psutil.Process(pid).ppid() == hub.forks.pid
    told = json.loads(Path(hub.account.home, "told.json").read_text())
    assert told["cwd"] == hub.account.home
    assert "OF_THE_FORK_SERVER" not in told["environment"]
    hub.stop(ada, "r-own")


def test_nobody_else_is_served_and_it_says_so(hub):
    answer = hub.start(hub.person("grace"))

    assert answer.status_code == 403
    assert f"serves {hub.mark}ada alone" in answer.json()["message"]
    with pytest.raises(KeyError):
        pwd.getpwnam(f"{hub.mark}grace")


def test_the_watchdog_kills_what_is_over_its_memory_and_it_is_told(hub):
    ada = hub.person("ada")
    fills = f"{ANSWERS}\nserver.handle_request()\na = bytearray(700 << 20)\nserver.serve_forever()"
    hub.run(ada, "r-much", fills, size="tight", environment={"PROGRAM": fills})

    wait_until(lambda: hub.lines("ended.jsonl")[1:], 30, hub.log)

    line = hub.lines("ended.jsonl")[-1]
    assert line["run"] == "r-much"
    assert line["how"] == {"code": None, "signal": signal.SIGKILL, "out_of_memory": True}


def test_it_watches_again_after_the_hub_was_killed(hub):
    ada = hub.person("ada")
    fills = (
        f"{ANSWERS}\nimport os, threading\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "while not os.path.exists('go'): threading.Event().wait(0.05)\n"
        "a = bytearray(700 << 20)\nthreading.Event().wait(600)"
    )
    hub.run(ada, "r-later", fills, size="tight", environment={"PROGRAM": fills})
    hub.kill()
    hub.process = start_again(hub).process

    Path(hub.account.home, "go").touch()

    wait_until(lambda: hub.lines("ended.jsonl")[-1]["run"] == "r-later", 40, hub.log)
    assert hub.lines("ended.jsonl")[-1]["out_of_memory"]
