"""People without a directory: invitations, passwords, and what attackers try."""

from __future__ import annotations

import itertools
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import httpx
import pytest
from playwright.sync_api import expect

from element_jupyter.hub.authentication.accounts import first_admin_link
from tests.hub.browsing import browsing
from tests.hub.signing_in import AUTHENTICATION, Visitor, refusal_in
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import wait_until

CONFIG = (
    AUTHENTICATION
    + """
c.JupyterHub.authenticator_class = "element_jupyter.hub.authentication.local.ElementLocalAuthenticator"
"""
)
PASSWORD = "correct horse battery"
names = (f"person{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "teams.yaml").write_text("teams: {ml: {title: Machine learning}}")
    with running_hub(directory, CONFIG) as hub:
        yield hub


@pytest.fixture(scope="module")
def admin(hub: RunningHub) -> Visitor:
    link = first_admin_link(hub.directory / "people.sqlite", hub.url, "root-of-all")
    visitor = Visitor(hub.url)
    answer = accept(visitor, secret_of(link), "root-of-all")
    assert answer.is_success
    return visitor


def secret_of(link: str | None) -> str:
    assert link
    return link.partition("#")[2]


def accept(visitor: Visitor, secret: str, name: str = "", password: str = PASSWORD):
    return visitor.form(
        "/hub/invitation",
        {
            "secret": secret,
            "name": name,
            "password": password,
            "again": password,
            "next": "/hub/home",
        },
    )


def invite(admin: Visitor, **said: str) -> str:
    page = admin.form("/hub/people", {"action": "invite", **said})
    return secret_of(unescape(re.search(r'id="link"[^>]*value="([^"]+)"', page.text)[1]))


def stranger(hub: RunningHub, address: str) -> Visitor:
    """Somebody elsewhere, whose wrong passwords do not slow the other tests down."""
    once = httpx.Limits(max_keepalive_connections=0)
    return Visitor(hub.url, transport=httpx.HTTPTransport(local_address=address, limits=once))


def newcomer(hub: RunningHub, admin: Visitor, **said: str) -> tuple[str, Visitor]:
    """Somebody who has just signed up."""
    name = next(names)
    visitor = Visitor(hub.url)
    accept(visitor, invite(admin, **said), name)
    assert visitor.name == name
    return name, visitor


def groups(hub: RunningHub, name: str) -> list[str]:
    with hub.api() as api:
        return sorted(api.get(f"/users/{name}").raise_for_status().json()["groups"])


def takes(hub: RunningHub, token: str) -> bool:
    with hub.api(token) as api:
        return api.get("/user").is_success


# -------------------------------------------------------------------------------- signing up


def test_the_first_administrator_signs_up_by_a_link_that_is_good_once(tmp_path):
    directory = tmp_path / "hub"
    directory.mkdir()
    (directory / "teams.yaml").write_text("{}")
    with running_hub(directory, CONFIG) as hub:
        file = directory / "people.sqlite"
        earlier = first_admin_link(file, hub.url, "ada")
        link = first_admin_link(file, hub.url, "ada")
        assert link.startswith(f"{hub.url}/hub/invitation#")

        assert accept(Visitor(hub.url), secret_of(earlier), "mallory").status_code == 404
        visitor = Visitor(hub.url)
        accept(visitor, secret_of(link), "ada")

        assert visitor.name == "ada"
        assert visitor.get("/hub/people").is_success
        assert accept(Visitor(hub.url), secret_of(link), "mallory").status_code == 404
        assert first_admin_link(file, hub.url, "ada") is None
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert secret_of(link) not in hub.log()


def test_an_invitation_brings_its_teams(hub, admin):
    name, _ = newcomer(hub, admin, teams="ml:viewer, ops")

    assert groups(hub, name) == ["ml:viewer", "ops:member", f"{name}:lead"]


def test_an_invitation_is_good_once_even_for_many_at_the_same_moment(hub, admin):
    secret = invite(admin)
    visitors = [Visitor(hub.url) for _ in range(4)]
    with ThreadPoolExecutor(4) as at_once:
        taken = [next(names) for _ in visitors]
        answers = list(
            at_once.map(
                lambda pair: accept(pair[0], secret, pair[1]), zip(visitors, taken, strict=True)
            )
        )

    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert accept(Visitor(hub.url), secret, next(names)).status_code == 404


def test_an_invitation_for_a_name_makes_that_name_and_no_other(hub, admin):
    name = next(names)
    visitor = Visitor(hub.url)
    accept(visitor, invite(admin, name=name), "somebody-else")

    assert visitor.name == name


@pytest.mark.parametrize("name", ["ml", "root", "team-ml", "element-x", "root-of-all"])
def test_a_name_that_is_taken_is_refused_and_the_invitation_stays_good(hub, admin, name):
    secret = invite(admin)
    answer = accept(Visitor(hub.url), secret, name)
    assert answer.status_code == 409
    assert refusal_in(answer) == f"{name} is taken. Choose another name."

    assert accept(Visitor(hub.url), secret, next(names)).is_success


@pytest.mark.parametrize("name", ["../etc", "a b", "x" * 31, "ädä", "a--b-0123456789abcdef", ""])
def test_a_name_that_is_no_name_is_refused(hub, admin, name):
    assert accept(Visitor(hub.url), invite(admin), name).status_code in {400, 409}


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "x" * 300])
def test_a_bad_password_is_refused_with_a_reason(hub, admin, password):
    answer = accept(Visitor(hub.url), invite(admin), next(names), password)

    assert answer.status_code == 400
    assert "The password is too" in refusal_in(answer)


