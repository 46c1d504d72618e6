"""People and groups of a real Active Directory domain, which Samba serves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import ldap3
import pytest

from element_jupyter.core.errors import Unavailable
from element_jupyter.hub.authentication.directory import Directory, Layout
from tests.hub.samba import (
    DISABLED,
    DOMAIN,
    ENABLED,
    GROUPS,
    PASSWORD,
    PEOPLE,
    SERVICE_DN,
    SUFFIX,
    ActiveDirectory,
    needs_samba,
    running_active_directory,
)
from tests.hub.signing_in import AUTHENTICATION, Visitor, refusal_in
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import wait_until

pytestmark = needs_samba

# as docs/how-to/sign-in.md tells
CONFIG = (
    AUTHENTICATION
    + """
c.JupyterHub.authenticator_class = "element-ldap"
c.ElementLDAPAuthenticator.server_address = "{address}"
c.ElementLDAPAuthenticator.tls_kwargs = {{"ca_certs_file": "{certificate}"}}
c.ElementLDAPAuthenticator.lookup_dn = True
c.ElementLDAPAuthenticator.lookup_dn_search_user = "{service}"
c.ElementLDAPAuthenticator.search_password_file = "service-password"
c.ElementLDAPAuthenticator.user_search_base = "{suffix}"
c.ElementLDAPAuthenticator.user_attribute = "sAMAccountName"
c.ElementLDAPAuthenticator.lookup_dn_search_filter = (
    "(&(objectCategory=person)(|({{login_attr}}={{login}})(userPrincipalName={{login}})))"
)
c.ElementLDAPAuthenticator.group_search_base = "{suffix}"
"""
)
RULES = f"""
admins: {{groups: [Platform Admins]}}
teams:
  ml: {{member: {{groups: ['CN=ML,{GROUPS}']}}}}
  ops: {{viewer: {{groups: [ops]}}}}
"""
_SECONDS_TO_1970 = 11_644_473_600
"""From 1601, when Active Directory's time begins."""


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActiveDirectory]:
    with running_active_directory(tmp_path_factory.mktemp("ad")) as domain:
        ada = domain.add_person("Ada.L", "Lovelace, Ada (Analytics)")
        bo = domain.add_person("bo", "Bo")
        domain.add_person("nobodys", "Nobody's")
        core = domain.add_group("ML core", ada)
        inner = domain.add_group("ML inner", core)
        ml = domain.add_group("ML", inner)
        domain.change(core, "member", ldap3.MODIFY_ADD, ml)  # a circle
        domain.add_group("ops", bo)
        domain.add_group("Platform Admins", bo)
        yield domain


@pytest.fixture(scope="module")
def hub(domain: ActiveDirectory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "teams.yaml").write_text(RULES)
    (directory / "service-password").write_text(PASSWORD)
    config = CONFIG.format(
        address=domain.address, certificate=domain.certificate, service=SERVICE_DN, suffix=SUFFIX
    )
    with running_hub(directory, config) as hub:
        yield hub


def signed_in(hub: RunningHub, name: str) -> Visitor:
    visitor = Visitor(hub.url)
    answer = visitor.sign_in(name, PASSWORD, next="/hub/home")
    assert answer.is_success, answer.text
    return visitor


def whoami(hub: RunningHub, token: str) -> list[str]:
    with hub.api(token) as api:
        return sorted(api.get("/user").raise_for_status().json()["groups"])


@pytest.mark.parametrize("typed", ["Ada.L", "ada.l", "ADA.L", f"ada.l@{DOMAIN}"])
def test_a_person_is_one_by_account_name_and_by_principal_name(hub, typed):
    visitor = signed_in(hub, typed)

    assert visitor.name == "ada.l"
    assert whoami(hub, hub.token_of("ada.l")) == ["ada.l:lead", "ml:member"]


def test_a_group_s_name_gives_a_team_and_administration(hub):
    signed_in(hub, "bo")

    assert whoami(hub, hub.token_of("bo")) == ["bo:lead", "ops:viewer"]
    with hub.api() as api:
        assert api.get("/users/bo").json()["admin"]


