"""What a team shares at a real Hub: a directory, and a server in which viewers only look."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from element_jupyter.adapters.accounts import account_name
from tests.platform_fixture import ROOT, wait_until
from tests.spawner_fixture import SERVES, Hub, end_hub_of_accounts, hub_of_accounts, is_root

COLLABORATION = ROOT / ".tools/collaboration"
sys.path.append(str(COLLABORATION))

from pycrdt import Doc, Text, create_sync_message, create_update_message, handle_sync_message  # noqa: E402

pytestmark = pytest.mark.skipif(not is_root(), reason="only root makes accounts")

CONFIG = """
c.JupyterHub.load_roles += [{"name": "user", "scopes": ["self", "access:servers"]}]
c.Spawner.poll_interval = 1
c.Spawner.args = ["--HubAuth.cache_max_age=1"]
import element_jupyter.hub.spawner.in_teams as in_teams
in_teams.LOOK_SECONDS = 1
"""


class Team:
    """A team whose server runs: ada and bob are members, eve is a viewer, max is nothing."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        # too long for an account and a group of the system, which have shorter ones
        self.name = f"{hub.mark}machine-learning-and-operations"
        self.account = f"team-{self.name}"
        self.ada, self.bob = (hub.person(name, f"{self.name}:member") for name in ("ada", "bob"))
        self.eve = hub.person("eve", f"{self.name}:viewer")
        self.max = hub.person("max", "others:lead")
        self.tokens = {who: hub.token_of(who) for who in (self.ada, self.bob, self.eve, self.max)}
        with hub.api() as api:
            api.post(f"/users/{self.account}").raise_for_status()
        hub.ready(self.account)
        self.files = hub.home(self.account).parent / f".teams/{self.name}/files"

    def header(self, who: str) -> dict[str, str]:
        return {"Authorization": f"token {self.tokens[who]}"}

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        url = f"{self.hub.url}/user/{self.account}/{path}"
        return httpx.request(
            method, url, json=body, headers=self.header(who), timeout=60, trust_env=False
        )

    def kernel(self) -> str:
        return str(self.ask(self.ada, "POST", "api/kernels").raise_for_status().json()["id"])

    async def socket(self, who: str, path: str) -> Any:
        url = f"ws{self.hub.url[4:]}/user/{self.account}/{path}"
        return await websocket_connect(
            HTTPRequest(url, headers=self.header(who), request_timeout=60)
        )

    @asynccontextmanager
    async def document(self, who: str, path: str) -> AsyncIterator[Document]:
        """Open a text file together with others."""
        asked = {"format": "text", "type": "file"}
        answer = self.ask(who, "PUT", f"api/collaboration/session/{path}", asked)
        told = answer.raise_for_status().json()
        room = f"api/collaboration/room/text:file:{told['fileId']}?sessionId={told['sessionId']}"
        socket = await self.socket(who, room)
        document = Document(socket)
        try:
            yield document
        finally:
            await document.close()