def test_only_administrators_see_and_invite_people(hub, admin):
    _, visitor = newcomer(hub, admin)

    assert visitor.get("/hub/people").status_code == 403
    assert Visitor(hub.url).get("/hub/people").url.path == "/hub/login"
    for path in ("/hub/people", "/hub/password", "/hub/invitation", "/hub/login"):
        forged = admin.post(path, data={"action": "invite"})
        assert forged.status_code == 403, path  # no token of the page: another site's form


def test_a_link_that_was_withdrawn_is_not_good(hub, admin):
    secret = invite(admin)
    page = admin.get("/hub/people").text
    link = re.findall(
        r'name="action" value="withdraw">\s*<input type="hidden" name="person" value="(\w+)"', page
    )[-1]
    admin.form("/hub/people", {"action": "withdraw", "person": link})

    assert accept(Visitor(hub.url), secret, next(names)).status_code == 404


@pytest.mark.browser
def test_an_invitation_is_accepted_in_a_browser(hub, admin):
    name, secret = next(names), invite(admin, teams="ml:viewer")
    with browsing() as page:
        page.goto(f"{hub.url}/hub/invitation#{secret}")
        expect(page.get_by_text("root-of-all invites you, into ml (viewer).")).to_be_visible()
        assert secret not in page.url  # nor in the history
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same again").fill(f"{PASSWORD}!")
        page.get_by_role("button", name="Sign up").click()
        expect(page.get_by_role("alert")).to_have_text("The two passwords differ. Type both again.")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        page.wait_for_url(f"**/user/{name}/")

        page.goto(f"{hub.url}/hub/logout")
        page.goto(f"{hub.url}/hub/login?next=/hub/home")
        page.get_by_label("Username:").fill(name)
        page.get_by_label("Password:").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#login_widget")).to_contain_text(name)
        page.get_by_role("link", name="Password").click()
        expect(page.get_by_role("heading", name="Change your password")).to_be_visible()


# ---------------------------------------------------------------------- losing and getting back


def test_who_is_suspended_is_out_at_once_and_back_when_reinstated(hub, admin):
    name, visitor = newcomer(hub, admin, teams="ml:member")
    token = hub.token_of(name)

    admin.form("/hub/people", {"action": "suspend", "person": name})

    assert groups(hub, name) == []
    assert visitor.name is None
    with hub.api(token) as api:
        assert api.get("/user").json()["scopes"] == []
    assert Visitor(hub.url).sign_in(name, PASSWORD).status_code == 403
    admin.form("/hub/people", {"action": "reinstate", "person": name})
    again = Visitor(hub.url)
    again.sign_in(name, PASSWORD, next="/hub/home")
    assert again.name == name
    assert "ml:member" in groups(hub, name)


def test_an_administrator_changes_teams_but_cannot_suspend_themselves(hub, admin):
    name, _ = newcomer(hub, admin, teams="ml:member")
    admin.form("/hub/people", {"action": "teams", "person": name, "teams": "ops:lead"})
    assert groups(hub, name) == ["ops:lead", f"{name}:lead"]

    answer = admin.form("/hub/people", {"action": "suspend", "person": "root-of-all"})
    assert answer.status_code == 400
    assert admin.name == "root-of-all"


