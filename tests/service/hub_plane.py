"""A control plane beside a real Hub, with everybody who may come to it."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from element_jupyter.core.runs import RunState
from element_jupyter.core.snapshots import Entry, Manifest
from element_jupyter.platform.hub.access import digest
from tests.cli.control_plane import ControlPlane
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import wait_until
from tests.service.conftest import NOTEBOOK

ELEMENT_TOKEN = "the-token-of-the-service-element-" + "0" * 16
CONFIG = f"""
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "secret"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"root-of-all"}}
c.JupyterHub.services.append({{"name": "element", "api_token": "{ELEMENT_TOKEN}"}})
c.JupyterHub.load_roles += [
    {{"name": "element", "services": ["element"], "scopes": ["list:users", "read:users"]}},
    {{"name": "user", "scopes": ["self", "access:services!service=element",
        "access:servers!user=team-sales", "access:servers!user=team-ops"]}},
]
"""

PEOPLE = {
    "sam": ("ops:lead",),
    "vera": ("sales:viewer",),
    "max": ("sales:member",),
    "mia": ("sales:member",),
    "lena": ("sales:lead",),
    "root-of-all": (),
}
"""Who is in which team, besides their own; sue, who is suspended, is not even in that."""

SNAPSHOT_FILES = {"sales.ipynb": json.dumps(NOTEBOOK).encode(), "secret.csv": b"1,2,3\n"}
MANIFEST = Manifest(
    entries=tuple(
        Entry(path=path, digest=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for path, content in sorted(SNAPSHOT_FILES.items())
    )
)
JOB: dict[str, Any] = {
    "team": "sales",
    "name": "nightly",
    "owner": "mia",
    "snapshot_id": MANIFEST.snapshot_id,
    "max_active": 20,
    "tasks": [{"notebook": "sales.ipynb"}],
}


class HubPlane:
    """Both, and the tokens of everybody; `ask` sends one request as one of them."""

    def __init__(self, hub: RunningHub, plane: ControlPlane, database_url: str) -> None:
        self.hub = hub
        self.plane = plane
        self._engine = create_engine(database_url)
        self._http = httpx.Client(base_url=f"{plane.url}/api/v1", trust_env=False, timeout=30)
        self.tokens: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()
        self._engine.dispose()

    def ask(self, who: str, method: str, path: str, **said: Any) -> httpx.Response:
        headers = dict(said.pop("headers", {}))
        if token := self.tokens.get(who):
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.plane.url}{path}" if path.startswith("/metrics") else path
        return self._http.request(method, url, headers=headers, **said)

    # ------------------------------------------------------------------------------------- making

    def person(self, name: str, *groups: str) -> str:
        """Put somebody into these groups of the Hub, and out of every other; returns a token."""
        with self.hub.api() as api:
            if api.get(f"/users/{name}").status_code == 404:
                api.post(f"/users/{name}").raise_for_status()
            held = set(api.get(f"/users/{name}").json()["groups"])
            for group in held - set(groups):
                api.request("DELETE", f"/groups/{group}/users", json={"users": [name]})
            for group in set(groups) - held:
                if api.get(f"/groups/{group}").status_code == 404:
                    api.post(f"/groups/{group}").raise_for_status()
                api.post(f"/groups/{group}/users", json={"users": [name]}).raise_for_status()
            said = api.post(f"/users/{name}/tokens", json={}).raise_for_status().json()
        return str(said["token"])

    def visiting(self, name: str, team: str) -> str:
        """Return what the server of a team has of somebody who has signed in there."""
        scopes = [f"access:servers!server=team-{team}/", "read:users!user"]
        with self.hub.api() as api:
            said = api.post(f"/users/{name}/tokens", json={"scopes": scopes})
        return str(said.raise_for_status().json()["token"])

    def expired_token(self, name: str) -> str:
        with self.hub.api() as api:
            said = api.post(f"/users/{name}/tokens", json={"expires_in": 1}).json()
        with self.hub.api(said["token"]) as api:
            wait_until(lambda: api.get("/user").status_code == 403, 30)
        return str(said["token"])

    def uploaded(self, who: str, files: Mapping[str, bytes] = SNAPSHOT_FILES) -> str:
        """Upload a project as a client does; returns its snapshot's id."""
        manifest = Manifest(
            entries=tuple(
                Entry(path=path, digest=hashlib.sha256(body).hexdigest(), size_bytes=len(body))
                for path, body in sorted(files.items())
            )
        )
        for content in (*files.values(), manifest.to_json()):
            digest = hashlib.sha256(content).hexdigest()
            self.ask(who, "PUT", f"/blobs/{digest}", content=content).raise_for_status()
        return manifest.snapshot_id

    def saved(self, who: str = "administrator", **said: Any) -> dict[str, Any]:
        """Save the job of these tests, as it was in the beginning."""
        job = JOB | said
        path = f"/jobs/{job['team']}/{job['name']}"
        return dict(self.ask(who, "PUT", path, json=job).raise_for_status().json()["stored"])

    def live_run(self, job: str | None = "sales/nightly") -> tuple[str, str]:
        """Make a run that somebody executes somewhere; returns its id and its token."""
        said = (
            {"job": job} if job else {"notebook": "sales.ipynb", "snapshot_id": JOB["snapshot_id"]}
        )
        run_id = self.ask("mia", "POST", "/runs", json=said).raise_for_status().json()["run_id"]

        def ended() -> bool:  # this Hub starts no servers
            run = self.ask("administrator", "GET", f"/runs/{run_id}").json()
            return RunState(run["state"]).ended

        wait_until(ended, 60)
        token = f"{run_id}.{secrets.token_urlsafe(32)}"
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE runs SET state = 'running', finished_at = NULL, started_at = :now,"
                    " lease_until = :later, token_sha256 = :digest WHERE run_id = :run_id"
                ),
                {
                    "now": datetime.now(UTC),
                    "later": datetime.now(UTC) + timedelta(hours=1),
                    "digest": hashlib.sha256(token.encode()).hexdigest(),
                    "run_id": run_id,
                },
            )
        return run_id, token


@contextmanager
def hub_plane(directory: Path, database_url: str, more: str = "") -> Iterator[HubPlane]:
    """Run a Hub, with `more` in its configuration, and a control plane that asks it."""
    secret = {name: uuid.uuid4().hex * 2 for name in ("hub", "airflow")}
    token_file = directory / "token-of-element"
    token_file.write_text(ELEMENT_TOKEN)
    with running_hub(directory / "hub", CONFIG + more) as hub:
        plane = ControlPlane(
            directory / "data",
            database_url,
            ELEMENT_OWNER="administrator",
            ELEMENT_RUN_CAPACITY="20",
            ELEMENT_HUB_API_URL=hub.api_url,
            ELEMENT_HUB_TOKEN_FILE=str(token_file),
            ELEMENT_HUB_SPAWNER_TOKEN_SHA256=digest(secret["hub"]),
            ELEMENT_AIRFLOW_TOKEN_SHA256=digest(secret["airflow"]),
        )
        both = HubPlane(hub, plane, database_url)
        try:
            both.tokens = {
                **secret,
                "administrator": (plane.data / "token").read_text().strip(),
                "suspended": both.person("sue"),
                **{name: both.person(name, f"{name}:lead", *PEOPLE[name]) for name in PEOPLE},
                "expired": both.expired_token("mia"),
            }
            for team in ("sales", "ops"):
                with hub.api() as api:
                    api.post(f"/users/team-{team}").raise_for_status()
            both.uploaded("mia")
            both.saved("mia")
            yield both
        finally:
            both.close()
            plane.end()
