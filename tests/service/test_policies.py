"""The quotas that administrators manage, over REST: versions, dry runs, conflicts and undo."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa

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
