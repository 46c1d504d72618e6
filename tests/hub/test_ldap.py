"""People and groups of a real OpenLDAP server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import ldap3
import pytest
from playwright.sync_api import expect

from element_jupyter.core.errors import Unavailable
from element_jupyter.hub.authentication.directory import Directory, Layout
from tests.hub.browsing import browsing
from tests.hub.signing_in import AUTHENTICATION, Visitor, refusal_in
from tests.hub.slapd import SERVICE_DN, SERVICE_PASSWORD, SUFFIX, Slapd, running_slapd
from tests.hub_fixture import RunningHub, running_hub
from tests.hub_platform import hub_platform
from tests.platform_fixture import wait_until

PASSWORD = "secret password"

CONFIG = (
    AUTHENTICATION
    + """
from element_jupyter.hub.authentication.ldap import ElementLDAPAuthenticator
c.JupyterHub.authenticator_class = ElementLDAPAuthenticator
c.ElementLDAPAuthenticator.server_address = "127.0.0.1"
c.ElementLDAPAuthenticator.server_port = {port}
c.ElementLDAPAuthenticator.tls_kwargs = {{"ca_certs_file": "{certificate}"}}
c.ElementLDAPAuthenticator.lookup_dn = True
c.ElementLDAPAuthenticator.lookup_dn_search_user = "{service}"
c.ElementLDAPAuthenticator.search_password_file = "service-password"
c.ElementLDAPAuthenticator.user_search_base = "ou=people,{suffix}"
c.ElementLDAPAuthenticator.user_attribute = "uid"
c.ElementLDAPAuthenticator.group_search_base = "ou=groups,{suffix}"
c.ElementLDAPAuthenticator.timeout_seconds = 5
"""
)

RULES = f"""
admins: {{groups: [platform-admins]}}
teams:
  ml: {{member: {{groups: ['cn=ml,ou=groups,{SUFFIX}']}}}}
  old: {{viewer: {{groups: [old-unix]}}}}
  unique: {{lead: {{groups: [unique]}}}}