class Document:
    """A copy of a file that is kept the same as the others' by a socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("source", type=Text)
        self.replies: list[Any] = []
        self.ended = asyncio.Event()
        self._following = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        await self.socket.write_message(create_sync_message(self.doc), binary=True)
        while (message := await self.socket.read_message()) is not None:
            if message[0] == 0:
                reply = handle_sync_message(message[1:], self.doc)
                if reply is not None:
                    await self.socket.write_message(reply, binary=True)
            elif message[0] == 2:
                self.replies.append(json.loads(message[message.index(b"{") :]))
        self.ended.set()

    async def says(self, text: str) -> None:
        async with asyncio.timeout(30):
            while str(self.text) != text:
                await asyncio.sleep(0.02)

    async def write(self, text: str) -> None:
        before = self.doc.get_state()
        self.text += text
        await self.send(create_update_message(self.doc.get_update(before)))

    async def send(self, message: bytes) -> None:
        await self.socket.write_message(message, binary=True)

    async def close(self) -> None:
        self.socket.close()
        await self._following


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELEMENT_COLLABORATION_DIR", str(COLLABORATION))
        hub = hub_of_accounts(tmp_path_factory.mktemp("team") / "hub", CONFIG)
    try:
        yield Team(hub)
    finally:
        end_hub_of_accounts(hub)


@pytest.fixture
def hub(team):
    return team.hub


def test_what_a_member_writes_in_the_server_of_the_team_is_in_the_directory_of_all(team):
    model = {"type": "file", "format": "text", "content": "of ada"}

    answer = team.ask(team.ada, "PUT", "api/contents/a.txt", model)

    assert answer.status_code == 201, answer.text
    assert (team.files / "a.txt").read_text() == "of ada"
    assert team.ask(team.bob, "GET", "api/contents/a.txt").json()["content"] == "of ada"
    assert team.ask(team.eve, "GET", "api/contents/a.txt").json()["content"] == "of ada"


@pytest.mark.parametrize("path", [
    "api/contents", "api/contents/seen.txt", "files/seen.txt", "api/sessions", "api/kernels",
    "api/kernelspecs", "api/status", "api/me", "lab/api/settings",
])  # fmt: skip
def test_a_viewer_sees(team, path):
    (team.files / "seen.txt").write_text("seen")

    answer = team.ask(team.eve, "GET", path)

    assert answer.status_code == 200, answer.text
    assert team.ask(team.max, "GET", path).status_code == 403


def test_what_a_viewer_sees_is_said_to_be_read_only(team):
    (team.files / "whose.txt").write_text("ours")

    told = {who: team.ask(who, "GET", "api/contents/whose.txt").json() for who in team.tokens}

    assert (told[team.ada]["writable"], told[team.eve]["writable"]) == (True, False)


REFUSED = [
    ("PUT", "api/contents/seen.txt", {"type": "file", "format": "text", "content": "x"}),
    ("POST", "api/contents", {"type": "notebook"}),
    ("PATCH", "api/contents/seen.txt", {"path": "gone.txt"}),
    ("DELETE", "api/contents/seen.txt", None),
    ("POST", "api/contents/seen.txt/checkpoints", {}),
    ("POST", "api/contents/seen.txt/trust", {}),
    ("POST", "api/kernels", {}),
    ("POST", "api/kernels/KERNEL/interrupt", {}),
    ("POST", "api/kernels/KERNEL/restart", {}),
    ("DELETE", "api/kernels/KERNEL", None),
    ("POST", "api/sessions", {"path": "a", "name": "a", "type": "console", "kernel": {}}),
    ("GET", "api/terminals", None),
    ("POST", "api/terminals", {}),
    ("GET", "nbconvert/html/n.ipynb", None),
    ("POST", "api/events", {}),
    ("POST", "api/shutdown", {}),
    ("PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes", {"raw": "{}"}),
    ("PUT", "lab/api/workspaces/w", {"data": {}, "metadata": {"id": "w"}}),
    ("POST", "lab/api/extensions", {"cmd": "install", "extension_name": "x"}),
    ("POST", "lab/api/plugins", {"cmd": "disable", "plugin_name": "x"}),
    ("PUT", "api/collaboration/fork/text:file:1", {}),
    ("PUT", "api/collaboration/undo_redo/text:file:1", {}),
    ("POST", "element/api/v1/runs", {}),
    ("POST", "element/api/v1/snapshots", {"path": "n.ipynb"}),
    ("POST", "element/api/v1/platform", {}),
    ("DELETE", "element/api/v1/jobs/a/b", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def kernel(team):
    return team.kernel()


@pytest.mark.parametrize(("method", "path", "body"), REFUSED, ids=lambda part: str(part)[:40])
def test_a_viewer_changes_and_runs_nothing(team, kernel, method, path, body):
    (team.files / "seen.txt").write_text("seen")

    for who in (team.eve, team.max):
        answer = team.ask(who, method, path.replace("KERNEL", kernel), body)

        assert answer.status_code == 403, answer.text
    assert (team.files / "seen.txt").read_text() == "seen"
    assert team.ask(team.ada, "GET", f"api/kernels/{kernel}").status_code == 200


@pytest.mark.parametrize(
    "path", ["api/kernels/KERNEL/channels", "terminals/websocket/1", "lsp/ws/pyright"]
)
async def test_a_viewer_opens_no_socket_that_executes(team, kernel, path):
    team.ask(team.ada, "POST", "api/terminals").raise_for_status()
    for who in (team.eve, team.max):
        with pytest.raises(HTTPClientError, match="403"):
            await team.socket(who, path.replace("KERNEL", kernel))
    team.ask(team.ada, "DELETE", "api/terminals/1").raise_for_status()


async def test_members_edit_a_document_at_once_and_a_viewer_watches(team):
    (team.files / "together.txt").write_text("start")
    async with (
        team.document(team.ada, "together.txt") as of_ada,
        team.document(team.bob, "together.txt") as of_bob,
        team.document(team.eve, "together.txt") as of_eve,
    ):
        for document in (of_ada, of_bob, of_eve):
            await document.says("start")
        await of_ada.write(", ada")
        await of_bob.says("start, ada")

        # in all the ways there are: as an update, as an answer to a question, and by saving
        await of_eve.says("start, ada")
        await of_eve.write(", eve")
        await of_eve.send(b"\x00\x01" + create_update_message(of_eve.doc.get_update())[2:])
        await of_eve.send(b"\x80\x00" + create_update_message(of_eve.doc.get_update())[1:])
        await of_eve.send(b"\x02\x04save\x07")
        await of_bob.write(", bob")
        await of_ada.says("start, ada, bob")

        assert of_eve.replies == [{"type": "save", "responseTo": 7, "status": "failed"}]
    wait_until(lambda: (team.files / "together.txt").read_text() == "start, ada, bob", 30)


async def test_nobody_else_opens_a_document(team):
    (team.files / "secret.txt").write_text("secret")
    asked = {"format": "text", "type": "file"}
    told = team.ask(team.ada, "PUT", "api/collaboration/session/secret.txt", asked).json()

    assert team.ask(team.max, "PUT", "api/collaboration/session/secret.txt", asked).is_client_error
    with pytest.raises(HTTPClientError, match="403"):
        await team.socket(team.max, f"api/collaboration/room/text:file:{told['fileId']}")


async def test_who_leaves_the_team_is_shut_out_of_what_is_open(team, hub):
    leaver = hub.person("leaver", f"{team.name}:member")
    team.tokens[leaver] = hub.token_of(leaver)
    (team.files / "open.txt").write_text("open")
    async with team.document(leaver, "open.txt") as document:
        await document.says("open")
        with hub.api() as api:
            group = f"/groups/{team.name}:member/users"
            api.request("DELETE", group, json={"users": [leaver]}).raise_for_status()

        async with asyncio.timeout(60):
            await document.ended.wait()
    assert team.ask(leaver, "GET", "api/contents").status_code == 403


def test_processes_of_members_share_the_directory_and_those_of_who_leaves_lose_it(team, hub):
    leaver = hub.person("gone", f"{team.name}:member")
    file = f"teams/{team.name}/shared.txt"
    program = f"""
