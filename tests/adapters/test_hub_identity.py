"""Who people are, as a real Hub tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from element_jupyter.adapters.hub.identity import HubPeople
from element_jupyter.core.access import Visitor
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.teams import Level
from tests.hub_fixture import RunningHub, running_hub
from tests.platform_fixture import wait_until

ELEMENT_TOKEN = "the-token-of-the-service-element-" + "0" * 16
CONFIG = f"""
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "secret"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"root-of-all"}}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.services.append({{"name": "element", "api_token": "{ELEMENT_TOKEN}"}})
c.JupyterHub.load_roles += [
    {{"name": "element", "services": ["element"], "scopes": ["read:users"]}},
    {{"name": "user", "scopes": ["self", "access:services!service=element",
        "access:servers!user=team-ml", "access:servers!user=team-ops", "access:servers!user=eve"]}},
]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("identity") / "hub", CONFIG) as hub:
        grown(hub, "ada", "ada:lead", "ml:member", "ops:viewer")
        grown(hub, "root-of-all", "root-of-all:lead")
        yield hub


def grown(hub: RunningHub, name: str, *groups: str) -> None:
    """Make a person who is in these groups of the Hub, and in no other."""
    with hub.api() as api:
        if api.get(f"/users/{name}").status_code == 404:
            api.post(f"/users/{name}").raise_for_status()
        held = api.get(f"/users/{name}").json()["groups"]
        for group in set(held) - set(groups):
            api.request("DELETE", f"/groups/{group}/users", json={"users": [name]})
        for group in set(groups) - set(held):
            if api.get(f"/groups/{group}").status_code == 404:
                api.post(f"/groups/{group}").raise_for_status()
            api.post(f"/groups/{group}/users", json={"users": [name]}).raise_for_status()


def token(hub: RunningHub, name: str, **said: object) -> str:
    with hub.api() as api:
        return str(api.post(f"/users/{name}/tokens", json=said).raise_for_status().json()["token"])


@pytest.fixture
async def people(hub, tmp_path) -> AsyncIterator[HubPeople]:
    people = asked(hub, tmp_path)
    yield people
    await people.close()


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asked(hub: RunningHub, tmp_path: Path, clock: Clock | None = None) -> HubPeople:
    file = tmp_path / "token-of-element"
    file.write_text(ELEMENT_TOKEN + "\n")
    return HubPeople(hub.api_url, file, clock or Clock())


async def test_a_person_has_the_levels_of_their_groups(hub, people):
    ada = await people.whoami(token(hub, "ada"))

    assert ada is not None
    assert (ada.name, ada.admin, ada.suspended) == ("ada", False, False)
    assert ada.levels == {"ada": Level.LEAD, "ml": Level.MEMBER, "ops": Level.VIEWER}
    assert await people.person("ada") == ada


async def test_an_administrator_of_the_hub_is_one_here(hub, people):
    boss = await people.whoami(token(hub, "root-of-all"))

    assert boss is not None
    assert boss.admin


async def test_a_server_s_token_counts_when_it_has_the_scope_for_this_service_only(hub, people):
    of_editor = token(hub, "ada", scopes=["access:services!service=element"])
    of_run = token(hub, "ada", scopes=["users:activity!user"])

    assert (await people.whoami(of_editor)) == await people.person("ada")
    assert await people.whoami(of_run) is None


async def test_what_the_server_of_a_team_has_of_a_visitor_counts_for_that_team_alone(hub, people):
    with hub.api() as api:
        for name in ("team-ml", "team-ops", "eve"):
            api.post(f"/users/{name}").raise_for_status()

    async def visiting(*servers: str, name: str = "ada"):
        scopes = [f"access:servers!server={server}" for server in servers]
        return await people.whoami(token(hub, name, scopes=[*scopes, "read:users!user"]))

    ada = await visiting("team-ml/")
    assert ada == Visitor(name="ada", team="ml", levels={"ml": Level.MEMBER})
    boss = await visiting("team-ml/", name="root-of-all")
    assert boss == Visitor(name="root-of-all", team="ml", levels={"ml": Level.LEAD})
    assert not boss.admin
    assert await visiting("team-ml/r-1") is None
    assert await visiting("eve/") is None
    assert await visiting("team-ml/", "team-ops/") is None
    assert await visiting("team-ml/", name="team-ml") is None


@pytest.mark.parametrize("made_up", ["", "nobody's", "with space", "ünïcode", "a\r\nX-Admin: 1"])
async def test_what_is_no_person_s_token_is_refused(hub, people, made_up):
    assert await people.whoami(made_up) is None


async def test_a_token_of_a_service_is_nobody_s(hub, people):
    assert await people.whoami(hub.token) is None
    assert await people.whoami(ELEMENT_TOKEN) is None


async def test_a_token_that_expires_is_refused(hub, tmp_path):
    short = token(hub, "ada", expires_in=1)
    clock = Clock()
    people = asked(hub, tmp_path, clock)

    async def refused() -> bool:
        clock.now += 21
        return await people.whoami(short) is None

    while not await refused():
        await asyncio.sleep(0.1)
    await people.close()


async def test_somebody_who_has_lost_every_group_is_suspended_once_the_answer_is_old(hub, tmp_path):
    grown(hub, "bob", "bob:lead", "ml:lead")
    clock = Clock()
    people = asked(hub, tmp_path, clock)
    bobs = token(hub, "bob")
    before = await people.whoami(bobs)
    grown(hub, "bob")

    remembered = await people.whoami(bobs)
    clock.now += 20.5
    later = await people.whoami(bobs)

    assert remembered == before
    assert later is not None
    assert later.suspended
    assert await people.person("nobody-here") is None
    await people.close()


async def test_many_who_ask_at_once_are_one_question(hub, people):
    grown(hub, "many", "many:lead")
    asks = token(hub, "many")

    answers = await asyncio.gather(*(people.whoami(asks) for _ in range(50)))
    assert {answer.name for answer in answers if answer} == {"many"}

    grown(hub, "later", "later:lead")
    await people.whoami(token(hub, "later"))  # whose line in the log is behind all of theirs
    wait_until(lambda: "GET /hub/api/user (later@" in hub.log(), 30)
    assert hub.log().count("GET /hub/api/user (many@") == 1


async def test_while_the_hub_is_down_those_it_knew_a_minute_ago_get_on_and_nobody_else(tmp_path):
    with running_hub(tmp_path / "hub", CONFIG) as hub:
        grown(hub, "ada", "ada:lead")
        clock = Clock()
        people = asked(hub, tmp_path, clock)
        adas, other = token(hub, "ada"), token(hub, "ada")
        ada = await people.whoami(adas)
        hub.kill()
        wait_until(lambda: hub.process.poll() is not None, 30)

        clock.now += 70
        assert await people.whoami(adas) == ada
        with pytest.raises(Unavailable, match="Hub does not answer"):
            await people.whoami(other)
        clock.now += 20
        with pytest.raises(Unavailable, match="Hub does not answer"):
            await people.whoami(adas)
        await people.close()
