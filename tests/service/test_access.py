"""Who may call what: everything is refused to whom it is not granted."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from element_jupyter.core.access import Action, Person, RunToken, Subject, may, of_team
from element_jupyter.core.errors import Forbidden, Unavailable
from element_jupyter.core.teams import Level
from element_jupyter.platform.token import local_token
from element_jupyter.service.app import ROUTES
from element_jupyter.service.sign_in import LocalSignIn, digest_of

ADA = Person(name="ada", levels=dict.fromkeys(("ada", "sales"), Level.LEAD))
BOSS = Person(name="boss", admin=True)
RUN = RunToken(run_id="r-1")


def test_people_may_what_is_their_teams_and_admins_may_all_but_report():
    for action in (Action.READ, Action.RUN, Action.EDIT):
        may(ADA, action)
        may(ADA, action, of_team("sales"))
        may(BOSS, action, of_team("ops"))
        with pytest.raises(Forbidden, match=f"ada may not {action}"):
            may(ADA, action, of_team("ops"))
    for who in (ADA, BOSS):
        with pytest.raises(Forbidden):
            may(who, Action.REPORT)


def test_a_run_may_do_nothing_but_report_itself():
    may(RUN, Action.REPORT, Subject(run_id="r-1"))
    for action, subject in (
        (Action.REPORT, Subject(run_id="r-2")),
        (Action.REPORT, Subject()),
        (Action.READ, Subject()),
        (Action.READ, Subject(run_id="r-1")),
        (Action.RUN, of_team("ada")),
    ):
        with pytest.raises(Forbidden):
            may(RUN, action, subject)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_refuses_a_stranger(route):
    path = dict.fromkeys(route.path_names, "ops") | {"run_id": "r-9"}
    if route.access.action is None:
        return
    with pytest.raises(Forbidden):
        route.access.check(RUN, path)
    if "team" in route.path_names:
        with pytest.raises(Forbidden):
            route.access.check(ADA, path)
    if route.access.action is Action.REPORT:
        with pytest.raises(Forbidden):
            route.access.check(BOSS, path)


async def test_every_route_wants_a_token_before_anything_else(plane):
    async with httpx.AsyncClient(base_url=plane.url) as nobody:
        for route in ROUTES:
            path = route.path if route.at_root else f"/api/v1{route.path}"
            for name in route.path_names:
                path = path.replace(f"{{{name}}}", "x").replace(f"{{{name}:path}}", "x")
            answer = await nobody.request(route.method, path, content=b"{")
            assert answer.status_code == (200 if route.access.action is None else 401), path


async def test_the_local_token_is_the_person_and_any_other_is_asked_for_among_runs():
    asked = []

    async def run_of(token: str) -> RunToken | None:
        asked.append(token)
        return RUN if token == "a run's" else None

    sign_in = LocalSignIn(digest_of("secret"), ADA, run_of)
    assert await sign_in("secret") == ADA
    assert asked == []
    assert await sign_in("a run's") == RUN
    assert await sign_in("sécret\udc80".encode("utf-8", "replace").decode()) is None


def test_the_token_is_private_and_the_same_for_all_who_make_it_at_once(tmp_path):
    path = tmp_path / "token"
    code = "import sys, pathlib; from element_jupyter.platform.token import local_token;"
    code += "print(local_token(pathlib.Path(sys.argv[1])))"
    makers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    made = {maker.communicate()[0].strip() for maker in makers}
    assert made == {local_token(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_token_that_others_could_read_is_made_private_and_a_short_one_refused(tmp_path):
    path = tmp_path / "token"
    token = local_token(path)
    path.chmod(0o644)
    assert local_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("short\n")
    with pytest.raises(Unavailable, match="too short"):
        local_token(path)


async def test_a_page_of_the_web_cannot_reach_the_control_plane(plane):
    rebound = await plane.client.get("/jobs", headers={"Host": "evil.example:8650"})
    assert rebound.status_code == 403
    asked = await plane.client.options("/jobs", headers={"Origin": "https://evil.example"})
    assert asked.status_code == 405
    assert "Access-Control-Allow-Origin" not in asked.headers
    async with httpx.AsyncClient(base_url=plane.url) as browser:
        assert (await browser.post("/api/v1/runs", content=b"{}")).status_code == 401
        assert not (await browser.get("/api/v1/health")).cookies