import time
open({file!r}, "w").write("first")
while True:
    time.sleep(0.1)
    try:
        open({file!r}).read()
    except OSError as error:
        print(type(error).__name__, file=open("told.txt", "w"))
        break
"""
    serving = f"import threading\n{SERVES.rsplit('server.serve', 1)[0]}\n"
    serving += "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
    hub.run(leaver, "r-leaver", f"{serving}{program}\ntime.sleep(600)")
    shared = team.files / "shared.txt"
    wait_until(lambda: shared.exists() and shared.read_text() == "first")
    hub.run(team.bob, "r-bob", f"{serving}open({file!r}, 'a').write(' second')\n{SLEEPS}")
    wait_until(lambda: shared.read_text() == "first second")
    try_to_write = f"{serving}\ntry:\n    open({file!r}, 'a')\nexcept OSError as e:\n    "
    try_to_write += f"open('told.txt', 'w').write(open({file!r}).read())\n{SLEEPS}"
    hub.run(team.eve, "r-eve", try_to_write)
    wait_until(lambda: _text(hub.home(team.eve) / "told.txt") == "first second")

    with hub.api() as api:
        group = f"/groups/{team.name}:member/users"
        api.request("DELETE", group, json={"users": [leaver]}).raise_for_status()

    wait_until(lambda: _text(hub.home(leaver) / "told.txt").strip() == "PermissionError", 60)
    for who, server in ((leaver, "r-leaver"), (team.bob, "r-bob"), (team.eve, "r-eve")):
        hub.stop(who, server)


SLEEPS = "import time\ntime.sleep(600)\n"


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""


def test_the_server_of_a_team_is_the_teams_and_knows_it(team, hub):
    process = Path(f"/proc/{hub.state(team.account)['pid']}")
    told = (process / "environ").read_text().split("\0")

    assert f"ELEMENT_TEAM={team.name}" in told
    assert team.files.stat().st_mode & 0o7777 == 0o2775
    assert f"USER={account_name(team.account)}" in told


async def test_the_server_of_a_team_is_stopped_in_seconds_with_documents_open(team, hub):
    kernel = team.kernel()
    socket = await team.socket(team.ada, f"api/kernels/{kernel}/channels")
    (team.files / "open-at-the-end.txt").write_text("start")
    async with team.document(team.ada, "open-at-the-end.txt") as document:
        await document.says("start")
        asked_at = time.monotonic()

        await asyncio.to_thread(hub.stop, team.account)

    took_seconds = time.monotonic() - asked_at
    socket.close()
    log = hub.home(team.account) / ".local/state/element/server.log"
    assert f"Kernel shutdown: {kernel}" in log.read_text()
    assert took_seconds < 12, hub.log()[-2000:]  # after 15 it would have been killed
