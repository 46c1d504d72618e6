"""Care behind a real Hub: what works lives, what is idle is warned of and stopped, on record."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.faults.accounting import allocations
from tests.hub_platform import OWNER, HubPlatform, hub_platform, needs_accounts
from tests.platform_fixture import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300), needs_accounts]

IDLE_SECONDS = 4.0
BUSY_SECONDS = 8.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    directory = tmp_path_factory.mktemp("care")
    (directory / "data").mkdir()
    (directory / "data" / "care.yaml").write_text(policy(stop_idle=False))
    with hub_platform(directory) as running:
        yield running


def policy(**more: object) -> str:
    """Return one that goes by seconds."""
    editors = {
        "idle": IDLE_SECONDS,
        "busy_without_work": BUSY_SECONDS,
        "warning": 2,
        "keep": 5,
        **more,
    }
    return json.dumps({"report_every": 0.5, "editors": editors})


def say(hub: HubPlatform, **more: object) -> None:
    """Let a policy be in force."""
    write(hub, "care.yaml", policy(**more))


def write(hub: HubPlatform, name: str, text: str) -> None:
    file = hub.data / "care.new"
    file.write_text(text)
    mode = (hub.data / name).stat()
    os.chown(file, mode.st_uid, mode.st_gid)
    file.chmod(mode.st_mode)
    file.replace(hub.data / name)


def asked(hub: HubPlatform, path: str, **query: Any) -> dict[str, Any]:
    with hub.platform.service() as service:
        return dict(service.get(path, params=query).raise_for_status().json())


def notices(hub: HubPlatform) -> list[dict[str, Any]]:
    return list(asked(hub, "/notices")["items"])


def server(hub: HubPlatform) -> dict[str, Any]:
    """How the editor stands; nothing when there is none."""
    return next(iter(asked(hub, "/care")["servers"]), {})


def log(hub: HubPlatform) -> str:
    return f"{server(hub)}\n{notices(hub)}\n{hub.log_of('service')[-3000:]}"


class Kernel:
    """A kernel of the editor, to which nobody is connected but while something is sent."""

    def __init__(self, hub: HubPlatform) -> None:
        self._token = {"Authorization": f"token {hub.sign_in().token_of_person()}"}
        self._url = f"{hub.url}/user/{OWNER}/api/kernels"
        answer = httpx.post(self._url, headers=self._token, timeout=60, trust_env=False)
        self._id = answer.raise_for_status().json()["id"]

    def send(self, code: str, *, stdin: bool = False) -> None:
        """Have it execute something, and leave."""
        asyncio.run(self._send(code, stdin=stdin))

    async def _send(self, code: str, *, stdin: bool) -> None:
        url = f"ws{self._url[4:]}/{self._id}/channels?session_id=test"
        socket = await websocket_connect(HTTPRequest(url, headers=self._token, request_timeout=60))
        message = {
            "header": {"msg_id": "m", "msg_type": "execute_request", "username": "",
                       "session": "test", "version": "5.3"},
            "parent_header": {}, "metadata": {}, "channel": "shell",
            "content": {"code": code, "silent": False, "store_history": False,
                        "user_expressions": {}, "allow_stdin": stdin},
        }  # fmt: skip
        await socket.write_message(json.dumps(message))
        async with asyncio.timeout(60):
            while json.loads(await socket.read_message() or "{}")["msg_type"] != "execute_input":
                pass
        socket.close()
        while await socket.read_message() is not None:
            pass

    def interrupt(self) -> None:
        url = f"{self._url}/{self._id}/interrupt"
        httpx.post(url, headers=self._token, timeout=60, trust_env=False).raise_for_status()


def seconds_since(text: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def test_what_computes_lives_and_what_is_idle_is_warned_of_kept_and_stopped(hub):
    hub.start_editor()
    kernel = Kernel(hub)
    kernel.send("while True: pass")
    say(hub)
    began = datetime.now(UTC)

    # it computes, and nobody is connected: it lives
    longer = began + timedelta(seconds=2 * IDLE_SECONDS + 3)
    wait_until(lambda: server(hub)["working"], 60, lambda: log(hub))
    wait_until(lambda: datetime.now(UTC) > longer, 60)
    assert (server(hub)["working"], server(hub)["connections"]) == (True, 0), log(hub)
    assert notices(hub) == []

    # it has ended: its person is told, and keeps it
    kernel.interrupt()
    wait_until(lambda: notices(hub), 60, lambda: log(hub))
    [told] = notices(hub)
    assert told["kind"] == "idle"
    assert told["sentence"].startswith("Your server is stopped soon: nobody works in it")
    with hub.platform.service() as service:
        kept = service.post(f"/notices/{told['id']}/keep").raise_for_status().json()
    assert kept["kept_until"] > told["deadline"]
    assert notices(hub) == []

    # it is told of again, and the control plane dies before it does anything
    wait_until(lambda: notices(hub), 60, lambda: log(hub))
    [again] = notices(hub)
    assert again["id"] != told["id"]
    assert again["deadline"] >= kept["kept_until"]
    old = hub.platform.state["processes"]["service"]["pid"]
    os.kill(old, signal.SIGKILL)

    # the next one does
    wait_until(lambda: not hub.servers(), 90, lambda: hub.log_of("service")[-3000:])
    assert hub.platform.state["processes"]["service"]["pid"] != old
    kinds = lambda: [each["kind"] for each in notices(hub)]  # noqa: E731
    wait_until(lambda: kinds() == ["stopped"], 30, lambda: log(hub))
    [said] = notices(hub)
    assert said["sentence"].startswith("Your server was stopped: idle for ")
    [ended] = [each for each in allocations(hub) if each["kind"] == "editor"]
    assert ended["ended_how"].startswith("idle for "), ended
    assert ended["ended_at"] > again["deadline"]
    on_record = asked(hub, "/audit", action="server.stopped")["items"]
    assert [(each["actor"], each["action"], each["after"]["why"]) for each in on_record] == [
        ("the platform", "server.stopped", ended["ended_how"])
    ]


def test_an_editor_at_work_is_stopped_by_a_budget_that_says_so_after_its_grace(hub):
    say(hub, stop_idle=False)
    hub.start_editor()
    Kernel(hub).send("while True: pass")
    wait_until(lambda: server(hub).get("working"), 60, lambda: log(hub))
    budget = {"per": "1 day", "cpu_hours": 0.0001, "then": "stop", "grace": "3 s"}
    file = hub.data / "quotas.yaml"
    before = file.read_text()
    write(
        hub,
        "quotas.yaml",
        json.dumps({"quotas": [{"who": f"person:{OWNER}", "budgets": [budget]}]}),
    )
    try:
        kinds = lambda: {each["kind"]: each for each in notices(hub)}  # noqa: E731
        wait_until(lambda: "budget_stop" in kinds(), 60, lambda: log(hub))
        soon = kinds()["budget_stop"]

        wait_until(lambda: not hub.servers(), 90, lambda: log(hub))
        wait_until(lambda: "budget_stop" not in kinds(), 60, lambda: log(hub))
    finally:
        write(hub, "quotas.yaml", before)

    assert soon["sentence"].startswith("Your server is stopped soon: a budget is used up.")
    ended = next(each for each in allocations(hub) if each["kind"] == "editor")
    assert ended["ended_how"].startswith(f"a budget is used up: {OWNER} has used "), ended
    assert ended["ended_at"] > soon["deadline"]
    on_record = asked(hub, "/audit", action="server.stopped")["items"]
    assert ("the platform", ended["ended_how"]) in {
        (each["actor"], each["after"]["why"]) for each in on_record
    }


def test_a_kernel_that_waits_for_an_input_is_idle_after_the_longer_time(hub):
    say(hub, stop_idle=False)
    hub.start_editor()
    kernel = Kernel(hub)
    kernel.send("input()", stdin=True)
    wait_until(lambda: server(hub)["busy"], 60, lambda: log(hub))
    before = server(hub)

    say(hub)
    wait_until(lambda: server(hub)["warned_at"], 60, lambda: log(hub))

    at = datetime.fromisoformat(server(hub)["warned_at"])
    active_at = datetime.fromisoformat(before["active_at"])
    assert at - active_at >= timedelta(seconds=BUSY_SECONDS - 2)
    wait_until(lambda: not hub.servers(), 60, lambda: hub.log_of("service")[-3000:])
