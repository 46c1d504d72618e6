"""A real Hub, and behind its proxy a real web server of Airflow with jobs of two teams."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from element_jupyter.core.orchestration import HubAddress
from element_jupyter.platform.airflow_home import AirflowSetup, write_home
from element_jupyter.platform.data import Data
from element_jupyter.platform.ports import free_port
from tests.hub_fixture import RunningHub, end_hub, start_hub
from tests.platform_fixture import ROOT, wait_until
from tests.postgres_fixture import Server

PASSWORD = "correct horse"
PREFIX = "/services/airflow"

_HUB = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"root"}}
c.JupyterHub.spawner_class = "simple"
c.Spawner.args = ["--allow-root"]
c.JupyterHub.services.append({{
    "name": "airflow",
    "url": "http://127.0.0.1:{port}",
    "api_token": {token!r},
    "oauth_redirect_uri": "/services/airflow/auth/callback",
    "oauth_no_confirm": True,
    "oauth_client_allowed_scopes": ["access:services!service=airflow"],
}})
c.JupyterHub.load_roles.append(
    {{"name": "user", "scopes": ["self", "access:services!service=airflow"]}}
)
"""


class AirflowAtHub:
    """Airflow's web server behind the Hub's proxy, seen from outside."""

    def __init__(self, hub: RunningHub, data: Data, port: int) -> None:
        self.hub = hub
        self.data = data
        self.direct_url = f"http://127.0.0.1:{port}"
        self.url = f"{hub.url}{PREFIX}"

    def as_token(self, token: str, *, direct: bool = False) -> httpx.Client:
        base = self.direct_url if direct else self.url
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False)

    def as_person(self, name: str) -> httpx.Client:
        """A client with a token of the Hub that the person made."""
        return self.as_token(self.hub.token_of(name))

    def as_control_plane(self) -> httpx.Client:
        token = self.data.control_planes_airflow_token.read_text().strip()
        return self.as_token(token, direct=True)

    def put(self, person: str, *groups: str) -> None:
        """Have the Hub know the person, in just these groups."""
        with self.hub.api() as api:
            api.post(f"/users/{person}")  # may be there
            held = set(api.get(f"/users/{person}").raise_for_status().json()["groups"])
            for group in held - set(groups):
                api.request("DELETE", f"/groups/{group}/users", json={"users": [person]})
            for group in groups:
                api.post(f"/groups/{group}")  # may be there
                api.post(f"/groups/{group}/users", json={"users": [person]}).raise_for_status()

    def log(self) -> str:
        return (self.data.root / "airflow.log").read_text()[-20_000:]


@contextmanager
def airflow_at_hub(directory: Path, postgres: Server) -> Iterator[AirflowAtHub]:
    """Run both for a while; afterwards nothing of them is left."""
    port, token = free_port(), secrets.token_hex(16)
    data = Data(directory / "data")
    data.create()
    database = postgres.new_database()
    settings = _HUB.format(password=PASSWORD, port=port, token=token)
    hub = start_hub(directory / "hub", settings)
    process: subprocess.Popen[bytes] | None = None
    try:
        token_file = data.secrets / "hub-token"
        token_file.write_text(token)
        url = make_url(postgres.url(database))
        write_home(
            data,
            AirflowSetup(
                port=port,
                service_url="http://127.0.0.1:1",
                database_url=_text(url, "psycopg2"),
                async_database_url=_text(url, "asyncpg"),
                parallelism=2,
                hub=HubAddress(
                    api_url=f"{hub.url}/hub/api", public_url=hub.url, token_file=token_file
                ),
            ),
        )
        environment = os.environ | {
            "AIRFLOW_HOME": str(data.airflow),
            "PYTHONPATH": str(ROOT),
        }
        running = AirflowAtHub(hub, data, port)
        process = _start(data, port, environment)
        wait_until(lambda: process.poll() is not None or _answers(running.url), 120, running.log)
        if process.poll() is not None:
            pytest.fail(f"Airflow ended with {process.returncode}:\n{running.log()}")
        yield running
    finally:
        if process is not None:
            process.kill()
            process.wait(10)
        end_hub(hub)
        postgres.execute(f"DROP DATABASE {database} WITH (FORCE)")


def _start(data: Data, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    program = (
        "from element_jupyter.platform import airflow_processes as airflow\n"
        "from tests.provider import airflow_contents\n"
        "from pathlib import Path\n"
        "airflow.migrate()\n"
        f"airflow_contents.main(Path({str(data.root / 'bundle')!r}))\n"
        f"airflow.api_server('127.0.0.1', {port})\n"
    )
    with (data.root / "airflow.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            cwd=data.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/api/v2/version", timeout=10, trust_env=False).is_success
    return False


def _text(url: object, driver: str) -> str:
    changed = make_url(url).set(drivername=f"postgresql+{driver}")  # type: ignore[arg-type]
    return str(changed.render_as_string(hide_password=False))
