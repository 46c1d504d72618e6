"""The spawner in a real Hub: accounts, limits, teams and runs."""

from __future__ import annotations

import grp
import json
import os
import signal
import sqlite3
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from tests.platform_fixture import wait_until
from tests.spawner_fixture import (
    ANSWERS,
    SERVES,
    TELLS,
    end_hub_of_accounts,
    hub_of_accounts,
    is_root,
    start_again,
)

pytestmark = pytest.mark.skipif(not is_root(), reason="only root makes accounts")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = hub_of_accounts(tmp_path_factory.mktemp("spawner") / "hub")
    yield hub
    end_hub_of_accounts(hub)


@pytest.fixture(scope="module")
def ada(hub):
    """Somebody with an editor that runs."""
    ada = hub.person("ada", "ml:member", "ops:viewer")
    hub.ready(ada, team="ml", size="small")
    return ada


def test_an_editor_runs_as_its_person_with_nothing_of_the_hub(hub, ada):
    home = hub.home(ada)
    hub.kernel(ada, f"import os; os.chdir({str(home)!r})", TELLS)
    told = json.loads((home / "told.json").read_text())

    uid = home.stat().st_uid
    assert told["uids"] == [uid] * 3
    assert told["gids"] == [home.stat().st_gid] * 3
    of_team = grp.getgrnam(f"{hub.mark}people-ml").gr_gid
    assert told["groups"] == sorted([*os.getgrouplist(ada, home.stat().st_gid), of_team])
    assert 0 not in told["groups"]
    environment = told["environment"]
    assert "SECRET_OF_THE_HUB" not in environment
    assert environment["HOME"] == str(home)
    assert environment["ELEMENT_URL"] == "http://127.0.0.1:9/element"
    assert environment["ELEMENT_TEAM"] == "ml"
    assert environment["ELEMENT_SIZE"] == "small"
    assert environment["MEM_LIMIT"] == str(600 << 20)
    assert environment["CPU_LIMIT"] == "1.0"


def test_a_notebook_cannot_read_what_is_anothers_or_roots(hub, ada):
    grace = hub.person("grace")
    hub.run(grace, "r-other", f"open('diary', 'w').write('secret')\n{SERVES}")
    diary = hub.home(grace) / "diary"
    wait_until(diary.exists)
    paths = [diary, hub.directory / "jupyterhub.sqlite", "/etc/shadow",
             f"/proc/{hub.process.pid}/environ", hub.directory / "hub.log"]  # fmt: skip

    said = hub.kernel(ada, *(f"print(open({str(path)!r}).read())" for path in paths))

    assert said == "PermissionError" * len(paths)
    hub.stop(grace, "r-other")


def test_a_server_sees_the_size_as_its_limit_and_that_the_hub_has_set_it(hub, ada):
    with httpx.stream(
        "GET",
        f"{hub.url}/user/{ada}/element/api/v1/resources/events",
        headers={"Authorization": f"token {hub.token_of(ada)}"},
        timeout=60,
        trust_env=False,
    ) as answer:
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if line.startswith("data: ") and "source" in line:
                break
    assert "set by your hub" in lines[-1], lines


def test_what_needs_more_memory_than_the_size_is_killed_and_the_server_stays(hub, ada):
    assert hub.kernel(ada, "a = bytearray(1 << 30)\nprint(len(a))") == "<the kernel died>"

    assert hub.server(ada)["ready"]


def test_the_server_says_which_limit_it_is_held_to(hub, ada):
    groups = Path(f"/proc/{hub.state(ada)['pid']}/cgroup").read_text()

    assert f"{ada}~" in groups


REFUSED = [
    ({"team": "other"}, 403, "is not in a team 'other'"),
    ({"team": "ops"}, 403, "is a viewer of the team 'ops'"),
    ({"size": "gigantic"}, 400, "There is no size 'gigantic'"),
    ({"size": ["a", "b"]}, 400, "must be a short text"),
    ({"run": "r-1"}, 403, "started by the control plane alone"),
    ({"run": "r-1", "ticket": "forged"}, 403, "does not wait to be started"),
]


@pytest.mark.parametrize(("options", "status", "sentence"), REFUSED)
def test_what_may_not_start_is_refused_with_a_sentence(hub, ada, options, status, sentence):
    answer = hub.start(ada, "another", **options)

    assert answer.status_code == status
    assert sentence in answer.json()["message"]
    assert not hub.server(ada, "another").get("ready")


def test_somebody_suspended_starts_nothing(hub):
    eve = hub.person("eve", "ml:member", suspended=True)

    answer = hub.start(eve, team="ml")

    assert answer.status_code == 403
    assert "suspended" in answer.json()["message"]


def test_a_ticket_is_worth_one_start_of_its_owner(hub, ada):
    grace = hub.person("grace")
    assert hub.run(ada, "r-once", SERVES).status_code == 201
    (hub.here / "r-twice.launch").write_text(json.dumps({"ticket": "t", "launch": {"owner": ada}}))

    assert hub.start(grace, "r-twice", run="r-twice", ticket="t").status_code == 403
    hub.stop(ada, "r-once")
    assert hub.start(ada, "r-once", run="r-once", ticket="t").status_code == 403


def test_the_ticket_of_a_run_is_written_down_nowhere(hub, ada):
    hub.run(ada, "r-secret", SERVES)
    written = sqlite3.connect(hub.directory / "jupyterhub.sqlite")
    [(options,)] = written.execute(
        "select user_options from spawners where name = 'r-secret'"
    ).fetchall()
    written.close()

    assert json.loads(options) == {"run": "r-secret"}
    assert "ticket" not in json.dumps(hub.server(ada, "r-secret"))
    assert '"ticket"' not in hub.log()
    hub.stop(ada, "r-secret")


