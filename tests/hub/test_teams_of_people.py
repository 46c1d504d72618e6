"""What people may do at the Hub, by `teams.yaml` and the groups that an authenticator brings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.hub.signing_in import AUTHENTICATION, Visitor, refusal_in, xsrf_of
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import wait_until

# a directory that is a file: the outside system, played at its interface
CONFIG = (
    AUTHENTICATION
    + """
import json
from jupyterhub.auth import Authenticator
from element_jupyter.hub.authentication.teams import TeamsFromRules

class Directory(Authenticator):
    def read(self):
        return json.loads(Path("directory.json").read_text())
    async def authenticate(self, handler, data):
        groups = self.read().get(data["username"])
        if groups is None or data["password"] != "secret":
            return None
        return {"name": data["username"], "groups": groups}
    async def refresh_user(self, user, handler=None):
        directory = self.read()
        return {"name": user.name, "groups": directory.get(user.name, [])}

class Ours(TeamsFromRules, Directory):
    pass

c.JupyterHub.authenticator_class = Ours
"""
)

RULES = """
admins: {groups: [hub-admins]}
from_groups: ['team-of-(?P<team>[a-z]+)(-(?P<level>viewer|member|lead))?']
teams:
  ml:
    lead: {people: [ada]}
    member: {groups: [ml]}
    viewer: {groups: [everybody]}
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "teams.yaml").write_text(RULES)
    (directory / "directory.json").write_text("{}")
    with running_hub(directory, CONFIG) as hub:
        yield hub


def people(hub: RunningHub, **groups: list[str]) -> None:
    file = hub.directory / "directory.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | groups))


def signed_in(hub: RunningHub, name: str) -> Visitor:
    visitor = Visitor(hub.url)
    answer = visitor.sign_in(name, "secret", next="/hub/home")
    assert answer.is_success, answer.text
    return visitor


def of(hub: RunningHub, name: str) -> dict:
    with hub.api() as api:
        model = api.get(f"/users/{name}").raise_for_status().json()
    return model | {"groups": sorted(model["groups"]), "roles": sorted(model["roles"])}


def whoami(hub: RunningHub, token: str) -> dict:
    with hub.api(token) as api:
        model = api.get("/user").raise_for_status().json()
    return model | {"groups": sorted(model["groups"])}


def test_groups_of_the_directory_become_teams_and_servers_that_one_may_use(hub):
    people(hub, ada=["everybody"], bo=["everybody"], cy=["ml", "hub-admins"])
    for name in ("ada", "bo", "cy"):
        signed_in(hub, name)

    assert of(hub, "ada")["groups"] == ["ada:lead", "ml:lead"]
    assert of(hub, "bo")["groups"] == ["bo:lead", "ml:viewer"]
    assert of(hub, "cy")["groups"] == ["cy:lead", "ml:member"]
    assert of(hub, "cy")["roles"] == ["admin", "element-server-run-ml", "user"]
    assert not of(hub, "ada")["admin"]
    assert "access:servers!user=team-ml" in whoami(hub, hub.token_of("bo"))["scopes"]
    assert "servers!user=team-ml" not in whoami(hub, hub.token_of("bo"))["scopes"]
    assert "servers!user=team-ml" in whoami(hub, hub.token_of("ada"))["scopes"]


def test_a_member_starts_the_server_of_the_team_and_a_viewer_cannot(hub):
    people(hub, mo=["ml"], vi=["everybody"])
    for name in ("mo", "vi"):
        signed_in(hub, name)
    with hub.api(hub.token_of("vi")) as api:
        assert api.post("/users/team-ml/server").status_code in {403, 404}
    with hub.api(hub.token_of("mo")) as api:
        assert api.post("/users/team-ml/server").status_code in {201, 202}
        wait_until(lambda: hub.server("team-ml").get("ready"), 60)
        assert api.delete("/users/team-ml/server").status_code in {202, 204}


def teams_page(visitor: Visitor, path: str = "/hub/teams") -> str:
    answer = visitor.get(path).raise_for_status()
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_a_person_s_teams_are_on_the_home_page_with_the_way_to_their_servers(hub):
    people(hub, pia=["team-of-pages"], pio=["team-of-pages-viewer"], pat=["ml"])
    pia, pio, pat = (signed_in(hub, name) for name in ("pia", "pio", "pat"))
    opening = {"team": "pages"}

    # before it runs: a viewer is told so, and starts nothing; a stranger learns nothing
    for path in ("/hub/home", "/hub/teams"):
        assert "You are a viewer. Its server does not run. A member of" in teams_page(pio, path)
        assert "You are a member. Its server does not run; opening it" in teams_page(pia, path)
        assert "pages" not in teams_page(pat, path)
    told = pio.form("/hub/teams", opening)
    assert told.status_code == 409
    assert "does not run. A member of the team starts it" in refusal_in(told)
    assert pat.form("/hub/teams", opening).status_code == 404
    assert pia.form("/hub/teams", {"team": "pia"}).status_code == 404
    assert pia.post("/hub/teams", data=opening).status_code == 403  # another site's page
    assert Visitor(hub.url).post("/hub/teams", data=opening).status_code == 403
    assert not hub.server("team-pages")

    waiting = pia.form("/hub/teams", opening)
    assert waiting.is_success, waiting.text
    wait_until(lambda: hub.server("team-pages").get("ready"), 60)
    for person in (pia, pio):
        page = person.get("/hub/teams")
        sent = {"_xsrf": xsrf_of(page), **opening}
        opened = person.post("/hub/teams", data=sent, follow_redirects=False)
        assert (opened.status_code, opened.headers["location"]) == (302, "/user/team-pages/lab")
        assert "Its server runs." in teams_page(person)
    with hub.api() as api:
        api.delete("/users/team-pages/server").raise_for_status()