"""


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with running_slapd(tmp_path_factory.mktemp("slapd")) as slapd:
        everyone = {name: slapd.add_person(name) for name in ("ada", "bo", "cy", "di", "Eve.X")}
        core = slapd.add_group("ml-core", everyone["ada"], everyone["di"])
        inner = slapd.add_group("ml-inner", core)
        ml = slapd.add_group("ml", inner)
        slapd.change(core, "member", ldap3.MODIFY_ADD, ml)  # a circle
        slapd.add_group("old-unix", "bo", kind="posixGroup")
        slapd.add_group("unique", everyone["cy"], kind="groupOfUniqueNames")
        slapd.add_group("platform-admins", everyone["cy"], everyone["Eve.X"])
        slapd.add_person("nobodys")
        yield slapd


@pytest.fixture(scope="module")
def hub(slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "teams.yaml").write_text(RULES)
    (directory / "service-password").write_text(SERVICE_PASSWORD)
    config = CONFIG.format(
        port=slapd.port, certificate=slapd.certificate, service=SERVICE_DN, suffix=SUFFIX
    )
    with running_hub(directory, config) as hub:
        yield hub


def signed_in(hub: RunningHub, name: str) -> Visitor:
    visitor = Visitor(hub.url)
    answer = visitor.sign_in(name, PASSWORD, next="/hub/home")
    assert answer.is_success, answer.text
    return visitor


def groups(hub: RunningHub, name: str) -> list[str]:
    with hub.api() as api:
        return sorted(api.get(f"/users/{name}").raise_for_status().json()["groups"])


def whoami(hub: RunningHub, token: str) -> list[str]:
    with hub.api(token) as api:
        return sorted(api.get("/user").raise_for_status().json()["groups"])


def layout(slapd: Slapd, **other: object) -> Layout:
    settings: dict = {
        "host": "127.0.0.1",
        "port": slapd.port,
        "encryption": "starttls",
        "tls": {"ca_certs_file": str(slapd.certificate)},
        "service_dn": SERVICE_DN,
        "service_password": SERVICE_PASSWORD,
        "people_base": f"ou=people,{SUFFIX}",
        "groups_base": f"ou=groups,{SUFFIX}",
        "timeout_seconds": 5,
    }
    return Layout(**settings | other)


def test_groups_in_groups_become_teams_though_they_go_in_a_circle(hub):
    for name in ("ada", "bo", "cy"):
        signed_in(hub, name)

    assert groups(hub, "ada") == ["ada:lead", "ml:member"]
    assert groups(hub, "bo") == ["bo:lead", "old:viewer"]
    assert groups(hub, "cy") == ["cy:lead", "unique:lead"]
    with hub.api() as api:
        assert api.get("/users/cy").json()["admin"]


def test_a_person_is_one_however_the_name_is_typed(hub):
    assert signed_in(hub, "eve.x").name == "eve.x"
    assert signed_in(hub, " EVE.X ").name == "eve.x"


def test_somebody_in_no_team_is_told_whom_to_ask(hub):
    answer = Visitor(hub.url).sign_in("nobodys", PASSWORD)

    assert answer.status_code == 403
    assert refusal_in(answer).endswith("Ask ops@example.org to add you to one.")


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "a*",
        "ada)(uid=*",
        "*)(objectClass=*",
        "ada\\2a",
        "ada,ou=people",
        "",
        "x" * 400,
    ],
)
def test_what_is_typed_is_a_name_and_nothing_else(hub, name):
    answer = Visitor(hub.url).sign_in(name, PASSWORD)

    assert answer.status_code == 403
    assert refusal_in(answer) == "Invalid username or password"


@pytest.mark.parametrize("password", ["", " ", "wrong", "\0"])
def test_an_empty_or_wrong_password_lets_nobody_in(hub, password):
    answer = Visitor(hub.url).sign_in("cy", password)

    assert answer.status_code == 403
    assert refusal_in(answer) == "Invalid username or password"


def test_guessing_is_slowed_down(hub, slapd):
    slapd.add_person("guessed")
    visitor = Visitor(hub.url)
    answers = [visitor.sign_in("guessed", f"guess number {number}") for number in range(7)]

    assert answers[-1].status_code == 429
    assert "Too many wrong attempts" in refusal_in(answers[-1])


def test_leaving_the_group_takes_rights_away_on_token_and_cookie(hub, slapd):
    visitor = signed_in(hub, "di")
    token = hub.token_of("di")
    with hub.api(token) as api:
        api.post("/users/di/server").raise_for_status()
    wait_until(lambda: hub.server("di").get("ready"), 60)
    of_server = visitor.token_of_server("di")
    core = f"cn=ml-core,ou=groups,{SUFFIX}"

    began = time.monotonic()
    slapd.change(core, "member", ldap3.MODIFY_DELETE, f"uid=di,ou=people,{SUFFIX}")

    wait_until(lambda: whoami(hub, token) == [], 60)
    assert time.monotonic() - began < 60
    assert visitor.get("/hub/home").url.path == "/hub/login"
    with hub.api(of_server) as api:  # what a running server holds for the browser
        assert api.get("/user").status_code == 403
    slapd.change(core, "member", ldap3.MODIFY_ADD, f"uid=di,ou=people,{SUFFIX}")
    wait_until(lambda: whoami(hub, token) == ["di:lead", "ml:member"], 60)


def test_who_is_locked_or_removed_in_the_directory_has_nothing_here(hub, slapd):
    dn = slapd.add_person("flo")
    slapd.add_group("flo-group", dn)
    slapd.change(f"cn=ml,ou=groups,{SUFFIX}", "member", ldap3.MODIFY_ADD, dn)
    signed_in(hub, "flo")
    token = hub.token_of("flo")

    slapd.change(dn, "pwdAccountLockedTime", ldap3.MODIFY_ADD, "000001010000Z")
    wait_until(lambda: whoami(hub, token) == [], 60)
    assert Visitor(hub.url).sign_in("flo", PASSWORD).status_code == 403

    slapd.change(dn, "pwdAccountLockedTime", ldap3.MODIFY_DELETE)
    wait_until(lambda: whoami(hub, token) == ["flo:lead", "ml:member"], 60)
    slapd.remove(dn)
    wait_until(lambda: whoami(hub, token) == [], 60)
    with hub.api() as api:
        assert api.post("/users/flo/server").status_code == 403

    anew = slapd.add_person("flo")  # somebody else, years later
    slapd.change(f"cn=ml,ou=groups,{SUFFIX}", "member", ldap3.MODIFY_REPLACE, SERVICE_DN, anew)
    try:
        answer = Visitor(hub.url).sign_in("flo", PASSWORD)
        assert answer.status_code == 403
        assert "flo was the name of another before" in refusal_in(answer)
    finally:
        inner = f"cn=ml-inner,ou=groups,{SUFFIX}"
        slapd.change(f"cn=ml,ou=groups,{SUFFIX}", "member", ldap3.MODIFY_REPLACE, inner)


def test_a_directory_that_is_down_takes_nothing_from_anybody(hub, slapd):
    visitor = signed_in(hub, "ada")
    token = hub.token_of("ada")
    slapd.stop()
    try:

        def is_noticed() -> bool:
            assert whoami(hub, token) == ["ada:lead", "ml:member"]
            return "What is known of ada holds" in hub.log()

        wait_until(is_noticed, 60)
        assert visitor.name == "ada"
        with hub.api(token) as api:
            assert api.post("/users/ada/server").status_code in {201, 202}
        # what teams.yaml says goes on to count
        (hub.directory / "teams.yaml").write_text(RULES.replace("  ml:", "  ml2:"))
        wait_until(lambda: whoami(hub, token) == ["ada:lead", "ml2:member"], 60)
        (hub.directory / "teams.yaml").write_text(RULES)
        answer = Visitor(hub.url).sign_in("ada", PASSWORD)
        assert answer.status_code == 503
        assert refusal_in(answer) == "The directory does not answer. Try again in a moment."
    finally:
        slapd.start()
    wait_until(lambda: whoami(hub, token) == ["ada:lead", "ml:member"], 60)


def test_a_certificate_that_nobody_vouches_for_is_refused(slapd):
    with pytest.raises(Unavailable, match="does not answer"):
        Directory(layout(slapd, tls={})).sign_in("ada", PASSWORD)


def test_a_service_account_that_sees_nobody_makes_nobody_gone(slapd):
    blind = layout(slapd, service_dn=None, service_password=None)

    with pytest.raises(Unavailable, match="does not show"):
        Directory(blind).look_up("ada")


def test_people_may_be_found_by_a_template_of_their_dn(slapd):
    directory = Directory(
        layout(slapd, people_base="", person_dns=(f"uid={{username}},ou=people,{SUFFIX}",))
    )

    entry, found = directory.sign_in("ADA", PASSWORD) or (None, frozenset())
    assert entry is not None
    assert entry.name == "ada"
    assert "ml" in found
    assert directory.sign_in(f"ada,ou=people,{SUFFIX}", PASSWORD) is None
    assert directory.look_up("nobody") is None


def test_groups_deeper_than_allowed_are_not_followed(slapd):
    directory = Directory(layout(slapd, depth=2))
    _, found = directory.look_up("ada") or (None, frozenset())

    assert {"ml-core", "ml-inner"} <= found
    assert "ml" not in found


@pytest.mark.parametrize(("owner", "known"), [("ada", "here"), ("bo", "not yet"), ("x*", "nobody")])
def test_the_platform_learns_whether_its_owner_is_one_of_the_directory(hub, owner, known):
    signed_in(hub, "ada")
    with hub.api() as api:
        said = api.get("/element/sign-in", params={"owner": owner}).raise_for_status().json()
        user = api.get("/users/bo")

    if user.is_success and user.json()["groups"]:  # another test has signed bo in
        known = known.replace("not yet", "here")
    assert said == {
        "accounts": False,
        "source": "the directory 127.0.0.1",
        "admins": ["platform-admins"],
        "owner": known,
    }
    with hub.api(hub.token_of("ada")) as api:
        assert api.get("/element/sign-in", params={"owner": owner}).status_code == 403


def test_up_says_where_people_sign_in_and_that_its_owner_is_none_of_them(slapd, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "teams.yaml").write_text(RULES)
    (data / "service-password").write_text(SERVICE_PASSWORD)
    settings = CONFIG.removeprefix(AUTHENTICATION).format(
        port=slapd.port, certificate=slapd.certificate, service=SERVICE_DN, suffix=SUFFIX
    )
    (data / "jupyterhub_config.py").write_text(
        "from traitlets.config import get_config\n"
        "from element_jupyter.platform.hub.configure import configure\n"
        "c = get_config()\nconfigure(c)\n"
        + settings.replace('"service-password"', repr(str(data / "service-password")))
    )
    with hub_platform(tmp_path, ELEMENT_OWNER="nobody-there") as running:
        wait_until(lambda: "Ctrl-C stops" in running.platform.log())
        said = running.platform.log()
        visitor = Visitor(running.url)
        visitor.sign_in("cy", PASSWORD, next="/hub/home")

        assert visitor.name == "cy"
        assert visitor.get("/hub/admin").is_success
    assert "People sign in with what the directory 127.0.0.1 knows of them." in said
    assert "these administer it: platform-admins." in said
    assert "Element.owner is nobody-there, of whom the directory 127.0.0.1 knows nothing" in said
    assert "invitation" not in said


@pytest.mark.browser
def test_signing_in_with_a_browser(hub):
    with browsing() as page:
        page.goto(f"{hub.url}/hub/login?next=/hub/home")
        page.get_by_label("Username:").fill("bo")
        page.get_by_label("Password:").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Invalid username or password")).to_be_visible()
        page.get_by_label("Password:").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#login_widget")).to_contain_text("bo")
