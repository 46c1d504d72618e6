"""A browser of few words: signs in at a Hub over HTTP, with cookies and the Hub's protection."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx

AUTHENTICATION = """
from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.core.teams import TeamRules
from pathlib import Path
rules = AdminFile(Path("teams.yaml"), TeamRules)
c.TeamsFromRules.rules = lambda: rules.value
c.TeamsFromRules.auth_refresh_age = 1
c.TeamsFromRules.ask = "ops@example.org"
c.CryptKeeper.keys = ["{key}"]
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = [{python!r}, {stub!r}]
c.JupyterHub.load_roles[0]["scopes"] += ["read:roles", "admin:auth_state", "read:hub"]
""".format(
    key="5" * 64, python=sys.executable, stub=str(Path(__file__).with_name("stub_server.py"))
)


class Visitor(httpx.Client):
    """Somebody at a Hub."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(
            base_url=url,
            timeout=30,
            follow_redirects=True,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # nothing is left to close
            **options,
        )

    def form(self, path: str, data: dict[str, str], page: str = "") -> httpx.Response:
        """Fill in the form on a page and send it."""
        shown = self.get(page or path)
        return self.post(path, data={"_xsrf": xsrf_of(shown), **data})

    def sign_in(self, username: str, password: str, **query: str) -> httpx.Response:
        shown = self.get("/hub/login", params=query)
        return self.post(
            "/hub/login",
            params=query,
            data={"_xsrf": xsrf_of(shown), "username": username, "password": password},
        )

    @property
    def name(self) -> str | None:
        """Whom the Hub takes this browser for."""
        answer = self.get("/hub/home")
        found = re.search(r'user: "([^"]+)"', answer.text)
        return found[1] if found and answer.url.path == "/hub/home" else None

    def token_of_person(self) -> str:
        """Make a token with all that its person may do, as on the Hub's page for it."""
        xsrf = xsrf_of(self.get("/hub/token"))
        answer = self.post(
            f"/hub/api/users/{self.name}/tokens", params={"_xsrf": xsrf}, json={"note": "tests"}
        )
        return str(answer.raise_for_status().json()["token"])

    def token_of_server(self, user: str) -> str:
        """Sign in at a person's running server, which then holds a token for this browser."""
        server = self.get(f"/user/{user}/").raise_for_status().json()
        client = {
            "client_id": server["JUPYTERHUB_CLIENT_ID"],
            "redirect_uri": server["JUPYTERHUB_OAUTH_CALLBACK_URL"],
        }
        answer = self.get(
            "/hub/api/oauth2/authorize",
            params={**client, "response_type": "code", "state": "s"},
            follow_redirects=False,
        )
        code = httpx.URL(answer.headers["location"]).params["code"]
        answer = self.post(
            "/hub/api/oauth2/token",
            data={
                **client,
                "client_secret": server["JUPYTERHUB_API_TOKEN"],
                "grant_type": "authorization_code",
                "code": code,
            },
        )
        return str(answer.raise_for_status().json()["access_token"])


def xsrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="_xsrf" value="([^"]+)"|xsrf_token: "([^"]+)"', page.text)
    assert found, page.text
    return found[1] or found[2]


def refusal_in(page: httpx.Response) -> str:
    """The sentence with which a page refuses."""
    found = re.search(
        r'class="(?:login_error|alert alert-danger)[^>]*>(.*?)</(?:p|div)>', page.text, re.DOTALL
    )
    assert found, page.text
    return " ".join(re.sub(r"<[^>]+>", "", found[1]).split())
