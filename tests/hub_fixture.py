"""A real JupyterHub behind a real traefik, for tests of what is configured in it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from element_jupyter.platform.ports import free_port
from tests.platform_fixture import ROOT, wait_until

HUB_MARK = "ELEMENT_TEST_HUB"

_CONFIG = """
from traitlets.config import get_config
c = get_config()
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_bind_url = {hub_url!r}
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie_secret"
c.JupyterHub.log_level = "INFO"
c.JupyterHub.cleanup_servers = True
c.JupyterHub.last_activity_interval = 0
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}, "admin": False}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "admin:groups", "list:services", "tokens", "access:servers"]}},
]
from element_jupyter.hub.proxy import ElementProxy
c.JupyterHub.proxy_class = ElementProxy
c.ElementProxy.traefik_api_url = {proxy_api_url!r}
c.ElementProxy.traefik_api_username = "hub"
c.ElementProxy.traefik_api_password = "tests-only"
"""


class RunningHub:
    """A Hub of its own, seen from outside; `token` may do what an administrator may."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], url: str, token: str):
        self.directory = directory
        self.process = process
        self.url = url
        self.token = token

    @property
    def api_url(self) -> str:
        return f"{self.url}/hub/api"

    def api(self, token: str | None = None) -> httpx.Client:
        """A client of the Hub's REST interface."""
        headers = {"Authorization": f"token {token or self.token}"}
        return httpx.Client(base_url=self.api_url, headers=headers, timeout=30, trust_env=False)

    def log(self) -> str:
        return (self.directory / "hub.log").read_text()

    def token_of(self, user: str) -> str:
        """Make a token with all rights of a person, as they could on the Hub's token page."""
        with self.api() as api:
            return str(
                api.post(f"/users/{user}/tokens", json={}).raise_for_status().json()["token"]
            )

    def server(self, user: str, name: str = "") -> dict[str, Any]:
        """What the Hub knows of a server; empty when there is none."""
        with self.api() as api:
            servers = api.get(f"/users/{user}").raise_for_status().json()["servers"]
        return dict(servers.get(name, {}))

    def kill(self) -> None:
        """Kill the Hub alone, as if it had crashed; servers and proxy go on."""
        self.process.kill()
        self.process.wait(10)


_OPENED = """
kept=$(mktemp -d)
mount --bind "$1" "$kept"
mount -t tmpfs -o mode=755 none "$2"
mkdir -p "$1"
mount --bind "$kept" "$1"
umount "$kept"
rmdir "$kept"
shift 2
exec "$@"
"""


def reachable() -> list[str]:
    """What to put before a command whose accounts are to run Python, wherever that is installed.

    An interpreter below a directory of root's alone, such as /root, is shown without that
    directory to the command and what it starts; nobody else sees a difference.
    """
    home = Path(sys.base_prefix).resolve()
    closed = [path for path in reversed(home.parents) if not path.stat().st_mode & 0o001]
    if os.geteuid() != 0 or not closed:
        return []
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec", _OPENED, "sh"),
        *(str(home), str(closed[0])),
    ]


def start_hub(directory: Path, config: str, **environment: str) -> RunningHub:
    """Start a Hub in `directory` with `config` (Python, with `c`) after what every Hub here has."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = directory / "jupyterhub_config.py"
    stamp = directory / "url"
    if not stamp.exists():  # a Hub that is started again keeps its addresses
        token = secrets.token_hex(16)
        url, hub_url, proxy_api_url = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        stamp.write_text(f"{url} {token}")
        settings.write_text(
            _CONFIG.format(url=url, hub_url=hub_url, proxy_api_url=proxy_api_url, token=token)
            + config
        )
    url, token = stamp.read_text().split()
    with (directory / "hub.log").open("ab") as log:
        process = subprocess.Popen(
            [*reachable(), sys.executable, "-m", "jupyterhub", "-f", str(settings)],
            cwd=directory,
            env=os.environ
            | {HUB_MARK: str(directory), "PYTHONPATH": str(ROOT)}
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    hub = RunningHub(directory, process, url, token)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the Hub ended with {process.returncode}:\n{hub.log()}")
        with suppress(httpx.HTTPError):
            return httpx.get(f"{url}/hub/health", timeout=5, trust_env=False).is_success
        return False

    wait_until(answers, 90, hub.log)
    return hub


def end_hub(hub: RunningHub) -> None:
    """End the Hub and whatever it started."""
    hub.process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        hub.process.wait(30)
    mark = str(hub.directory)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(HUB_MARK) == mark or process.cwd().startswith(mark):
                process.kill()
    hub.process.wait(10)


@contextmanager
def running_hub(directory: Path, config: str, **environment: str) -> Iterator[RunningHub]:
    """Run a Hub for a while; afterwards nothing of it is left."""
    hub = start_hub(directory, config, **environment)
    try:
        yield hub
    finally:
        end_hub(hub)