def test_somebody_in_no_team_is_told_whom_to_ask(hub):
    people(hub, nina=[])
    answer = Visitor(hub.url).sign_in("nina", "secret")

    assert answer.status_code == 403
    assert refusal_in(answer) == "nina is in no team here. Ask ops@example.org to add you to one."


def test_a_wrong_password_is_a_wrong_password(hub):
    people(hub, otto=["ml"])
    answer = Visitor(hub.url).sign_in("otto", "wrong")

    assert answer.status_code == 403
    assert refusal_in(answer) == "Invalid username or password"


@pytest.mark.parametrize("name", ["ml", "root", "team-ml", "element-airflow", "element"])
def test_nobody_gets_the_name_of_a_team_or_of_an_account_of_the_machine(hub, name):
    people(hub, **{name: ["ml"]})
    answer = Visitor(hub.url).sign_in(name, "secret")

    assert answer.status_code == 403
    assert refusal_in(answer) == f"The name {name} is taken. Ask ops@example.org."


def test_nobody_gets_the_name_of_a_team_that_a_group_has_made(hub):
    people(hub, paula=["team-of-ops"], ops=["ml"])
    signed_in(hub, "paula")
    answer = Visitor(hub.url).sign_in("ops", "secret")

    assert answer.status_code == 403
    assert "is taken" in refusal_in(answer)


def test_a_group_makes_no_team_with_the_name_of_a_person(hub):
    people(hub, rita=["ml"], sam=["team-of-rita", "ml"])
    signed_in(hub, "rita")
    signed_in(hub, "sam")

    assert of(hub, "sam")["groups"] == ["ml:member", "sam:lead"]
    assert "Teams that bear the names of people are left out: rita." in hub.log()


def test_a_team_added_to_the_file_is_there_without_a_restart(hub):
    people(hub, tim=["ml"])
    signed_in(hub, "tim")
    token = hub.token_of("tim")
    (hub.directory / "teams.yaml").write_text(RULES + "  new:\n    member: {people: [tim]}\n")
    try:
        wait_until(lambda: "new:member" in whoami(hub, token)["groups"], 20)
        assert "access:servers!user=team-new" in whoami(hub, token)["scopes"]
    finally:
        (hub.directory / "teams.yaml").write_text(RULES)
    wait_until(lambda: "new:member" not in whoami(hub, token)["groups"], 20)


def test_a_mistake_in_the_file_takes_nothing_from_anybody(hub):
    people(hub, uma=["ml"])
    signed_in(hub, "uma")
    token = hub.token_of("uma")
    (hub.directory / "teams.yaml").write_text("teams: 7")
    try:

        def is_noticed() -> bool:
            whoami(hub, token)
            return "What it said before stays in force" in hub.log()

        wait_until(is_noticed, 20)
        assert whoami(hub, token)["groups"] == ["ml:member", "uma:lead"]
    finally:
        (hub.directory / "teams.yaml").write_text(RULES)


def test_who_leaves_the_group_loses_everything_on_token_and_cookie(hub):
    people(hub, vera=["ml"], wim=["ml"])
    visitor = signed_in(hub, "vera")
    signed_in(hub, "wim")
    token = hub.token_of("vera")
    assert visitor.name == "vera"

    people(hub, vera=[])

    wait_until(lambda: whoami(hub, token)["groups"] == [], 20)
    assert whoami(hub, token)["scopes"] == []
    assert visitor.get("/hub/home").url.path == "/hub/login"
    with hub.api(token) as api:
        assert api.post("/users/vera/server").status_code in {403, 404}
    with hub.api() as api:  # nor can anybody start something in their name
        assert api.post("/users/vera/server").status_code == 403
        assert api.post("/users/wim/server").status_code in {201, 202}

    people(hub, vera=["ml"])  # and who comes back has it all again
    wait_until(lambda: "ml:member" in whoami(hub, token)["groups"], 20)


def test_two_user_names_never_share_a_person(hub):
    people(hub, **{"Zoë@example.org": ["ml"], "zoe-example.org": ["ml"]})
    first = signed_in(hub, "Zoë@example.org").name
    second = signed_in(hub, "zoe-example.org").name

    assert first.startswith("zoe-example.org-")
    assert second == "zoe-example.org"