def test_a_run_has_what_it_was_given_and_no_token_of_the_hub(hub, ada):
    hub.run(ada, "r-tells", TELLS + SERVES, size="tight", team="ml")
    home = hub.home(ada)
    told = json.loads((home / "told.json").read_text())
    hub.stop(ada, "r-tells")

    assert told["uids"] == [home.stat().st_uid] * 3
    assert told["cwd"] == str(home)
    assert told["umask"] == 0o022
    assert told["input"] == "/dev/null"
    assert told["output"] == str(home / ".local/state/element/r-tells.log")
    assert told["open"] == []
    environment = told["environment"]
    assert environment["ELEMENT_RUN_TOKEN"] == "of the run"
    assert environment["ELEMENT_SIZE"] == "tight"
    assert not {"JUPYTERHUB_API_TOKEN", "SECRET_OF_THE_HUB"} & environment.keys()
    assert stat.S_IMODE((home / ".local/state/element/r-tells.log").stat().st_mode) == 0o600


ENDS = [
    ("raise SystemExit(7)", {"code": 7, "signal": None}, False),
    ("import os; os.kill(os.getpid(), 11)", {"code": None, "signal": 11}, False),
    ("a = bytearray(600 << 20)", {"code": None, "signal": 9}, True),
]


@pytest.mark.parametrize(("program", "how", "out_of_memory"), ENDS)
def test_the_end_of_a_run_is_told_at_once_with_how_it_came(
    hub, ada, program, how, out_of_memory, request
):
    run_id = f"r-{len(request.node.name)}-{how['code'] or how['signal']}"
    begins = f"{ANSWERS}\nimport threading, time\nthreading.Thread(target=server.serve_forever, daemon=True).start()\nwhile not __import__('os').path.exists('go'): time.sleep(0.01)\n"
    go = hub.home(ada) / "go"
    go.unlink(missing_ok=True)
    assert hub.run(ada, run_id, begins + program, size="tight").status_code == 201
    go.touch()

    told = lambda: [line for line in hub.lines("ended.jsonl") if line["run"] == run_id]  # noqa: E731
    wait_until(told, 10, hub.log)

    [line] = told()
    how = how | {"out_of_memory": out_of_memory}
    assert line == {"run": run_id, "how": how, "out_of_memory": out_of_memory}
    wait_until(lambda: released(hub, run_id), 20, hub.log)
    [kept] = released(hub, run_id)
    assert kept["held"]["team"] == ada
    assert kept["held"]["size"]["name"] == "tight"
    assert kept["spent"]["peak_memory_bytes"] > 1 << 20
    assert kept["spent"]["cpu_seconds"] > 0
    assert kept["spent"]["memory_kills"] == int(out_of_memory)
    assert len(told()) == 1


def test_a_run_that_ends_before_it_answers_is_no_wait(hub, ada):
    answer = hub.run(ada, "r-quick", "raise SystemExit(3)")

    assert answer.status_code == 500
    assert "ended with exit code 3" in answer.json()["message"]
    assert [line["how"]["code"] for line in hub.lines("ended.jsonl") if line["run"] == "r-quick"] == [3]  # fmt: skip


def test_a_killed_server_is_released_at_once_with_what_it_left_behind(hub):
    grace = hub.person("grace")
    hub.ready(grace)
    said = hub.kernel(grace, "import subprocess\n"
                      "p = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
                      "print(p.pid)")  # fmt: skip
    orphan = psutil.Process(int(said))
    os.kill(hub.state(grace)["pid"], signal.SIGKILL)

    wait_until(lambda: not hub.server(grace), 20, hub.log)

    wait_until(lambda: not orphan.is_running(), 10)
    [kept] = [line for line in hub.lines("released.jsonl") if line["held"]["owner"] == grace
              and line["held"]["server"] == ""]  # fmt: skip
    assert kept["how"] == {"code": None, "signal": 9, "out_of_memory": False}
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{grace}~"))


def test_sizes_are_read_again_when_they_change(hub, ada):
    file = hub.here / "sizes.yaml"
    before = file.read_text()
    file.write_text(before + "  - {name: new, cpu: 1, memory_bytes: 64 MiB}\n")

    answer = hub.run(ada, "r-new", SERVES, size="new")
    file.write_text(before)

    assert answer.status_code == 201
    hub.stop(ada, "r-new")


def test_servers_and_what_is_known_of_them_survive_a_killed_hub(hub, ada):
    grace = hub.person("grace")
    hub.run(grace, "r-long", SERVES)
    hub.run(grace, "r-short", SERVES)
    pids = {name: hub.state(grace, name)["pid"] for name in ("r-long", "r-short")}
    editor = hub.state(ada)
    hub.kill()
    os.kill(pids["r-short"], signal.SIGKILL)

    again = start_again(hub)
    hub.process = again.process

    assert hub.state(ada) == editor
    wait_until(lambda: hub.server(ada).get("ready"), 30, hub.log)
    wait_until(lambda: released(hub, "r-short"), 30, hub.log)
    assert [line["how"] for line in hub.lines("ended.jsonl") if line["run"] == "r-short"] == [
        {"code": None, "signal": None, "out_of_memory": False}
    ]
    assert hub.state(grace, "r-long")["pid"] == pids["r-long"]
    # and an end is still seen at once
    os.kill(pids["r-long"], signal.SIGKILL)
    wait_until(lambda: released(hub, "r-long"), 10, hub.log)


def released(hub, run_id):
    return [line for line in hub.lines("released.jsonl") if line["held"]["run_id"] == run_id]
