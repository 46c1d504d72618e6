"""A Hub whose servers are real: accounts, limits and runs; all of it is gone afterwards."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from element_jupyter.adapters.accounts import account_name
from element_jupyter.adapters.team_directories import TeamDirectories
from element_jupyter.core.confinement import Account
from element_jupyter.core.errors import Forbidden
from element_jupyter.core.provisioning import Launch, ProcessExit
from element_jupyter.hub.spawner import Released
from element_jupyter.platform.control_groups import control_groups, group_of
from tests.hub_fixture import RunningHub, end_hub, start_hub
from tests.platform_fixture import wait_until

SIZES = """
default: small
currency: EUR
sizes:
  - {name: small, title: Small, description: "For <b>looking</b> around.", cpu: 1,
     memory_bytes: 600 MiB, price_per_hour: 0.05}
  - {name: tight, title: Tight, cpu: 0.5, memory_bytes: 300 MiB}
  - {name: huge, title: Huge, cpu: 900, memory_bytes: 900 GiB, price_per_hour: 12}
"""

ANSWERS = """
import http.server, os, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
address = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
server = http.server.HTTPServer((address.hostname, address.port), Handler)
"""
SERVES = f"{ANSWERS}\nserver.serve_forever()\n"
TELLS = """
import json, os, sys
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
told = {"uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()),
        "umask": os.umask(0o022), "cwd": os.getcwd(), "environment": dict(os.environ),
        "open": [number for number in range(3, 1024) if is_open(number)],
        "input": os.readlink("/proc/self/fd/0"), "output": os.readlink("/proc/self/fd/1")}
with open("told.json", "w") as file:
    json.dump(told, file)
"""

CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "secret"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"boss"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 30}}
c.Spawner.environment = {{"ELEMENT_ENVIRONMENTS": "false"}}
c.Spawner.http_timeout = 60
from pathlib import Path
from element_jupyter import config
from element_jupyter.platform.spawners import local_spawner
from tests.spawner_fixture import Tickets, note_released
here = Path({here!r})
c.JupyterHub.spawner_class = local_spawner(
    config.load(data_dir=str(here / "data"), accounts_group={group!r}, homes_dir={homes!r}, owner="ada",
                teams_dir={homes!r} + "/.teams"),
    here / "sizes.yaml",
    launcher=Tickets(here),
    url="http://127.0.0.1:9/element",
    released=note_released(here / "released.jsonl"),
    **{options},
)
"""


class Tickets:
    """A `Launcher` whose tickets are files that a test writes; it tells ends to a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def redeem(self, run_id: str, ticket: str, person: str) -> Launch:
        file = self._directory / f"{run_id}.launch"
        try:
            written = json.loads(file.read_text())
        except FileNotFoundError:
            raise Forbidden("This run does not wait to be started.") from None
        if ticket != written["ticket"] or person != written["launch"]["owner"]:
            raise Forbidden("This run does not wait to be started with that ticket.")
        file.unlink()
        return Launch.model_validate(written["launch"])

    async def ended(self, run_id: str, how: ProcessExit, *, out_of_memory: bool) -> None:
        told = {"run": run_id, "how": how.model_dump(), "out_of_memory": out_of_memory}
        with (self._directory / "ended.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")


def note_released(path: Path) -> Any:
    async def note(released: Released) -> None:
        with path.open("a") as file:
            file.write(released.model_dump_json() + "\n")

    return note


class Hub(RunningHub):
    """A running Hub with people who have accounts here."""

    here: Path
    mark: str
    account: Account
    """Of a Hub that is not root's: whom it runs as."""
    forks: subprocess.Popen[bytes]

    def person(self, name: str, *groups: str, suspended: bool = False) -> str:
        """Make somebody who is in groups such as `ml:viewer`; their own team besides."""
        person = f"{self.mark}{name}"
        wanted = [*groups, *([] if suspended else [f"{person}:lead"])]
        with self.api() as api:
            api.post(f"/users/{person}")
            for group in [*wanted, f"{person}:lead"]:
                api.post(f"/groups/{group}")
            if suspended:
                api.request("DELETE", f"/groups/{person}:lead/users", json={"users": [person]})
            for group in wanted:
                api.post(f"/groups/{group}/users", json={"users": [person]}).raise_for_status()
        return person

    def start(self, person: str, server: str = "", **options: Any) -> httpx.Response:
        path = f"/users/{person}/servers/{server}" if server else f"/users/{person}/server"
        with self.api() as api:
            api.timeout = httpx.Timeout(120)
            return api.post(path, json={"user_options": options})

    def ready(self, person: str, server: str = "", **options: Any) -> None:
        answer = self.start(person, server, **options)
        assert answer.status_code in {201, 202}, f"{answer.text}\n{self.log()[-6000:]}"
        wait_until(lambda: self.server(person, server).get("ready"), 90, self.log)

    def stop(self, person: str, server: str = "") -> None:
        path = f"/users/{person}/servers/{server}" if server else f"/users/{person}/server"
        with self.api() as api:
            api.timeout = httpx.Timeout(120)
            api.request("DELETE", path).raise_for_status()
        wait_until(lambda: not self.server(person, server).get("pending"), 60, self.log)

    def state(self, person: str, server: str = "") -> dict[str, Any]:
        """What the spawner keeps, as an administrator of the Hub may see it."""
        return dict(self.server(person, server).get("state") or {})

    def run(self, person: str, run_id: str, program: str, **launch: Any) -> httpx.Response:
        """Start a run whose process is a Python program, as the control plane would."""
        ticket = secrets.token_hex(16)
        written = {
            "owner": person, "team": person, "size": "small",
            "environment": {"ELEMENT_RUN_TOKEN": "of the run"},
            "command": ["python", "-c", program],
        } | launch  # fmt: skip
        (self.here / f"{run_id}.launch").write_text(
            json.dumps({"ticket": ticket, "launch": written})
        )
        return self.start(person, run_id, run=run_id, ticket=ticket)

    def lines(self, name: str) -> list[dict[str, Any]]:
        with suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.here / name).read_text().splitlines()]
        return []

    def home(self, person: str) -> Path:
        return Path(pwd.getpwnam(account_name(person)).pw_dir)

    def kernel(self, person: str, *cells: str) -> str:
        """Execute code in a kernel of a person's server; returns what it printed."""
        return asyncio.run(self._kernel(person, cells))

    async def _kernel(self, person: str, cells: tuple[str, ...]) -> str:
        token = {"Authorization": f"token {self.token_of(person)}"}
        async with httpx.AsyncClient(
            base_url=f"{self.url}/user/{person}/api", headers=token, timeout=60, trust_env=False
        ) as client:
            answer = await client.post("/kernels", json={"name": "python3"})
            kernel = answer.raise_for_status().json()["id"]
        url = f"ws{self.url[4:]}/user/{person}/api/kernels/{kernel}/channels?session_id=test"
        socket = await websocket_connect(HTTPRequest(url, headers=token, request_timeout=60))
        try:
            return await self._execute(socket, cells)
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass

    async def _execute(self, socket: Any, cells: tuple[str, ...]) -> str:
        printed = ""
        for number, code in enumerate(cells):
            message = {"header": {"msg_id": f"m{number}", "msg_type": "execute_request",
                                  "username": "", "session": "test", "version": "5.3"},
                       "parent_header": {}, "metadata": {}, "channel": "shell",
                       "content": {"code": code, "silent": False, "store_history": False,
                                   "user_expressions": {}, "allow_stdin": False}}  # fmt: skip
            await socket.write_message(json.dumps(message))
            while True:
                async with asyncio.timeout(90):
                    said = json.loads(await socket.read_message() or "{}")
                if said.get("parent_header", {}).get("msg_id") != f"m{number}":
                    if said.get("content", {}).get("execution_state") in {"restarting", "dead"}:
                        return f"{printed}<the kernel died>"
                    continue
                if said["msg_type"] == "stream":
                    printed += said["content"]["text"]
                if said["msg_type"] == "error":
                    printed += said["content"]["ename"]
                if said["content"].get("execution_state") == "idle":
                    break
                if said["content"].get("execution_state") in {"restarting", "dead"}:
                    return f"{printed}<the kernel died>"
        return printed


