"""A whole platform with a Hub, for tests of what only the whole shows; Airflow is left out."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from element_jupyter.platform.hub.people import serves_one_because
from element_jupyter.platform.ports import free_port
from tests.hub.signing_in import Visitor, refusal_in
from tests.platform_client import ENDED, snapshot
from tests.platform_fixture import (
    RunningPlatform,
    free_ports,
    start_platform,
    wait_until,
)

PASSWORD = "a few words are good"
OWNER = f"hub-{os.getpid()}"
"""The person of the platform's own token, with an account that the tests remove again.

Several processes may test at once.
"""
SERVICE = f"hub-{os.getpid()}-service"
"""Account of the control plane, after which those of proxy and Airflow are named."""

needs_accounts = pytest.mark.skipif(
    serves_one_because() is not None, reason=f"one person only: {serves_one_because()}"
)


class HubPlatform:
    """A platform with a Hub, its administrator signed in."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        # the accounts of people must be able to pass through to their homes
        self.open = Path(tempfile.mkdtemp(prefix="element-hub-"))
        self.open.chmod(0o755)
        self.homes = self.open / "homes"
        self.homes.mkdir(mode=0o755)
        # and those of services to what is theirs
        self.data = self.open / "data"
        self.has_password = False
        self.accounts = {OWNER}
        """What the Hub makes accounts of the machine for; they are removed at the end."""
        self.verify: ssl.SSLContext | bool = True
        self.data.mkdir(mode=0o700)
        if (directory / "data").exists():
            shutil.copytree(directory / "data", self.data, dirs_exist_ok=True)
        ports = {name: free_port() for name in ("public", "hub", "proxy")}
        (self.data / "ports.json").write_text(json.dumps(ports))
        self.environment = {
            **free_ports(),
            "ELEMENT_HUB": "true",
            "ELEMENT_AIRFLOW": "false",
            "ELEMENT_OWNER": OWNER,
            "ELEMENT_HOMES_DIR": str(self.homes),
            "ELEMENT_SERVICE_ACCOUNT": SERVICE,
            "ELEMENT_TEAMS_DIR": str(self.homes / ".teams"),
            "ELEMENT_ENVIRONMENTS": "false",
            **environment,
        }

    def start(self, *arguments: str) -> None:
        self.platform = start_platform(self.data, *arguments, **self.environment)
        self.platform.wait_until_ready()

    @property
    def url(self) -> str:
        return str(self.platform.state["public_url"]).rstrip("/")

    def sign_in(self) -> Visitor:
        """Sign in as the administrator; by the printed link the first time."""
        visitor = Visitor(self.url, verify=self.verify)
        wait_until(lambda: "Ctrl-C stops" in self.platform.log())
        links = re.findall(r"invitation#(\S+)", self.platform.log())
        if not self.has_password:
            self.has_password = True
            answer = visitor.form(
                "/hub/invitation",
                {
                    "secret": links[-1],
                    "password": PASSWORD,
                    "again": PASSWORD,
                    "next": "/hub/home",
                },
            )
            assert answer.is_success, refusal_in(answer)
        else:
            visitor.sign_in(OWNER, PASSWORD).raise_for_status()
        assert visitor.name == OWNER
        return visitor

    def invite(self, admin: Visitor, name: str, teams: str) -> Visitor:
        """Have somebody sign up, who is in these teams (`ml:member`)."""
        self.accounts.add(name)
        page = admin.form("/hub/people", {"action": "invite", "name": name, "teams": teams})
        link = re.search(r'id="link"[^>]*value="[^"]*#([^"]+)"', page.text)
        assert link, page.text
        visitor = Visitor(self.url, verify=self.verify)
        said = {"secret": link[1], "password": PASSWORD, "again": PASSWORD, "next": "/hub/home"}
        visitor.form("/hub/invitation", said)
        assert visitor.name == name
        return visitor

    def files_of(self, team: str) -> Path:
        """Where a team has its files, once its server has been started."""
        return self.homes / ".teams" / team / "files"

    def hub(self) -> httpx.Client:
        """A client of the Hub's REST interface, with the control plane's token."""
        token = (self.data / "secrets" / "hub-control-plane-token").read_text()
        return httpx.Client(
            base_url=f"{self.url}/hub/api",
            headers={"Authorization": f"token {token.strip()}"},
            timeout=30,
            trust_env=False,
            verify=self.verify,
        )

    def servers(self) -> dict[str, Any]:
        """What the Hub knows of its administrator's servers, by their names."""
        with self.hub() as hub:
            found = hub.get(f"/users/{OWNER}").raise_for_status().json()["servers"]
        return {name: server for name, server in found.items() if not server["stopped"]}

    def start_editor(self) -> None:
        """Start the administrator's server, unless it runs."""
        if self.servers().get("", {}).get("ready"):
            return
        with self.hub() as hub:
            hub.post(f"/users/{OWNER}/server").raise_for_status()
        wait_until(lambda: self.servers().get("", {}).get("ready"), 90, self.platform.log)

    def start_run(self, *cells: str, **request: object) -> str:
        """Start a run of a notebook of these cells; return its id."""
        project = Path(tempfile.mkdtemp(dir=self.directory))
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code), project / "work.ipynb")
        body = {
            "notebook": "work.ipynb",
            "snapshot_id": snapshot(self.platform, project),
            "kernel": "python3",
            **request,
        }
        with self.platform.service() as service:
            return str(service.post("/runs", json=body).raise_for_status().json()["run_id"])

    def run_is(self, run_id: str) -> dict[str, Any]:
        with self.platform.service() as service:
            found: dict[str, Any] = service.get(f"/runs/{run_id}").raise_for_status().json()
        return found

    def ended(self, run_id: str, seconds: float = 90) -> dict[str, Any]:
        """Wait for the end of a run; return it as it is then."""

        def over() -> bool:
            with suppress(httpx.HTTPError):
                return self.run_is(run_id)["state"] in ENDED
            return False

        wait_until(over, seconds, lambda: self.log_of("hub") + self.log_of("service"))
        return self.run_is(run_id)

    def is_given_back(self, run_id: str) -> bool:
        """Whether nothing is held for a run any more; asked after each kill."""
        return run_id not in self.servers()

    def printed(self, run_id: str) -> str:
        """What the cells of a run have printed."""
        with self.platform.service() as service:
            notebook = service.get(f"/runs/{run_id}/notebook").raise_for_status().json()
        return "".join(
            "".join(output.get("text", ""))
            for cell in notebook["cells"]
            for output in cell.get("outputs", ())
        )

    def log_of(self, process: str) -> str:
        return (self.data / "logs" / f"{process}.log").read_text()