def test_the_directory_itself_follows_groups_in_groups(domain):
    # one search whatever the depth: following them here would end after one
    layout = Layout(
        host=domain.address,
        port=389,
        encryption="starttls",
        tls={"ca_certs_file": str(domain.certificate)},
        service_dn=SERVICE_DN,
        service_password=PASSWORD,
        people_base=PEOPLE,
        person_attribute="sAMAccountName",
        groups_base=GROUPS,
        depth=1,
    )
    entry, found = Directory(layout).look_up("ada.l") or (None, frozenset())

    assert entry is not None
    assert {"ML core", "ML inner", "ML", f"cn=ml,{GROUPS}".lower()} <= found


@pytest.mark.parametrize("name", ["*", "a*", "ada.l)(objectClass=*", "EXAMPLE\\bo", "hub@x"])
def test_what_is_typed_is_a_name_and_nothing_else(hub, name):
    answer = Visitor(hub.url).sign_in(name, PASSWORD)

    assert answer.status_code == 403
    assert refusal_in(answer) == "Invalid username or password"


def test_somebody_in_no_team_is_told_whom_to_ask(hub):
    answer = Visitor(hub.url).sign_in("nobodys", PASSWORD)

    assert answer.status_code == 403
    assert refusal_in(answer).endswith("Ask ops@example.org to add you to one.")


def test_leaving_the_inmost_group_takes_rights_away(hub, domain):
    dn = domain.add_person("di", "Di")
    core = f"CN=ML core,{GROUPS}"
    domain.change(core, "member", ldap3.MODIFY_ADD, dn)
    visitor = signed_in(hub, "di")
    token = hub.token_of("di")
    assert whoami(hub, token) == ["di:lead", "ml:member"]

    began = time.monotonic()
    domain.change(core, "member", ldap3.MODIFY_DELETE, dn)

    wait_until(lambda: whoami(hub, token) == [], 60)
    assert time.monotonic() - began < 60
    assert visitor.get("/hub/home").url.path == "/hub/login"
    domain.change(core, "member", ldap3.MODIFY_ADD, dn)
    wait_until(lambda: whoami(hub, token) == ["di:lead", "ml:member"], 60)


def test_an_account_that_is_disabled_expired_or_removed_has_nothing_here(hub, domain):
    dn = domain.add_person("flo", "Flo")
    domain.change(f"CN=ML inner,{GROUPS}", "member", ldap3.MODIFY_ADD, dn)
    signed_in(hub, "flo")
    token = hub.token_of("flo")
    everything = ["flo:lead", "ml:member"]

    yesterday = str(int((time.time() - 86_400 + _SECONDS_TO_1970) * 10_000_000))
    for attribute, gone, back in (
        ("userAccountControl", DISABLED, ENABLED),
        ("accountExpires", yesterday, "0"),
    ):
        domain.change(dn, attribute, ldap3.MODIFY_REPLACE, gone)
        wait_until(lambda: whoami(hub, token) == [], 60)
        with hub.api() as api:
            assert api.post("/users/flo/server").status_code == 403
        assert Visitor(hub.url).sign_in("flo", PASSWORD).status_code == 403
        domain.change(dn, attribute, ldap3.MODIFY_REPLACE, back)
        wait_until(lambda: whoami(hub, token) == everything, 60)

    domain.remove(dn)
    wait_until(lambda: whoami(hub, token) == [], 60)
    domain.add_person("flo", "Flo")  # somebody else, years later, under the same names
    domain.change(f"CN=ML inner,{GROUPS}", "member", ldap3.MODIFY_ADD, dn)
    answer = Visitor(hub.url).sign_in("flo", PASSWORD)
    assert answer.status_code == 403
    assert "flo was the name of another before" in refusal_in(answer)


def test_a_certificate_that_nobody_vouches_for_is_refused(domain):
    layout = Layout(host=domain.address, port=636, encryption="ldaps", timeout_seconds=5)

    with pytest.raises(Unavailable, match="does not answer"):
        Directory(layout).sign_in("bo", PASSWORD)
