"""Jobs over REST: saved with a diff, refused with a sentence, paused, listed, followed, triggered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yaml import safe_load

SALES = "/jobs/ada/sales"


async def test_a_job_is_created_updated_and_left_alone_when_nothing_changes(plane):
    job = await plane.job(title="Sales")
    answer = await plane.client.put(SALES, json=job)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == '"1"'
    created = answer.json()
    assert (created["change"], created["stored"]["version"]) == ("created", 1)
    assert "+title: Sales\n" in created["diff"]
    assert created["stored"]["saved_by"] == "ada"

    answer = await plane.client.put(SALES, json=job | {"title": "All sales"})
    updated = answer.json()
    assert answer.status_code == 200
    assert (updated["change"], updated["stored"]["version"]) == ("updated", 2)
    assert updated["changed"] == ["title"]
    assert "-title: Sales\n+title: All sales\n" in updated["diff"]

    unchanged = (await plane.client.put(SALES, json=job | {"title": "All sales"})).json()
    assert (unchanged["change"], unchanged["stored"]["version"]) == ("unchanged", 2)
    assert (unchanged["diff"], unchanged["changed"]) == ("", [])

    assert (await plane.client.get(SALES)).json() == updated["stored"]
    versions = (await plane.client.get(f"{SALES}/versions")).json()["items"]
    assert [stored["version"] for stored in versions] == [2, 1]
    assert (await plane.client.get(f"{SALES}/versions/1")).json() == created["stored"]
    assert (await plane.client.get(f"{SALES}/versions/3")).status_code == 404
    file = safe_load((plane.jobs / "ada/sales/job.yaml").read_text())
    assert (file["title"], file["metadata"]["version"]) == ("All sales", 2)


async def test_a_dry_run_tells_what_would_change_and_writes_nothing(plane):
    job = await plane.job()
    answer = await plane.client.put(f"{SALES}?dry_run=true", json=job)
    assert (answer.status_code, answer.json()["change"]) == (200, "created")
    assert not (plane.jobs / "ada").exists()
    await plane.saved()
    before = (plane.jobs / "ada/sales/job.yaml").read_bytes()
    answer = await plane.client.put(f"{SALES}?dry_run=true", json=job | {"max_active": 3})
    assert answer.json()["changed"] == ["max_active"]
    assert (plane.jobs / "ada/sales/job.yaml").read_bytes() == before


async def test_a_save_over_somebody_elses_is_a_conflict(plane):
    job = await plane.job()
    for match, status in (('"1"', 409), ('"0"', 201), ('"0"', 409), ('"1"', 200), ("*", 200)):
        answer = await plane.client.put(
            SALES, json=job | {"title": match + str(status)}, headers={"If-Match": match}
        )
        assert answer.status_code == status, answer.text
    answer = await plane.client.put(SALES, json=job, headers={"If-Match": "three"})
    assert (answer.status_code, answer.json()["field"]) == (400, "If-Match")
    answer = await plane.client.put(
        f"{SALES}?dry_run=1", json=job | {"title": "x"}, headers={"If-Match": '"9"'}
    )
    assert answer.status_code == 409
    assert (await plane.client.delete(SALES, headers={"If-Match": '"9"'})).status_code == 409


async def test_writers_at_the_same_time_make_versions_one_after_the_other(plane):
    job = await plane.job()
    answers = await asyncio.gather(
        *(plane.client.put(SALES, json=job | {"title": str(number)}) for number in range(8))
    )
    assert {answer.json()["stored"]["version"] for answer in answers} == set(range(1, 9))
    assert sum(answer.status_code == 201 for answer in answers) == 1


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"schedule": {"kind": "cron", "expression": "0 0 30 2 *"}}, "schedule.expression", "never fires"),
        ({"schedule": {"kind": "cron", "expression": "61 * * * *"}}, "schedule.expression", ""),
        ({"schedule": {"kind": "cron", "expression": "daily", "timezone": "Mars"}}, "schedule.timezone", "Mars"),
        ({"schedule": {"kind": "once", "at": "2001-01-01T00:00:00Z"}}, "schedule.at", "never fires"),
        ({"schedule": {"kind": "once", "at": "2999-01-01T00:00:00"}}, "schedule.at", "time zone"),
        ({"schedule": {"kind": "cron"}}, "schedule.expression", "required"),
        ({"schedule": {"kind": "sometimes"}}, "schedule", "kind"),
        ({"schedule": {"kind": "asset", "jobs": ["ada/nothing"]}}, "schedule.jobs.0", "no job"),
        ({"schedule": {"kind": "asset", "jobs": ["ada/sales"]}}, "schedule.jobs.0", "itself"),
        ({"snapshot_id": "0" * 64}, "snapshot_id", "not stored"),
        ({"tasks": [{"notebook": "sale.ipynb"}]}, "tasks.0.notebook", "holds no"),
        ({"tasks": [{"notebook": "../sales.ipynb"}]}, "tasks.0.notebook", "inside"),
        ({"tasks": [{"notebook": "sales.ipynb", "parameters": {"regoin": "x"}}]}, "tasks.0.parameters.regoin", "no parameter"),
        ({"tasks": [{"notebook": "sales.ipynb", "parameters": {"limit": "many"}}]}, "tasks.0.parameters.limit", "limit"),
        ({"tasks": [{"notebook": "sales.ipynb", "parameters": {"day": "{{ dss }}"}}]}, "tasks.0.parameters.day", "day"),
        ({"tasks": [{"notebook": "sales.ipynb", "time_limit_seconds": 3601}]}, "tasks.0.time_limit_seconds", "3,600"),
        ({"tasks": []}, "tasks", ""),
        ({"name": "other"}, "name", "address"),
        ({"Owner": "x"}, "Owner", "no key"),
        ({"title": "x" * 200}, "title", ""),
    ],
)  # fmt: skip
async def test_a_job_that_cannot_work_is_refused_where_it_is_wrong(plane, said, field, words):
    job = await plane.job(**said)
    answer = await plane.client.put(SALES, json=job)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (400, field), problem
    assert words in problem["message"] + problem["hint"]
    assert not (plane.jobs / "ada").exists()


async def test_templates_stand_for_what_they_become(plane):
    given = {"day": "{{ ds }}", "region": "{{ run_id }} of {{ logical_date }}"}
    await plane.saved(tasks=[{"notebook": "sales.ipynb", "parameters": given}])


async def test_inputs_must_be_parameters_of_the_notebook(plane):
    tasks = [
        {"name": "first", "notebook": "sales.ipynb"},
        {
            "name": "second",
            "notebook": "sales.ipynb",
            "needs": ["first"],
            "inputs": {"limt": "first:best"},
        },
    ]
    answer = await plane.client.put(SALES, json=await plane.job(tasks=tasks))
    assert answer.json()["field"] == "tasks.1.inputs.limt"
    assert answer.json()["hint"] == "Did you mean 'limit'?"


async def test_a_notebook_that_is_none_is_refused(plane):
    snapshot_id = await plane.snapshot({"sales.ipynb": b"not json"})
    answer = await plane.client.put(SALES, json=await plane.job(snapshot_id=snapshot_id))
    assert (answer.status_code, answer.json()["field"]) == (400, "tasks.0.notebook")
    assert "no JSON" in answer.json()["message"]


async def test_a_past_time_does_not_keep_the_rest_from_being_edited(plane):
    at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    job = await plane.job(schedule={"kind": "once", "at": at})
    assert (await plane.client.put(SALES, json=job)).status_code == 201
    await asyncio.sleep(2)  # what is tested is that time passes
    assert (await plane.client.put(SALES, json=job | {"title": "x"})).status_code == 200


async def test_fires_count_from_creation_rescheduling_and_resuming(plane):
    since = [(await plane.saved())["scheduled_since"]]
    since.append((await plane.saved(title="other"))["scheduled_since"])
    assert since[0] == since[1]
    schedule = {"kind": "cron", "expression": "daily"}
    since.append((await plane.saved(schedule=schedule))["scheduled_since"])
    assert since[2] > since[1]
    paused = (await plane.client.post(f"{SALES}/pause")).json()
    assert paused["job"]["paused"]
    assert paused["scheduled_since"] == since[2]
    again = (await plane.client.post(f"{SALES}/pause")).json()
    assert again["version"] == paused["version"]
    resumed = (await plane.client.post(f"{SALES}/resume")).json()
    assert not resumed["job"]["paused"]
    assert resumed["scheduled_since"] > since[2]


async def test_a_deleted_job_is_gone_and_its_version_numbers_are_not_given_again(plane):
    await plane.saved()
    await plane.saved(title="x")
    assert (await plane.client.delete(SALES)).status_code == 204
    assert (await plane.client.get(SALES)).status_code == 404
    assert (await plane.client.get(f"{SALES}/versions")).status_code == 404
    assert (await plane.client.delete(SALES)).status_code == 404
    assert (await plane.client.get("/jobs")).json()["items"] == []
    assert (await plane.saved())["version"] == 3


async def test_jobs_are_listed_by_page_team_and_text_with_what_comes_next(plane):
    snapshot_id = await plane.snapshot()
    for name in ("alpha", "beta", "gamma"):
        await plane.saved(name=name, title=f"The {name} report", snapshot_id=snapshot_id)
    await plane.saved(team="ops", name="beta", snapshot_id=snapshot_id, paused=True)
    page = (await plane.client.get("/jobs?limit=3")).json()
    assert [entry["stored"]["job"]["name"] for entry in page["items"]] == ["alpha", "beta", "gamma"]
    assert page["items"][0]["next_fire"]["wall_time"].split("T")[1].startswith("06:00")
    assert page["items"][0]["last_runs"] == []
    page = (await plane.client.get(f"/jobs?limit=3&cursor={page['next_cursor']}")).json()
    assert [entry["stored"]["job"]["team"] for entry in page["items"]] == ["ops"]
    assert page["items"][0]["next_fire"] is None
    assert page["next_cursor"] is None
    for query, count in (
        *(("team=ops", 1), ("text=BETA", 2), ("text=beta+report", 1), ("text=x", 0)),
        *(("owner=ada", 4), ("owner=eve", 0), ("owner=ada&team=ops", 1)),
    ):
        assert len((await plane.client.get(f"/jobs?{query}")).json()["items"]) == count
    answer = await plane.client.get("/jobs?cursor=bm9uc2Vuc2U")
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


async def test_changes_are_told_in_order_and_waited_for(plane):
    await plane.saved()
    (first,) = (await plane.client.get("/job-changes")).json()["items"]
    assert first["stored"]["version"] == 1
    after = first["sequence"]
    coming = asyncio.create_task(plane.client.get(f"/job-changes?after={after}&wait=20"))
    await asyncio.sleep(0)
    await plane.saved(title="x")
    (second,) = (await coming).json()["items"]
    assert (second["sequence"], second["stored"]["job"]["title"]) == (after + 1, "x")
    await plane.client.delete(SALES)
    (third,) = (await plane.client.get(f"/job-changes?after={after}")).json()["items"]
    assert (third["sequence"], third["stored"], third["error"]) == (after + 2, None, None)
    empty = await plane.client.get(f"/job-changes?after={after + 2}&wait=0.01")
    assert empty.json()["items"] == []


async def test_a_file_edited_by_hand_is_the_next_version_within_a_second(plane):
    await plane.saved()
    path = plane.jobs / "ada/sales/job.yaml"
    path.write_text("# ours\n" + path.read_text().replace("0 6 * * *", "0 7 * * *"))
    began = asyncio.get_running_loop().time()
    (change,) = (await plane.client.get("/job-changes?after=1&wait=10")).json()["items"]
    assert asyncio.get_running_loop().time() - began < 3  # a busy machine's second
    assert change["stored"]["version"] == 2
    assert change["stored"]["saved_by"] == "edited by hand"
    assert change["stored"]["job"]["schedule"]["expression"] == "0 7 * * *"
    assert path.read_text().startswith("# ours\n")


async def test_a_broken_file_is_told_with_its_line_and_harms_no_other_job(plane):
    snapshot_id = await plane.snapshot()
    await plane.saved(snapshot_id=snapshot_id)
    await plane.saved(name="other", snapshot_id=snapshot_id)
    path = plane.jobs / "ada/sales/job.yaml"
    good = path.read_text()
    path.write_text(good.replace("timezone:", "timezoen:"))
    (change,) = (await plane.client.get("/job-changes?after=2&wait=10")).json()["items"]
    line = next(n for n, text in enumerate(good.splitlines(), 1) if "timezone:" in text)
    assert change["stored"] is None
    assert (change["error"]["line"], change["error"]["path"]) == (line, str(path))
    assert change["error"]["hint"].startswith("Did you mean 'timezone'?")
    page = (await plane.client.get("/jobs")).json()
    assert [entry["stored"]["job"]["name"] for entry in page["items"]] == ["other"]
    assert page["errors"] == [change["error"]]
    assert (await plane.client.get(SALES)).json()["version"] == 1
    path.write_text(good)
    (change,) = (await plane.client.get("/job-changes?after=3&wait=10")).json()["items"]
    assert change["stored"]["version"] == 1
    path.write_text("a: [")
    await plane.client.get("/job-changes?after=4&wait=10")
    assert (await plane.saved(snapshot_id=snapshot_id, title="mended"))["version"] == 2
    assert (await plane.client.get("/jobs")).json()["errors"] == []


async def test_a_job_whose_file_was_never_good_says_what_is_wrong(plane):
    directory = plane.jobs / "ada/sales"
    directory.mkdir(parents=True)
    (directory / "job.yaml").write_text("kind: Jbo\n")
    await plane.client.get("/job-changes?wait=10")
    answer = await plane.client.get(SALES)
    assert answer.status_code == 409
    assert "cannot be read: kind: it must be 'Job'" in answer.json()["message"]


async def test_without_airflow_a_job_of_one_task_runs_by_itself(plane):
    await plane.saved()
    answer = await plane.client.post(f"{SALES}/trigger", json={"parameters": {"limit": 3}})
    assert answer.status_code == 200, answer.text
    triggered = answer.json()
    assert (triggered["via"], triggered["dag_run_id"]) == ("element", None)
    run = (await plane.client.get(f"/runs/{triggered['run_id']}")).json()
    assert (run["job"], run["job_version"], run["trigger"]) == ("ada/sales", 1, "manual")
    assert run["parameters"]["limit"] == 3
    listed = (await plane.client.get("/jobs")).json()["items"][0]
    assert len(listed["last_runs"]) == 1
    await plane.client.post(f"/runs/{triggered['run_id']}/stop")


async def test_a_trigger_refuses_parameters_that_the_notebooks_do_not_take(plane):
    await plane.saved()
    for given, field in (({"x": 1}, "parameters.x"), ({"limit": "a"}, "parameters.limit")):
        answer = await plane.client.post(f"{SALES}/trigger", json={"parameters": given})
        assert (answer.status_code, answer.json()["field"]) == (400, field)
    tasks = [{"name": name, "notebook": "sales.ipynb"} for name in ("a", "b")]
    await plane.saved(name="two", tasks=tasks)
    for body, field in (({"limit": 1}, "parameters.limit"), ({"a": {"x": 1}}, "parameters.x")):
        answer = await plane.client.post("/jobs/ada/two/trigger", json={"parameters": body})
        assert (answer.status_code, answer.json()["field"]) == (400, field)
    answer = await plane.client.post("/jobs/ada/two/trigger")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_a_preview_tells_sentence_fires_and_turns_of_the_clock(plane):
    schedule = {"kind": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"}
    schedule["start"] = "2027-03-27T00:00:00Z"
    body: dict[str, Any] = {"schedule": schedule, "count": 3}
    preview = (await plane.client.post("/schedules/preview", json=body)).json()
    assert preview["sentence"].startswith("Every day at 02:30")
    assert [fire["dst"] for fire in preview["fires"]] == [None, "shifted", None]
    body["schedule"]["expression"] = "0 0 31 2 *"
    answer = await plane.client.post("/schedules/preview", json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, "schedule.expression")


async def test_the_schema_describes_every_key_of_a_job_file(plane):
    schema = (await plane.client.get("/schema/job")).json()
    nodes = [schema, *(schema["$defs"][name] for name in ("JobTask", "Cron", "Once", "OnAsset"))]
    for node in nodes:
        for key, value in node["properties"].items():
            assert value.get("description"), key


async def test_the_status_and_the_metrics_count_what_is_there(plane):
    await plane.saved()
    status = (await plane.client.get("/status")).json()
    assert (status["jobs"], status["job_errors"], status["airflow"]) == (1, 0, {})
    text = (await plane.client.get(f"{plane.url}/metrics")).text
    assert 'element_requests_total{method="PUT",path="/jobs/{team}/{name}",status="201"}' in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    # tests of the Hub may have been in this process
    ours = [name for name in names if not name.startswith("jupyterhub_")]
    known = ("element_", "python_", "process_")
    assert [name for name in ours if not name.startswith(known)] == []


async def test_json_keeps_what_yaml_would_turn_into_something_else(plane):
    tricky = {"a": "yes", "b": "012", "c": "1:30", "d": "2026-01-01", "e": "null", "f": "{{ ds }}",
              "g": 1e22, "h": "a\nb\n", "i": "\u2028", "j": [{"k": None}], "l": "*x", "m": "#", "n": "é😀"}  # fmt: skip
    task = {"notebook": "sales.ipynb", "allow_extra_parameters": True, "parameters": tricky}
    await plane.saved(tasks=[task])
    path = plane.jobs / "ada/sales/job.yaml"
    path.write_text(path.read_text() + "# touched\n")
    answer = (await plane.client.get("/job-changes?after=1&wait=0.5")).json()
    assert answer["items"] == []
    assert (
        json.loads((await plane.client.get(SALES)).text)["job"]["tasks"][0]["parameters"] == tricky
    )