def test_a_changed_password_ends_every_other_session(hub, admin):
    name, visitor = newcomer(hub, admin)
    other = Visitor(hub.url)
    other.sign_in(name, PASSWORD, next="/hub/home")
    assert other.name == name
    # and what the other browser holds for the person's own server
    with hub.api() as api:
        api.post(f"/users/{name}/server").raise_for_status()
    wait_until(lambda: hub.server(name).get("ready"), 60)
    token_of_server = other.token_of_server(name)
    own_token = hub.token_of(name)
    assert takes(hub, token_of_server)

    new = "another fine password"
    wrong = visitor.form("/hub/password", {"now": "wrong", "password": new, "again": new})
    assert refusal_in(wrong) == "The present password is not right."
    done = visitor.form("/hub/password", {"now": PASSWORD, "password": new, "again": new})

    assert "Your password is changed" in done.text
    assert visitor.name == name
    assert other.name is None
    assert not takes(hub, token_of_server)
    assert hub.server(name).get("ready")  # servers and runs go on
    assert takes(hub, own_token)
    assert Visitor(hub.url).sign_in(name, PASSWORD).status_code == 403
    assert Visitor(hub.url).sign_in(name, new, next="/hub/home").is_success


def test_a_link_for_a_new_password_ends_sessions_and_is_good_once(hub, admin):
    name, visitor = newcomer(hub, admin)
    page = admin.form("/hub/people", {"action": "password", "person": name})
    secret = secret_of(unescape(re.search(r'id="link"[^>]*value="([^"]+)"', page.text)[1]))

    anew = Visitor(hub.url)
    accept(anew, secret, "ignored", "another fine password")

    assert anew.name == name
    assert visitor.name is None
    assert accept(Visitor(hub.url), secret, "ignored").status_code == 404


# --------------------------------------------------------------------------------- attacks


def test_guessing_is_slowed_down_whatever_address_it_pretends_to_come_from(hub, admin):
    name, _ = newcomer(hub, admin)
    visitor = stranger(hub, "127.0.0.71")
    answers = []
    while not answers or answers[-1].status_code != 429:  # the first pauses are short
        visitor.headers["X-Forwarded-For"] = f"198.51.100.{len(answers)}"
        answers.append(visitor.sign_in(name, f"guess number {len(answers)}"))

    assert [answer.status_code for answer in answers[:5]] == [403] * 5
    assert len(answers) < 15
    assert re.match(r"Too many wrong attempts\. Try again in \d+ s\.", refusal_in(answers[-1]))
    assert "198.51.100." not in hub.log()
    # not even the right one is looked at meanwhile
    assert visitor.sign_in(name, PASSWORD).status_code == 429


def test_while_others_guess_a_person_signs_in_where_they_have_before_or_by_a_link(hub, admin):
    name, visitor = newcomer(hub, admin)
    _, somebody = newcomer(hub, admin)
    somebody.get("/hub/logout")
    guessing = stranger(hub, "127.0.0.72")
    said = ""
    while not re.search(r"again in ([89]|\d\d+) s", said):  # long enough for what follows
        answer = guessing.sign_in(name, "a wrong guess")
        said = refusal_in(answer)
    visitor.get("/hub/logout")

    for elsewhere in (Visitor(hub.url), somebody):  # not even where another is known
        assert elsewhere.sign_in(name, PASSWORD).status_code == 429
    visitor.sign_in(name, PASSWORD, next="/hub/home")
    assert visitor.name == name

    page = admin.form("/hub/people", {"action": "password", "person": name})
    secret = secret_of(unescape(re.search(r'id="link"[^>]*value="([^"]+)"', page.text)[1]))
    anew = Visitor(hub.url)
    accept(anew, secret, password="another fine password")
    assert anew.name == name


def test_an_unknown_user_name_is_told_like_a_wrong_password_and_as_slowly(hub, admin):
    name, _ = newcomer(hub, admin)

    def seconds(user: str) -> tuple[float, str]:
        visitor = Visitor(hub.url)
        visitor.get("/hub/login")
        began = time.perf_counter()
        answer = visitor.sign_in(user, "a wrong password")
        return time.perf_counter() - began, refusal_in(answer)

    known = [seconds(name) for _ in range(3)]
    unknown = [seconds(f"nobody{number}") for number in range(3)]

    assert {sentence for _, sentence in known} == {sentence for _, sentence in unknown}
    # comparing takes tens of milliseconds: whoever skips it is found out by a factor
    assert min(known)[0] < 3 * min(unknown)[0]