def readable(account: str, paths: Iterable[Path]) -> set[Path]:
    """Return those of the paths that an account can read."""
    found = subprocess.run(
        ["find", *map(str, paths), "-maxdepth", "0", "-readable", "-print"],
        check=False,
        capture_output=True,
        text=True,
        user=account,
        group=account,
        extra_groups=[],
    )
    return {Path(line) for line in found.stdout.splitlines()}


@contextmanager
def hub_platform(directory: Path, **environment: str) -> Iterator[HubPlatform]:
    """Run a platform with a Hub for a while; no process and no account is left of it."""
    running = HubPlatform(directory, **environment)
    try:
        running.start()
        yield running
    finally:
        if running.platform.up.poll() is None:
            running.platform.stop()
        services = (SERVICE, f"{SERVICE}-proxy", f"{SERVICE}-airflow")
        for name in running.accounts:
            subprocess.run(["pkill", "-KILL", "-u", name], check=False, capture_output=True)
        if os.geteuid() == 0:
            for name in (*running.accounts, *services):
                subprocess.run(["userdel", "--force", name], check=False, capture_output=True)
        for team in (running.homes / ".teams").glob("*"):
            subprocess.run(
                ["groupdel", f"element-people-{team.name}"], check=False, capture_output=True
            )
        shutil.rmtree(running.open, ignore_errors=True)


__all__ = ["HubPlatform", "RunningPlatform", "hub_platform", "needs_accounts", "readable"]