def hub_of_accounts(
    directory: Path,
    config: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> Hub:
    """Start a Hub that makes accounts; `end_hub_of_accounts` ends it and removes them."""
    mark = f"t{secrets.token_hex(3)}-"
    directory.mkdir(parents=True, exist_ok=True)
    homes = Path(tempfile.mkdtemp(prefix="element-homes-"))
    homes.chmod(0o755)
    (directory / "sizes.yaml").write_text(SIZES)
    (directory / "data").mkdir(mode=0o700)
    (directory / "mark").write_text(f"{mark} {homes}")
    text = CONFIG.format(
        here=str(directory), group=f"{mark}people", homes=str(homes), options=_spelled(options)
    )
    variables = {"SECRET_OF_THE_HUB": "do not tell", **environment}
    return as_hub(start_hub(directory, text + config, **variables))


def _spelled(options: dict[str, Any]) -> str:
    spelled = {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items()
    }
    return repr(spelled)


def start_again(hub: Hub) -> Hub:
    """Start the Hub anew after it was killed."""
    return as_hub(start_hub(hub.directory, "", SECRET_OF_THE_HUB="do not tell"))


def as_hub(running: RunningHub) -> Hub:
    hub = Hub(running.directory, running.process, running.url, running.token)
    hub.here = running.directory
    hub.mark = (running.directory / "mark").read_text().split()[0]
    return hub


def end_hub_of_accounts(hub: Hub) -> None:
    """End the Hub, its servers, their accounts and homes."""
    homes = Path((hub.here / "mark").read_text().split()[1])
    end_hub(hub)
    accounts = [
        each for each in pwd.getpwall() if each.pw_name.removeprefix("team-").startswith(hub.mark)
    ]
    for each in accounts:
        subprocess.run(
            ["sh", "-c", "kill -KILL -1"], user=each.pw_uid, group=each.pw_gid, extra_groups=[]
        )
        subprocess.run(["userdel", "--force", each.pw_name], capture_output=True)
        subprocess.run(["groupdel", each.pw_name], capture_output=True)
    teams = TeamDirectories(homes / ".teams", f"{hub.mark}people")
    for team in (homes / ".teams").glob("*"):
        subprocess.run(["groupdel", teams.group_of(team.name)], capture_output=True)
    for group in [each.gr_name for each in grp.getgrall()]:
        if group.startswith(f"{hub.mark}people"):
            subprocess.run(["groupdel", group], capture_output=True)
    shutil.rmtree(homes)
    remove_groups(hub.here / "data")


def remove_groups(data: Path) -> None:
    """Remove the control groups of servers that the Hub has left running, and were killed."""
    for top in control_groups().values():
        ours = top / group_of(data)
        for group in [*ours.glob("*~*"), ours]:
            with suppress(FileNotFoundError):
                group.rmdir()


@contextmanager
def running_hub_of_accounts(directory: Path, config: str = "", **options: Any) -> Iterator[Hub]:
    hub = hub_of_accounts(directory, config, **options)
    try:
        yield hub
    finally:
        end_hub_of_accounts(hub)


def is_root() -> bool:
    return os.geteuid() == 0
