"""The quotas that administrators manage, over REST: versions, dry runs, conflicts and undo."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.platform_fixture import wait_until
from tests.service.hub_plane import hub_plane
from tests.service.test_quota import ENDED, run_in, start

FILE = """
contact: help@example.org
quotas:
  - who: everyone
    at_once: {runs: 5}
"""


def gpus(who: str, gpu: Any, **more: Any) -> dict[str, Any]:
    return {"who": who, "at_once": {"gpu": gpu}, **more}


async def shown(plane, **params) -> dict[str, Any]:
    answer = await plane.client.get("/quotas", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == f'"{answer.json()["version"]}"'
    return answer.json()


async def put(plane, version: int, *quotas: dict[str, Any], **params: Any):
    headers = {"If-Match": f'"{version}"'}
    body = {"quotas": list(quotas)}
    return await plane.client.put("/quotas", json=body, headers=headers, params=params)


async def test_the_file_counts_and_each_of_its_contents_is_a_version(plane):
    first = await shown(plane)
    (plane.data / "quotas.yaml").write_text(FILE)
    second = await shown(plane)
    (plane.data / "quotas.yaml").write_text(FILE + "\n# a comment more\n")
    third = await shown(plane)

    assert (first["source"], first["version"], first["quotas"]["quotas"]) == ("file", 1, [])
    assert (second["version"], second["changed_by"]) == (2, "quotas.yaml")
    assert second["quotas"]["quotas"][0]["at_once"]["runs"] == 5
    assert third["version"] == 2
    assert not (plane.data / "control-plane/quotas.json").exists()
    history = (await plane.client.get("/quotas/history", params={"limit": 1})).json()
    assert history["items"][0]["changes"] == [
        "Refusals name help@example.org, named an administrator of this Hub.",
        "everyone: 5 runs at once, new.",
    ]
    older = await plane.client.get(
        "/quotas/history", params={"limit": 1, "cursor": history["next_cursor"]}
    )
    assert [each["version"] for each in older.json()["items"]] == [1]


async def test_once_changed_the_database_counts_and_that_the_file_differs_is_said(plane):
    (plane.data / "quotas.yaml").write_text(FILE)
    before = await shown(plane)
    saved = await put(plane, before["version"], gpus("team:ml", 4), reason="they asked")

    assert saved.status_code == 200, saved.text
    assert saved.json()["version"] == before["version"] + 1
    assert saved.json()["source"] == "page"
    assert saved.json()["changed_by"] == "ada"
    (plane.data / "quotas.yaml").write_text("quotas: [{who: everyone, at_once: {runs: 0}}]")
    after = await shown(plane)
    assert after["version"] == saved.json()["version"]
    assert after["file_differs"] is True
    assert "element quota apply -f" in after["hint"]
    assert "element quota export >" in after["hint"]
    run = await start(plane)  # which the file would forbid
    assert run.status_code in {200, 201}, run.text
    assert (await run_in(plane, run.json()["run_id"], *ENDED))["state"] == "succeeded"
    published = json.loads((plane.data / "control-plane/quotas.json").read_text())
    assert published["version"] == after["version"]
    assert published["quotas"]["quotas"] == [{"who": "team:ml", "at_once": {"gpu": 4}}]
    (plane.data / "quotas.yaml").write_text("quotas: [{who: 'team:ml', at_once: {gpu: 4}}]")
    assert (await shown(plane))["file_differs"] is False


async def test_a_change_counts_for_what_waits(plane):
    await put(plane, 1, {"who": "everyone", "budgets": [{"per": "7 days", "cpu_hours": 0.000001}]})
    first = (await start(plane)).json()["run_id"]
    await run_in(plane, first, *ENDED)
    second = (await start(plane)).json()["run_id"]
    assert (await plane.client.get(f"/runs/{second}")).json()["state"] == "queued"

    assert (await put(plane, 2)).status_code == 200

    assert (await run_in(plane, second, *ENDED))["state"] == "succeeded"


async def test_of_two_changes_at_once_one_is_refused_with_what_the_other_has_changed(plane):
    changes = [put(plane, 1, gpus("team:ml", amount)) for amount in range(8)]
    answers = await asyncio.gather(*changes)

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    now = await shown(plane)
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert now["version"] == 2
    assert "ada has changed the quotas" in refused["message"]
    assert "version 2" in refused["message"]
    amount = now["quotas"]["quotas"][0]["at_once"]["gpu"]
    assert refused["details"] == f"team:ml: {amount} GPU{'s' * (amount != 1)} at once, new."


async def test_a_change_says_of_which_version_it_is(plane):
    bare = await plane.client.put("/quotas", json={"quotas": []})
    malformed = await plane.client.put(
        "/quotas", json={"quotas": []}, headers={"If-Match": "latest"}
    )
    later = await put(plane, 7, gpus("team:ml", 1))
    wrong = await put(plane, 1, gpus("team:ml", -1))

    assert (bare.status_code, malformed.status_code) == (400, 400)
    assert bare.json()["field"] == "If-Match"
    assert later.status_code == 409
    assert "1 is the newest" in later.json()["message"]
    assert wrong.status_code == 400
    assert "gpu" in wrong.json()["field"]


async def test_a_change_that_changes_nothing_makes_no_version(plane):
    await put(plane, 1, gpus("team:ml", 1), gpus("team:ops", 2))
    again = await put(plane, 2, gpus("team:ops", 2), gpus("team:ml", 1))

    assert again.status_code == 200
    assert again.json()["version"] == 2


async def test_a_dry_run_says_what_would_change_and_who_would_be_over(plane, database_url):
    allocation = {
        "id": f"s-{'0' * 26}",
        "kind": "editor",
        "person": "ada",
        "team": "ml",
        "size": "large",
        "cpu": 8,
        "memory_bytes": 1 << 33,
        "gpu": 2,
        "begun_at": "2026-11-22T06:00:00Z",
    }
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        columns = ", ".join(allocation)
        values = ", ".join(f":{name}" for name in allocation)
        connection.execute(
            sa.text(
                f"INSERT INTO allocations ({columns}, server, ended_how) VALUES ({values}, '', '')"
            ),
            allocation,
        )
    engine.dispose()

    would = await put(
        plane,
        1,
        gpus("team:ml", 1),
        {"who": "everyone", "largest": {"cpu": 4}},
        {"who": "person:ada", "budgets": [{"per": "366 days", "gpu_hours": 0}]},
        gpus("team:ops", 0),
        dry_run=True,
    )

    assert would.status_code == 200, would.text
    said = would.json()
    assert said["changes"] == [
        "team:ml: 1 GPU at once, new.",
        "everyone: 4 cores for one server or run, new.",
        "person:ada: 0 GPU-hours per 366 days, new.",
        "team:ops: 0 GPUs at once, new.",
    ]
    assert said["over_count"] == 1
    assert said["sentence"].startswith("1 server or run now running would be over;")
    over = {(each["person"], each["team"]): each["sentence"] for each in said["over"]}
    assert over[None, "ml"] == "The team 'ml' has 2 of 1 GPU in use (the team's limit (ml))."
    assert over["ada", "ml"] == "At most 4 cores (everyone's limit)."
    assert over["ada", None].startswith("ada has used ")
    affected = {each["subject"]: each for each in said["affected"]}
    assert affected["everyone"]["sentence"] == "everyone: affects 1 person; 1 is already above it."
    assert (affected["team:ml"]["people"], affected["team:ml"]["above"]) == (1, 1)
    assert (await shown(plane))["version"] == 1


async def test_undo_goes_back_to_a_version_as_a_new_one(plane):
    await put(plane, 1, gpus("team:ml", 1))
    await put(plane, 2, gpus("team:ml", 2), reason="more")

    would = await plane.client.post("/quotas/undo", json={"version": 2}, params={"dry_run": True})
    back = await plane.client.post("/quotas/undo", json={"version": 2})
    late = await plane.client.post("/quotas/undo", json={"version": 1}, headers={"If-Match": '"2"'})
    nowhere = await plane.client.post("/quotas/undo", json={"version": 99})

    assert would.json()["changes"] == ["team:ml: 1 GPU at once, was 2 GPUs at once."]
    assert back.json()["version"] == 4
    assert back.json()["quotas"]["quotas"][0]["at_once"]["gpu"] == 1
    assert (late.status_code, nowhere.status_code) == (409, 404)
    history = (await plane.client.get("/quotas/history")).json()["items"]
    assert [each["version"] for each in history] == [4, 3, 2, 1]
    assert history[0]["reason"] == "back to version 2"
    assert history[1]["reason"] == "more"
    past = await shown(plane, version=3)
    assert past["quotas"]["quotas"][0]["at_once"]["gpu"] == 2


async def test_changes_are_in_the_audit_with_their_sentences(plane):
    await put(plane, 1, gpus("team:ml", 1))
    await put(plane, 2, gpus("team:ml", 1))  # which changes nothing
    await put(plane, 2, gpus("team:ml", 9), dry_run=True)

    said = (await plane.client.get("/audit")).json()["items"]
    changed = [each for each in said if each["action"] == "quotas.changed"]
    assert len(changed) == 1
    assert changed[0]["before"] == {"version": 1}
    assert changed[0]["after"] == {"version": 2, "changes": ["team:ml: 1 GPU at once, new."]}


@pytest.mark.parametrize(
    "change", ["UPDATE quota_versions SET by = 'x'", "DELETE FROM quota_versions"]
)
async def test_the_database_refuses_to_change_a_version(plane, change, database_url):
    await put(plane, 1, gpus("team:ml", 1))
    engine = sa.create_engine(database_url)

    with pytest.raises(sa.exc.DBAPIError, match="only added to"), engine.begin() as connection:
        connection.execute(sa.text(change))
    engine.dispose()


# ------------------------------------------------------------------------------------- requests

WANTED = {
    "team": "sales",
    "kind": "at_once",
    "resource": "gpu",
    "amount": 4,
    "until": "2999-01-01",
    "reason": "the paper's deadline",
}


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory):
    url, directory = postgres.url(postgres.new_database()), tmp_path_factory.mktemp("quotas")
    (directory / "data").mkdir()
    (directory / "data" / "care.yaml").write_text("report_every: 1 s")
    with hub_plane(directory, url) as both:
        both.tokens["mel"] = both.person("mel", "mel:lead", "sales:member")
        yield both


def soon(days: int = 30) -> str:
    return str((datetime.now(UTC) + timedelta(days=days)).date())


def asked(both, who: str = "mia", **said) -> dict[str, Any]:
    answer = both.ask(who, "POST", "/quota/requests", json=WANTED | {"until": soon()} | said)
    assert answer.status_code == 201, answer.text
    return answer.json()


def version(both) -> int:
    return both.ask("root-of-all", "GET", "/quotas").json()["version"]


def decide(both, who: str, request: dict[str, Any], how: str = "approve", **said):
    return both.ask(who, "POST", f"/quota/requests/{request['id']}/{how}", json=said)


def test_a_lead_grants_what_is_asked_within_the_team_and_nothing_else(both):
    before = version(both)
    request = asked(both)
    everywhere = decide(both, "lena", request, to="person")
    granted = decide(both, "lena", request, answer="good luck")

    assert (
        request["sentence"] == f"mia asks for 4 GPUs at once for the team 'sales' through {soon()}."
    )
    assert everywhere.status_code == 403
    said = granted.json()
    assert (said["state"], said["decided_by"], said["answer"]) == ("approved", "lena", "good luck")
    assert said["granted_to"] == "member:sales/mia"
    now = both.ask("root-of-all", "GET", "/quotas").json()
    assert now["version"] == said["version"] == before + 1
    assert now["changed_by"] == "lena"
    entry = now["quotas"]["quotas"][-1]
    assert (entry["who"], entry["at_once"]["gpu"], entry["until"]) == (
        "member:sales/mia",
        4,
        soon(),
    )
    mine = both.ask("mia", "GET", "/quota", params={"team": "sales"}).json()["limits"]
    assert ("member:sales/mia", 4) in {(each["subject"], each["limit"]) for each in mine}
    acts = both.ask("root-of-all", "GET", "/audit").json()["items"]
    act = next(each for each in acts if each["action"] == "quota.approved")
    assert (act["actor"], act["as_admin"], act["subject"]) == ("lena", False, str(request["id"]))
    assert act["after"]["changes"][0].startswith(
        f"member:sales/mia: 4 GPUs at once through {soon()}"
    )


def test_whoever_has_asked_is_told_once_what_was_decided(both):
    granted, declined = asked(both, "mel", amount=2), asked(both, "mel", amount=3)

    for _ in range(2):
        assert decide(both, "lena", granted, answer="good luck").status_code == 200
        assert decide(both, "lena", declined, "decline").status_code == 200

    told = both.ask("mel", "GET", "/notices").json()["items"]
    said = {each["sentence"]: each["hint"] for each in told if each["kind"] == "decided"}
    what = f"GPUs at once for the team 'sales' through {soon()}."
    assert said == {
        f"lena has approved your request: 2 {what} They say: good luck": "It counts now.",
        f"lena has declined your request: 3 {what}": "Ask them what else is possible.",
    }
    assert len(told) == 2
    others = both.ask("lena", "GET", "/notices").json()["items"]
    assert "decided" not in {each["kind"] for each in others}


def test_who_may_decide(both):
    of_lena = asked(both, "lena")
    of_mia = asked(both, "mia")
    own_team = asked(both, "mia", team="mia")

    answers = {
        "own": decide(both, "lena", of_lena).status_code,
        "member": decide(both, "max", of_mia).status_code,
        "another team's lead": decide(both, "sam", of_mia).status_code,
        "lead of oneself": decide(both, "mia", own_team).status_code,
        "lead, own team of another": decide(both, "lena", own_team).status_code,
    }
    assert answers == {
        "own": 403,
        "member": 403,
        "another team's lead": 404,
        "lead of oneself": 403,
        "lead, own team of another": 404,
    }
    assert decide(both, "root-of-all", own_team).json()["granted_to"] == "person:mia"
    assert decide(both, "root-of-all", of_lena, to="person").json()["granted_to"] == "person:lena"
    visitor = both.visiting("lena", "sales")
    both.tokens["visitor"] = visitor
    assert decide(both, "visitor", of_mia).status_code == 403
    assert decide(both, "lena", of_mia, "decline").json()["state"] == "declined"


def test_a_request_is_decided_once_however_often_and_by_however_many(both):
    request = asked(both, resource="cpu")
    before = version(both)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda who: decide(both, who, request), ["lena", "root-of-all"] * 4)
        )

    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.json()["version"], answer.json()["decided_by"]) for answer in answers}) == 1
    assert version(both) == before + 1
    late = decide(both, "lena", request, "decline")
    assert late.status_code == 409
    assert "was approved by" in late.json()["message"]


def test_approvals_at_once_lose_neither_each_other_nor_a_change_of_an_administrator(both):
    requests = [asked(both, "max", kind="largest", resource=each) for each in ("cpu", "gpu")]
    requests.append(asked(both, "max", kind="budget", resource="cpu_hours", per="7 days"))

    def change(number: int) -> int:
        while True:
            now = both.ask("root-of-all", "GET", "/quotas").json()
            document = now["quotas"]
            document["quotas"].append({"who": f"team:t{number}", "at_once": {"gpu": number}})
            headers = {"If-Match": f'"{now["version"]}"'}
            answer = both.ask("root-of-all", "PUT", "/quotas", json=document, headers=headers)
            if answer.status_code != 409:
                return answer.status_code

    with ThreadPoolExecutor(6) as pool:
        changes = [pool.submit(change, number) for number in range(3)]
        granted = list(pool.map(lambda each: decide(both, "lena", each).status_code, requests))
        assert [each.result() for each in changes] == [200] * 3
    assert granted == [200] * 3
    quotas = both.ask("root-of-all", "GET", "/quotas").json()["quotas"]["quotas"]
    assert {f"team:t{number}" for number in range(3)} <= {each["who"] for each in quotas}
    assert len([each for each in quotas if each["who"] == "member:sales/max"]) == 3


def test_a_second_grant_of_the_same_thing_takes_the_place_of_the_first(both):
    for amount in (2, 3):
        decide(both, "lena", asked(both, "mel", amount=amount)).raise_for_status()
    quotas = both.ask("root-of-all", "GET", "/quotas").json()["quotas"]["quotas"]

    assert [each["at_once"]["gpu"] for each in quotas if each["who"] == "member:sales/mel"] == [3]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"until": "2020-01-01"}, "until"),
        ({"until": "2999-01-01"}, "until"),
        ({"per": "7 days"}, "window"),
        ({"kind": "budget", "per": "7 days"}, "no limit of 4 gpu (budget)"),
        ({"kind": "budget", "resource": "gpu_hours"}, "window"),
        ({"amount": 0}, "amount"),
        ({"amount": 1.5}, "no limit of 1.5 gpu"),
        ({"reason": " "}, "reason"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(both, said, sentence):
    body = WANTED | {"until": soon()} | said
    answer = both.ask("mia", "POST", "/quota/requests", json=body)

    assert answer.status_code == 400
    assert sentence in answer.json()["message"]


def test_lists_of_requests_hold_one_s_own_and_those_of_teams_one_leads(both):
    mine = asked(both, "mia", amount=1)
    own = asked(both, "mia", team="mia", amount=1)

    def ids(who, **params):
        answer = both.ask(who, "GET", "/quota/requests", params=params)
        return {each["id"] for each in answer.json()["items"]}

    assert {mine["id"], own["id"]} <= ids("mia")
    assert mine["id"] in ids("lena")
    assert own["id"] not in ids("lena")
    assert mine["id"] not in ids("sam") | ids("max") | ids("lena", mine=True)
    assert {mine["id"], own["id"]} <= ids("root-of-all", state="open")
    assert mine["id"] not in ids("root-of-all", state="declined")


# --------------------------------------------------------------------------- people and teams


def test_people_and_teams_are_listed_with_limits_where_they_come_from_and_what_is_used(both):
    document = {
        "quotas": [
            {"who": "everyone", "at_once": {"servers": 9}},
            {"who": "role:member", "at_once": {"servers": 4}},
            {"who": "member:sales", "at_once": {"servers": 2}},
            {"who": "team:sales", "at_once": {"servers": 10}},
        ]
    }
    headers = {"If-Match": f'"{version(both)}"'}
    both.ask("root-of-all", "PUT", "/quotas", json=document, headers=headers).raise_for_status()
    allocation = {
        "id": f"s-{'1' * 26}",
        "kind": "editor",
        "person": "mia",
        "server": "x",
        "team": "sales",
        "size": "small",
        "cpu": 1,
        "memory_bytes": 1 << 30,
        "gpu": 0,
        "begun_at": "2026-11-22T06:00:00Z",
    }
    ghost = allocation | {"id": f"s-{'2' * 26}", "person": "ghost"}
    for each in (allocation, ghost):
        body = {"allocation": each, "begun": True}
        both.ask("hub", "POST", "/allocations", json=body).raise_for_status()

    def listed(who, path="/quota/people", **params):
        return both.ask(who, "GET", path, params=params).raise_for_status().json()["items"]

    def mia() -> dict[str, Any]:
        found = [each for each in listed("root-of-all") if each["person"] == "mia"]
        return found[0] if found else {"fraction": None, "teams": []}

    wait_until(lambda: mia()["fraction"] == 0.5 and "sales" in mia()["teams"], 60)
    limits = {each["team"]: each for each in mia()["limits"]}
    assert limits["sales"]["comes_from"] == (
        "from the limit of a member of the team 'sales', 2 others are larger"
    )
    assert (limits["sales"]["limit"], limits["sales"]["used"]) == (2, 1)
    assert limits[None]["subject"] == "everyone"
    most = listed("root-of-all", sort="used", over=40)
    assert {each["person"] for each in most} == {"mia", "ghost"}
    assert [each["person"] for each in listed("root-of-all", search="gho")] == ["ghost"]
    of_lead = {each["person"]: each for each in listed("lena")}
    assert "sam" not in of_lead
    assert {each["team"] for each in of_lead["mia"]["limits"]} == {"sales"}
    assert set(of_lead["mia"]["teams"]) == {"sales"}
    teams = {each["team"]: each for each in listed("lena", "/quota/teams")}
    assert set(teams) == {"sales"}
    assert (teams["sales"]["people"], teams["sales"]["limits"][0]["used"]) == (5, 2)
    assert both.ask("mia", "GET", "/quota/people").status_code == 403
    assert both.ask("lena", "GET", "/quota/people", params={"team": "ops"}).status_code == 403


def test_pages_of_people_hold_everybody_once_in_either_order(both):
    def known() -> bool:
        items = both.ask("root-of-all", "GET", "/quota/people", params={"limit": 50}).json()[
            "items"
        ]
        return "sue" in {each["person"] for each in items}

    wait_until(known, 60)
    for sort in ("name", "used"):
        found, cursor = [], None
        while True:
            params = {"sort": sort, "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = both.ask("root-of-all", "GET", "/quota/people", params=params).json()
            found += [each["person"] for each in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(found) == len(set(found))
        assert {"mia", "max", "lena", "vera", "sam", "sue"} <= set(found)
        assert not any(name.startswith("team-") for name in found)


def test_a_team_s_leads_are_told_of_its_budget_and_nobody_else(both):
    now = datetime.now(UTC)
    allocation = {
        "id": f"s-{'3' * 26}",
        "kind": "editor",
        "person": "sam",
        "server": "budget",
        "team": "ops",
        "size": "small",
        "cpu": 1,
        "memory_bytes": 1 << 30,
        "gpu": 0,
        "begun_at": str(now - timedelta(hours=11)),
    }
    body = {"allocation": allocation, "begun": True}
    both.ask("hub", "POST", "/allocations", json=body).raise_for_status()
    budget = {"per": "30 days", "cpu_hours": 12, "then": "stop", "grace": "3 h"}
    document = {"quotas": [{"who": "team:ops", "budgets": [budget]}]}
    headers = {"If-Match": f'"{version(both)}"'}
    both.ask("root-of-all", "PUT", "/quotas", json=document, headers=headers).raise_for_status()

    def told(who: str) -> list[dict[str, Any]]:
        items = both.ask(who, "GET", "/notices").json()["items"]
        return [each for each in items if each["kind"].startswith("budget")]

    wait_until(lambda: told("sam"), 60)

    [near] = told("sam")
    assert near["kind"] == "budget_near"
    assert near["sentence"].startswith("The team 'ops' has used 11")
    assert "What runs on it is stopped 3 h after that." in near["hint"]
    assert told("mia") == told("lena") == told("root-of-all") == []
    shown = both.ask("root-of-all", "GET", "/quotas").json()["quotas"]["quotas"]
    [said] = shown[0]["budgets"]
    assert (said["then"], said["grace"]) == ("stop", "3 h")
