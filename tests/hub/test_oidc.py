"""People and groups of a real OpenID Connect provider (the npm package oidc-provider)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from element_jupyter.platform.ports import free_port
from tests.hub.browsing import browsing
from tests.hub.signing_in import AUTHENTICATION, Visitor, refusal_in, xsrf_of
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import ROOT, wait_until

CONFIG = (
    AUTHENTICATION
    + """
from element_jupyter.hub.authentication.oidc import ElementOIDCAuthenticator
c.JupyterHub.authenticator_class = ElementOIDCAuthenticator
c.ElementOIDCAuthenticator.issuer = "http://127.0.0.1:{port}"
c.ElementOIDCAuthenticator.client_id = "hub"
c.ElementOIDCAuthenticator.client_secret_file = "client-secret"
c.ElementOIDCAuthenticator.login_service = "Example"
c.JupyterHub.allow_named_servers = True
"""
)
RULES = """
admins: {groups: [admins]}
teams:
  ml: {member: {groups: [ml]}}
"""


class Provider:
    """A provider of its own; a restart makes it forget every session."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.people = directory / "people.json"
        self.people.write_text("{}")
        self.hubs: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        node = shutil.which("node")
        assert node
        with (self.directory / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(node, "tests/hub/oidc_provider.mjs"),
                    *(str(self.port), str(self.people), *self.hubs),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        discovery = f"http://127.0.0.1:{self.port}/.well-known/openid-configuration"

        def answers() -> bool:
            try:
                return httpx.get(discovery, trust_env=False).is_success
            except httpx.HTTPError:
                return False

        wait_until(answers, 60, (self.directory / "provider.log").read_text)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def person(self, account: str, *groups: str, **other: object) -> None:
        known = json.loads(self.people.read_text())
        self.people.write_text(json.dumps({**known, account: {"groups": groups, **other}}))

    def without(self, name: str) -> None:
        known = json.loads(self.people.read_text())
        del known[name]
        self.people.write_text(json.dumps(known))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def hub(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "teams.yaml").write_text(RULES)
    (directory / "client-secret").write_text("secret-of-the-hub\n")
    with running_hub(directory, CONFIG.format(port=provider.port)) as hub:
        provider.hubs.append(hub.url)
        provider.start()
        yield hub


def sign_in(visitor: Visitor, name: str, target: str = "/hub/home") -> httpx.Response:
    """Go through the provider's own pages."""
    page = visitor.get("/hub/oauth_login", params={"next": target})
    for data in ({"prompt": "login", "login": name, "password": "any"}, {"prompt": "consent"}):
        form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert form, page.text
        page = visitor.post(form[1], data=data)
    return page


def signed_in(hub: RunningHub, name: str) -> Visitor:
    visitor = Visitor(hub.url)
    answer = sign_in(visitor, name)
    assert answer.is_success, answer.text
    return visitor


def whoami(hub: RunningHub, token: str) -> list[str]:
    with hub.api(token) as api:
        return sorted(api.get("/user").raise_for_status().json()["groups"])


def test_groups_in_a_claim_become_teams(hub, provider):
    provider.person("ada", "ml", "admins")
    provider.person("Bo.B@example.org", "ml")
    visitor = signed_in(hub, "ada")

    assert visitor.name == "ada"
    with hub.api() as api:
        model = api.get("/users/ada").json()
    assert sorted(model["groups"]) == ["ada:lead", "ml:member"]
    assert model["admin"]
    assert signed_in(hub, "Bo.B@example.org").name.startswith("bo.b-example.org-")


def test_somebody_in_no_team_is_told_whom_to_ask(hub, provider):
    provider.person("nobodys", "cooks")
    answer = sign_in(Visitor(hub.url), "nobodys")

    assert answer.status_code == 403
    assert (
        refusal_in(answer) == "nobodys is in no team here. Ask ops@example.org to add you to one."
    )


def test_a_name_stays_with_the_account_that_had_it_first(hub, provider):
    provider.person("account-1", "ml", name="kim")
    visitor = signed_in(hub, "account-1")
    assert visitor.name == "kim"
    provider.person("account-1", "ml", name="kim-of-old")
    wait_until(lambda: visitor.get("/hub/home").url.path == "/hub/login", 60)  # is not kim now
    provider.person("account-2", "ml", name="kim")
    answer = sign_in(Visitor(hub.url), "account-2")

    assert answer.status_code == 403
    assert "kim was the name of another before." in answer.text


def test_leaving_the_group_takes_rights_away_while_sessions_are_prolonged(hub, provider):
    provider.person("cy", "ml")
    visitor = signed_in(hub, "cy")
    token = hub.token_of("cy")
    # access tokens are good for two seconds: several rounds of refresh tokens, each good once
    deadline = time.monotonic() + 7
    while time.monotonic() < deadline:
        with ThreadPoolExecutor(4) as at_once:
            assert set(map(tuple, at_once.map(lambda _: whoami(hub, token), range(4)))) == {
                ("cy:lead", "ml:member")
            }
    assert visitor.name == "cy"

    provider.person("cy", "cooks")
    wait_until(lambda: whoami(hub, token) == [], 60)
    assert visitor.get("/hub/home").url.path == "/hub/login"


def test_who_is_disabled_at_the_provider_has_nothing_here(hub, provider):
    provider.person("di", "ml")
    signed_in(hub, "di")
    token = hub.token_of("di")

    provider.person("di", "ml", disabled=True)

    wait_until(lambda: whoami(hub, token) == [], 60)
    with hub.api() as api:
        assert api.post("/users/di/server").status_code == 403


def test_who_is_removed_is_gone_where_a_refusal_is_said_to_mean_that(provider, hub, tmp_path):
    directory = tmp_path / "hub"
    directory.mkdir()
    (directory / "teams.yaml").write_text(RULES)
    (directory / "client-secret").write_text("secret-of-the-hub")
    config = CONFIG + "c.ElementOIDCAuthenticator.refusal_means_gone = True\n"
    with running_hub(directory, config.format(port=provider.port)) as strict:
        provider.hubs.append(strict.url)
        provider.stop()
        provider.start()
        provider.person("lee", "ml")
        signed_in(strict, "lee")
        token = strict.token_of("lee")
        assert whoami(strict, token) == ["lee:lead", "ml:member"]

        provider.without("lee")

        wait_until(lambda: whoami(strict, token) == [], 60)


def test_a_session_that_has_ended_asks_the_browser_to_sign_in_and_lets_runs_go_on(hub, provider):
    provider.person("ed", "ml")
    visitor = signed_in(hub, "ed")
    token = hub.token_of("ed")
    with hub.api(token) as api:
        api.post("/users/ed/server").raise_for_status()
    wait_until(lambda: hub.server("ed").get("ready"), 60)
    of_server = visitor.token_of_server("ed")

    provider.stop()
    provider.start()  # it has forgotten every session

    wait_until(lambda: visitor.get("/hub/home").url.path == "/hub/login", 60)
    with hub.api(of_server) as api:  # the browser's hold on the server is gone, too
        wait_until(lambda: api.get("/user").status_code == 403, 30)
    assert whoami(hub, token) == ["ed:lead", "ml:member"]
    with hub.api() as api:  # what is started for them, such as a run
        assert api.post("/users/ed/servers/run-1").status_code in {201, 202}
    # and the rules of today count for what was known
    (hub.directory / "teams.yaml").write_text(RULES.replace("  ml:", "  ml2:"))
    try:
        wait_until(lambda: whoami(hub, token) == ["ed:lead", "ml2:member"], 60)
    finally:
        (hub.directory / "teams.yaml").write_text(RULES)
    sign_in(visitor, "ed")
    assert visitor.name == "ed"


def test_a_provider_that_is_down_takes_nothing_from_anybody(hub, provider):
    provider.person("flo", "ml")
    visitor = signed_in(hub, "flo")
    token = hub.token_of("flo")
    provider.stop()
    try:

        def is_noticed() -> bool:
            assert whoami(hub, token) == ["flo:lead", "ml:member"]
            return "What is known of flo holds" in hub.log()

        wait_until(is_noticed, 60)
        assert visitor.name == "flo"
    finally:
        provider.start()


def test_tokens_are_kept_encrypted_and_in_no_log(hub, provider):
    provider.person("gil", "ml")
    signed_in(hub, "gil")
    with hub.api() as api:
        state = api.get("/users/gil").json()["auth_state"]
    kept = (hub.directory / "jupyterhub.sqlite").read_bytes()

    for name in ("access_token", "refresh_token"):
        assert state[name]
        assert state[name].encode() not in kept
        assert state[name] not in hub.log()
    assert "secret-of-the-hub" not in hub.log()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_signing_in_leads_to_no_other_site(hub, provider, target):
    provider.person("hal", "ml")
    visitor = Visitor(hub.url)
    page = visitor.get("/hub/oauth_login", params={"next": target})
    visitor.follow_redirects = False
    form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    page = visitor.post(form[1], data={"prompt": "login", "login": "hal", "password": "any"})
    for _ in range(12):
        if page.is_redirect:
            location = page.headers["location"]
            assert httpx.URL(location).host in {"", "127.0.0.1"}, location
            page = visitor.get(page.next_request.url)
        elif form := re.search(r'<form[^>]*action="([^"]+)"', page.text):
            page = visitor.post(form[1], data={"prompt": "consent"})
        else:
            break


def test_an_answer_of_the_provider_is_good_for_one_browser_and_once(hub, provider):
    provider.person("ivo", "ml")
    visitor = Visitor(hub.url)
    seen: list[str] = []
    visitor.event_hooks = {"request": [lambda request: seen.append(str(request.url))]}
    sign_in(visitor, "ivo")
    callback = next(url for url in seen if "/hub/oauth_callback?" in url)

    assert visitor.get(callback).status_code == 400  # again
    assert Visitor(hub.url).get(callback).status_code == 400  # in a browser that did not ask
    planted = "0123456789abcdef0123456789abcdef"
    fixed = Visitor(hub.url)
    fixed.cookies.set("jupyterhub-session-id", planted, domain="127.0.0.1", path="/")
    sign_in(fixed, "ivo")
    assert fixed.name == "ivo"
    assert planted not in {cookie.value for cookie in fixed.cookies.jar}
    assert xsrf_of(fixed.get("/hub/home"))


def test_the_token_that_says_who_signs_out_is_in_no_log(hub, provider):
    provider.person("kay", "ml")
    visitor = signed_in(hub, "kay")
    visitor.follow_redirects = False
    target = httpx.URL(
        visitor.get("/hub/logout", params={"next": "//evil.example"}).headers["location"]
    )

    assert (target.host, target.port) == ("127.0.0.1", provider.port)
    assert target.params["post_logout_redirect_uri"] == f"{hub.url}/hub/logout"
    assert target.params["id_token_hint"] not in hub.log()
    assert visitor.get("/hub/home").headers["location"].startswith("/hub/login")


def test_who_signs_out_while_the_provider_is_down_is_signed_out_here(hub, provider):
    provider.person("lou", "ml")
    visitor = signed_in(hub, "lou")
    provider.stop()
    try:
        visitor.follow_redirects = False
        answer = visitor.get("/hub/logout")
    finally:
        provider.start()
    assert answer.is_redirect
    assert visitor.get("/hub/home").headers["location"].startswith("/hub/login")


@pytest.mark.browser
def test_signing_in_and_out_with_a_browser(hub, provider):
    provider.person("joy", "ml")
    with browsing() as page:
        page.goto(f"{hub.url}/hub/login?next=/hub/home")
        page.get_by_role("button", name="Sign in with Example").click()
        page.get_by_placeholder("Enter any login").fill("joy")
        page.get_by_placeholder("and password").fill("any")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#login_widget")).to_contain_text("joy")

        page.locator("#logout").click()
        page.get_by_role("button", name="Yes, sign me out").click()  # the provider's own page
        page.wait_for_url(f"{hub.url}/hub/login")
        page.get_by_role("button", name="Sign in with Example").click()
        # its session has ended, too: whoever sits down here next is not let in as joy
        expect(page.get_by_placeholder("Enter any login")).to_be_visible()