def test_a_session_that_was_planted_is_replaced_at_sign_in(hub, admin):
    name, _ = newcomer(hub, admin)
    planted = "0123456789abcdef0123456789abcdef"
    visitor = Visitor(hub.url)
    visitor.cookies.set("jupyterhub-session-id", planted, domain="127.0.0.1", path="/")
    visitor.sign_in(name, PASSWORD, next="/hub/home")

    assert visitor.name == name
    assert planted not in {cookie.value for cookie in visitor.cookies.jar}


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "///evil.example",
        "javascript:alert(1)",
    ],
)
def test_signing_in_leads_to_no_other_site(hub, admin, target):
    name, _ = newcomer(hub, admin)
    visitor = Visitor(hub.url)
    visitor.follow_redirects = False
    answer = visitor.sign_in(name, PASSWORD, next=target)

    assert answer.status_code == 302
    assert re.match(r"/(?![/\\])", answer.headers["location"]), answer.headers["location"]


def test_signing_out_ends_what_the_browser_holds_and_no_other_browsers(hub, admin):
    name, visitor = newcomer(hub, admin)
    other = Visitor(hub.url)
    other.sign_in(name, PASSWORD, next="/hub/home")
    with hub.api() as api:
        api.post(f"/users/{name}/server").raise_for_status()
    wait_until(lambda: hub.server(name).get("ready"), 60)
    token, token_of_other = visitor.token_of_server(name), other.token_of_server(name)
    assert takes(hub, token)

    left = visitor.get("/hub/logout", params={"next": "https://evil.example/"})

    assert left.url.path == "/hub/login"
    assert str(left.url).startswith(hub.url)
    assert visitor.name is None
    assert not takes(hub, token)
    assert other.name == name
    assert takes(hub, token_of_other)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_signs_nobody_out_unasked(hub, admin, site):
    name, visitor = newcomer(hub, admin)

    asked = visitor.get("/hub/logout", headers={"Sec-Fetch-Site": site})

    assert "Another site has led you here." in asked.text
    assert visitor.name == name
    visitor.get("/hub/logout", headers={"Sec-Fetch-Site": "same-origin"})
    assert visitor.name is None


def test_an_invitation_leads_to_no_other_site_and_replaces_a_planted_session(hub, admin):
    planted = "0123456789abcdef0123456789abcdef"
    visitor, name = Visitor(hub.url), next(names)
    visitor.cookies.set("jupyterhub-session-id", planted, domain="127.0.0.1", path="/")
    visitor.get("/hub/invitation")
    visitor.follow_redirects = False
    form = {"secret": invite(admin), "name": name, "password": PASSWORD, "again": PASSWORD}
    answer = visitor.form("/hub/invitation", form | {"next": "//evil.example/"})

    assert answer.status_code == 302
    assert re.match(r"/(?![/\\])", answer.headers["location"]), answer.headers["location"]
    assert planted not in {cookie.value for cookie in visitor.cookies.jar}
    assert visitor.name == name


def test_changing_the_password_replaces_the_session_that_the_browser_had(hub, admin):
    _, visitor = newcomer(hub, admin)
    before = visitor.cookies.get("jupyterhub-session-id")
    new = "another fine password"

    visitor.form("/hub/password", {"now": PASSWORD, "password": new, "again": new})

    assert before
    assert before not in {cookie.value for cookie in visitor.cookies.jar}


def test_no_password_and_no_secret_is_in_files_or_logs(hub, admin):
    secret = invite(admin)
    newcomer(hub, admin)
    kept = (hub.directory / "people.sqlite").read_bytes()

    assert PASSWORD.encode() not in kept
    assert b"$argon2id$" in kept
    assert secret.encode() not in kept
    assert secret not in hub.log()
    assert PASSWORD not in hub.log()


def test_two_processes_make_the_first_link_and_one_of_them_is_good(tmp_path):
    file = tmp_path / "people.sqlite"
    code = "import sys, pathlib; from element_jupyter.hub.authentication.accounts import first_admin_link; print(first_admin_link(pathlib.Path(sys.argv[1]), 'http://x', 'ada'))"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    links = [process.communicate()[0].strip() for process in both]

    from element_jupyter.hub.authentication.accounts import Accounts

    good = [Accounts(file).link(secret_of(link)) for link in links]
    assert sum(link is not None for link in good) == 1


def test_the_hub_is_not_reached_by_a_password_in_the_address(hub, admin):
    name, _ = newcomer(hub, admin)
    answer = httpx.get(
        f"{hub.url}/hub/login", params={"username": name, "password": PASSWORD}, trust_env=False
    )
    assert "hub-" not in answer.headers.get("set-cookie", "")
