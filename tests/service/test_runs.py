"""Runs through the control plane's own door: real PostgreSQL, real files, real runners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from element_jupyter.adapters.blobs import save
from element_jupyter.adapters.project import scan
from element_jupyter.core.jobs import Job
from element_jupyter.platform.runners import forker
from tests.service.run_plane import HEADERS, plane

DEADLINE_SECONDS = 90


def a_notebook(*cells: str, parameters: str | None = None) -> str:
    def cell(source: str, tags: list[str]) -> dict:
        return {
            "cell_type": "code",
            "id": f"cell-{abs(hash(source)) % 10**8}",
            "metadata": {"tags": tags},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }

    found = [cell(parameters, ["parameters"])] if parameters else []
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps(
        {
            "cells": found + [cell(source, []) for source in cells],
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


NOTEBOOKS = {
    "hello.ipynb": a_notebook("print('hello')"),
    "count.ipynb": a_notebook(
        "import time\nfor n in range(ticks):\n    print(n)\n    time.sleep(0.1)",
        "open('result.txt', 'w').write('done')",
        parameters="ticks = 20",
    ),
    "sleep.ipynb": a_notebook("import time; time.sleep(600)"),
    "fail.ipynb": a_notebook("1 / 0"),
    "stubborn.ipynb": a_notebook(
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "while True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass"
    ),
    "train.ipynb": a_notebook("from element_jupyter import record\nrecord(auc=0.5)"),
    "use.ipynb": a_notebook("print(auc)", parameters="auc = 0.0"),
}


class Client:
    """What a caller of the control plane does."""

    def __init__(self, url: str, http: httpx.AsyncClient, snapshot_id: str) -> None:
        self.url, self.http, self.snapshot_id = url, http, snapshot_id

    async def post(self, **body):
        answer = await self.http.post(f"{self.url}/runs", json=body)
        return answer.status_code, answer.json()

    async def run(self, notebook, **body):
        status, run = await self.post(notebook=notebook, snapshot_id=self.snapshot_id, **body)
        assert status == 201, run
        return run["run_id"]

    async def get(self, run_id):
        return (await self.http.get(f"{self.url}/runs/{run_id}")).json()

    async def stop(self, run_id):
        return (await self.http.post(f"{self.url}/runs/{run_id}/stop")).json()

    async def follow(self, run_id, after=0, count=None):
        """The events as (id, event) until the end, or so many."""
        found, number = [], None
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        async with self.http.stream(
            "GET", f"{self.url}/runs/{run_id}/events", headers=headers
        ) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("data: ") and number is not None:
                    found.append((number, json.loads(line[6:])))
                    number = None
                    if count is not None and len(found) >= count:
                        break
        return found

    async def until(self, run_id, *states):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (run := await self.get(run_id))["state"] not in states:
                await asyncio.sleep(0.05)
        return run

    async def ended(self, run_id):
        return await self.until(run_id, "succeeded", "failed", "stopped", "lost")


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """A fork server with the runner imported, as `element up` has one."""
    socket = tmp_path_factory.mktemp("fork") / "run" / "runner.sock"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "element_jupyter.platform.forkserver", "--socket", str(socket)]
    server = subprocess.Popen(
        [*command, "--preload", "element_jupyter.platform.runner"],
        cwd=root,
        env=dict(os.environ) | {"PYTHONPATH": str(root)},
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not socket.exists():
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield forker(socket)
    server.terminate()
    server.wait()


@pytest.fixture
def project(tmp_path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    for name, content in NOTEBOOKS.items():
        (directory / name).write_text(content)
    return directory


@pytest.fixture
async def world(tmp_path, database_url, fork):
    """A control plane with two places."""
    async with plane(tmp_path / "data", database_url, fork=fork, capacity=2) as world:
        yield world


@pytest.fixture
async def client(world, project, tmp_path):
    snapshot_id = save(world.blobs, scan(project, cache=tmp_path / "cache"))
    async with httpx.AsyncClient(headers=HEADERS, timeout=60) as http:
        yield Client(world.url, http, snapshot_id)


def kinds(events):
    return [event["kind"] for _, event in events]


def printed(events):
    outputs = [event["output"] for _, event in events if event["kind"] == "output"]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def members(run_id):
    """Processes that a run's kernel started, and the kernel."""
    mark = f"ELEMENT_RUN_ID={run_id}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if alive(pid)]


def a_job(client, *tasks, **values):
    tasks = tasks or ({"notebook": "hello.ipynb"},)
    return Job(
        team="sales",
        name="report",
        owner="ada",
        snapshot_id=client.snapshot_id,
        tasks=tasks,
        **values,
    )


# ------------------------------------------------------------------------------------- a whole run


async def test_a_run_succeeds_tells_its_story_once_and_leaves_its_results(client, world):
    run_id = await client.run("count.ipynb", parameters={"ticks": 3})
    events = await client.follow(run_id)
    run = await client.get(run_id)
    assert (run["state"], run["reason"]) == ("succeeded", "")
    assert run["cells_done"] == run["cells_total"] >= 3
    assert [number for number, _ in events] == list(range(1, len(events) + 1))
    assert kinds(events)[0] == "state_changed"
    assert kinds(events).count("run_started") == 1
    assert kinds(events)[-1] == "run_finished"
    notebook = await client.http.get(f"{client.url}/runs/{run_id}/notebook")
    assert notebook.json()["nbformat"] == 4
    assert [artifact["path"] for artifact in run["artifacts"]] == ["result.txt"]
    artifact = await client.http.get(f"{client.url}/runs/{run_id}/artifacts/result.txt")
    assert artifact.text == "done"


async def test_after_the_end_only_the_results_are_left(client, world):
    run_id = await client.run("count.ipynb", parameters={"ticks": 30})
    before = await client.follow(run_id)
    directory = world.directory / run_id
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (directory / "project").exists() or (directory / "token").exists():
            await asyncio.sleep(0.05)
    after = await client.follow(run_id)
    assert after[-1] == before[-1]
    assert printed(after) == "".join(f"{n}\n" for n in range(30))


async def test_a_failure_says_where_and_why(client):
    run = await client.ended(await client.run("fail.ipynb"))
    assert run["state"] == "failed"
    assert run["failing_cell"]["ename"] == "ZeroDivisionError"


async def test_a_notebook_that_is_not_in_the_snapshot_fails_with_a_sentence(client):
    run = await client.ended(await client.run("missing.ipynb"))
    assert run["state"] == "failed"
    assert "no notebook 'missing.ipynb'" in run["reason"]


async def test_a_snapshot_that_is_not_stored_fails_with_a_sentence(client):
    status, run = await client.post(notebook="hello.ipynb", snapshot_id="0" * 64)
    assert status == 201
    run = await client.ended(run["run_id"])
    assert run["state"] == "failed"
    assert "0000" in run["reason"]


# ------------------------------------------------------------------------------------ the same run


async def test_fifty_identical_posts_at_once_are_one_run(client, world):
    world.jobs.put(a_job(client))
    answers = await asyncio.gather(
        *(client.post(job="sales/report", dag_run_id="d", idempotency_key="k") for _ in range(50))
    )
    assert sorted({status for status, _ in answers}) == [200, 201]
    assert [status for status, _ in answers].count(201) == 1
    assert len({run["run_id"] for _, run in answers}) == 1


async def test_a_key_means_its_run_even_after_the_end(client):
    body = {"notebook": "hello.ipynb", "snapshot_id": client.snapshot_id, "idempotency_key": "k"}
    _, first = await client.post(**body)
    await client.ended(first["run_id"])
    status, again = await client.post(**body)
    assert (status, again["run_id"], again["state"]) == (200, first["run_id"], "succeeded")


# ---------------------------------------------------------------------------------------- the queue


async def test_a_full_house_queues_in_order_and_tells_the_place(client):
    running = [await client.run("sleep.ipynb") for _ in range(2)]
    waiting = [await client.run("hello.ipynb") for _ in range(3)]
    for run_id in running:
        await client.until(run_id, "running")
    places = [await client.get(run_id) for run_id in waiting]
    assert [run["queue_position"] for run in places] == [1, 2, 3]
    assert places[0]["reason"] == "It is next; 2 of 2 places are taken."
    assert places[2]["reason"] == "2 runs are ahead; 2 of 2 places are taken."
    await client.stop(running[0])
    for run_id in waiting:
        assert (await client.ended(run_id))["state"] == "succeeded"
    told = [
        event["queue_position"]
        for _, event in await client.follow(waiting[2])
        if event["kind"] == "state_changed" and event["state"] == "queued"
    ]
    assert told == [None, 3, 2, 1]
    await client.stop(running[1])
    started = [(await client.get(run_id))["started_at"] for run_id in waiting]
    assert started == sorted(started)


async def test_a_queued_run_is_stopped_at_once(client):
    running = [await client.run("sleep.ipynb") for _ in range(2)]
    waiting = await client.run("hello.ipynb")
    stopped = await client.stop(waiting)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "It was stopped before it started.")
    assert kinds(await client.follow(waiting))[-1] == "state_changed"
    assert (await client.stop(waiting))["state"] == "stopped"
    for run_id in running:
        await client.stop(run_id)
        await client.ended(run_id)


# ---------------------------------------------------------------------------------------- stopping


async def test_a_running_run_stops_keeps_its_output_and_says_who_asked(client):
    run_id = await client.run("count.ipynb", parameters={"ticks": 6000})
    await client.follow(run_id, count=8)
    stopped = await client.stop(run_id)
    assert stopped["stop_requested_at"]
    run = await client.ended(run_id)
    assert run["state"] == "stopped"
    notebook = (await client.http.get(f"{client.url}/runs/{run_id}/notebook")).json()
    [stream, *_] = [output for cell in notebook["cells"] for output in cell["outputs"]]
    assert "".join(stream["text"]).startswith("0\n")
    assert not members(run_id)


async def test_a_run_that_does_not_stop_is_killed_with_all_that_it_started(
    tmp_path, database_url, project
):
    async with (
        plane(
            tmp_path / "data",
            database_url,
            stop_grace_seconds=3600.0,
            kill_after_seconds=-3599.5,
        ) as world,
        httpx.AsyncClient(headers=HEADERS) as http,
    ):
        snapshot_id = save(world.blobs, scan(project, cache=tmp_path / "cache"))
        client = Client(world.url, http, snapshot_id)
        run_id = await client.run("stubborn.ipynb")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(members(run_id)) < 2:
                await asyncio.sleep(0.05)
        await client.stop(run_id)
        run = await client.ended(run_id)
        assert run["state"] == "stopped"
        assert run["reason"] == "It was killed, since it had not stopped by itself."
        assert not members(run_id)


# ------------------------------------------------------------------------------------ what dies


async def test_a_killed_runner_is_a_failed_run_that_leaves_nothing_behind(client, world):
    run_id = await client.run("stubborn.ipynb")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(members(run_id)) < 2:
            await asyncio.sleep(0.05)
    os.kill((await world.store.get(run_id)).process.pid, signal.SIGKILL)
    run = await client.ended(run_id)
    assert (run["state"], run["reason"]) == ("failed", "The runner was killed (signal 9, SIGKILL).")
    assert kinds(await client.follow(run_id))[-1] == "state_changed"
    assert not members(run_id)


async def test_a_runner_that_falls_silent_is_lost_and_killed(tmp_path, database_url, project, fork):
    async with (
        plane(tmp_path / "data", database_url, fork=fork, lease_seconds=2.0) as world,
        httpx.AsyncClient(headers=HEADERS) as http,
    ):
        snapshot_id = save(world.blobs, scan(project, cache=tmp_path / "cache"))
        client = Client(world.url, http, snapshot_id)
        run_id = await client.run("sleep.ipynb")
        await client.until(run_id, "running")
        pid = (await world.store.get(run_id)).process.pid
        os.kill(pid, signal.SIGSTOP)
        run = await client.ended(run_id)
        assert (run["state"], run["reason"]) == (
            "lost",
            "The runner was not heard of for 2 seconds.",
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while alive(pid) or members(run_id):
                await asyncio.sleep(0.05)


async def test_runs_go_on_while_the_control_plane_is_away(tmp_path, database_url, project, fork):
    async with httpx.AsyncClient(headers=HEADERS) as http:
        async with plane(tmp_path / "data", database_url, fork=fork) as world:
            snapshot_id = save(world.blobs, scan(project, cache=tmp_path / "cache"))
            client = Client(world.url, http, snapshot_id)
            short = await client.run("count.ipynb", parameters={"ticks": 5})
            long = await client.run("count.ipynb", parameters={"ticks": 60})
            for run_id in (short, long):
                await client.until(run_id, "running")
            seen = await client.follow(long, count=6)
            port = int(world.url.split(":")[2].partition("/")[0])
            process = (await world.store.get(short)).process
        async with asyncio.timeout(DEADLINE_SECONDS):
            while b'"run_finished"' not in (world.directory / short / "events.jsonl").read_bytes():
                await asyncio.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)  # it could not report, and never will
        async with plane(tmp_path / "data", database_url, port=port, fork=fork) as world:
            client.url = world.url
            for run_id in (short, long):
                assert (await client.ended(run_id))["state"] == "succeeded"
            events = seen + await client.follow(long, after=seen[-1][0])
            assert events[-1][1]["kind"] == "run_finished"
            assert printed(events) == "".join(f"{n}\n" for n in range(60))


async def test_a_process_that_was_started_and_not_yet_written_down_is_found_again(client, world):
    run_id = await client.run("sleep.ipynb")
    await client.until(run_id, "running")
    record = await world.store.get(run_id)
    spec = (world.directory / run_id / "run.json").read_text()
    from element_jupyter.core.runs import RunSpec

    again = await world.provisioner.start(
        RunSpec.model_validate_json(spec), world.directory / run_id
    )
    assert again == record.process
    await client.stop(run_id)
    await client.ended(run_id)


# ------------------------------------------------------------------------------------------- jobs


async def test_a_task_gets_what_the_one_before_it_recorded(client, world):
    world.jobs.put(
        a_job(
            client,
            {"name": "train", "notebook": "train.ipynb"},
            {
                "name": "use",
                "notebook": "use.ipynb",
                "needs": ["train"],
                "inputs": {"auc": "train:auc"},
            },
        )
    )
    asked = {"job": "sales/report", "dag_run_id": "d"}
    status, problem = await client.post(**asked, task="use")
    assert status == 409
    assert "'train', which has not succeeded" in problem["message"]
    _, run = await client.post(**asked, task="train")
    run = await client.ended(run["run_id"])
    assert (run["state"], run["reason"], run["recorded"]) == ("succeeded", "", {"auc": 0.5})
    status, run = await client.post(**asked, task="use")
    assert (status, run["parameters"]) == (201, {"auc": 0.5})
    await client.ended(run["run_id"])
    status, problem = await client.post(job="sales/report", task="use")
    assert (status, problem["field"]) == (400, "parameters")


async def test_parameters_come_from_the_task_then_the_request_with_dates_put_in(client, world):
    task = {
        "notebook": "count.ipynb",
        "parameters": {
            "ticks": 1,
            "day": "{{ ds }}",
            "where": ["s3://x/{{ds}}/{{ run_id }}", "{{ other }}"],
        },
        "allow_extra_parameters": True,
        "time_limit_seconds": 10**6,
    }
    schedule = {"kind": "cron", "expression": "30 0 * * *", "timezone": "Europe/Zurich"}
    world.jobs.put(a_job(client, task, schedule=schedule))
    status, run = await client.post(
        job="sales/report", logical_date="2026-07-01T22:30:00Z", parameters={"ticks": 2}
    )
    assert status == 201
    assert run["parameters"] == {
        "ticks": 2,
        "day": "2026-07-02",
        "where": [f"s3://x/2026-07-02/{run['run_id']}", "{{ other }}"],
    }
    assert run["time_limit_seconds"] == 7 * 86400
    assert (run["team"], run["owner"], run["job_version"]) == ("sales", "ada", 1)
    await client.ended(run["run_id"])


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "notebook"),
        ({"notebook": "a.ipynb"}, 400, "snapshot_id"),
        ({"notebook": "../a.ipynb", "snapshot_id": "0" * 64}, 400, "notebook"),
        ({"job": "nonsense"}, 400, "job"),
        ({"job": "sales/../x"}, 400, "job"),
        ({"job": "sales/none"}, 404, "job"),
        ({"job": "sales/report", "task": "none"}, 404, "task"),
        ({"job": "sales/report", "version": 9}, 404, "version"),
        ({"job": "sales/report", "notebook": "a.ipynb"}, 400, "notebook"),
        ({"job": "sales/report", "dag_run_id": "a\0b"}, 400, "dag_run_id"),
        ({"job": "sales/report", "idempotency_key": "a\nb"}, 400, "idempotency_key"),
        ({"job": "sales/report", "due_at": "2100-01-01T00:00:00Z"}, 400, "due_at"),
        ({"job": "secret/report"}, 403, None),
        ({"job": "sales/report", "unknown": 1}, 400, "unknown"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_with_its_field(
    client, world, body, status, field
):
    world.jobs.put(a_job(client))
    got, problem = await client.post(**body)
    assert (got, problem.get("field")) == (status, field), problem
    assert problem["message"].endswith(".")


async def test_the_catch_up_policy_answers_a_late_fire_with_its_sentence(client, world):
    schedule = {"kind": "cron", "expression": "0 * * * *"}
    world.jobs.put(a_job(client, schedule=schedule, catch_up="latest"))
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    late = (hour - timedelta(hours=3)).isoformat()
    status, problem = await client.post(job="sales/report", due_at=late, dag_run_id="late")
    assert status == 409
    assert "A later fire" in problem["message"]
    status, run = await client.post(job="sales/report", due_at=hour.isoformat(), dag_run_id="now")
    assert (status, run["logical_date"][:13]) == (201, hour.isoformat()[:13])
    assert (await client.ended(run["run_id"]))["state"] == "succeeded"


# ------------------------------------------------------------------------------- lists and reports


async def test_a_list_pages_and_filters(client, world):
    world.jobs.put(a_job(client))
    ids = [await client.run("fail.ipynb") for _ in range(3)]
    _, of_job = await client.post(job="sales/report", trigger="manual")
    for run_id in (*ids, of_job["run_id"]):
        await client.ended(run_id)

    async def listed(**query):
        answer = (await client.http.get(f"{client.url}/runs", params=query)).json()
        return [run["run_id"] for run in answer["items"]], answer["next_cursor"]

    found, cursor = await listed(limit=3)
    assert found == [of_job["run_id"], ids[2], ids[1]]
    assert await listed(limit=3, cursor=cursor) == (ids[:1], None)
    assert await listed(job="sales/report") == ([of_job["run_id"]], None)
    assert await listed(state="failed") == (ids[::-1], None)
    assert await listed(trigger="manual") == ([of_job["run_id"]], None)
    assert await listed(team="sales") == ([of_job["run_id"]], None)
    assert await listed(team="elsewhere") == ([], None)
    assert await listed(owner=of_job["owner"], limit=1, job="sales/report") == (
        [of_job["run_id"]],
        None,
    )
    assert await listed(owner="nobody") == ([], None)
    answer = await client.http.get(f"{client.url}/runs", params={"cursor": "x"})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


async def test_events_come_as_json_pages_too(client):
    run_id = await client.run("hello.ipynb")
    events = await client.follow(run_id)
    headers = {"Accept": "application/json"}
    url, found, cursor = f"{client.url}/runs/{run_id}/events", [], "0"
    while cursor is not None:
        page = (
            await client.http.get(url, params={"after": cursor, "limit": 2}, headers=headers)
        ).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert [event["kind"] for event in found] == kinds(events)


async def test_a_run_token_reports_its_run_and_nothing_else(client, world):
    run_id, other = await client.run("sleep.ipynb"), await client.run("sleep.ipynb")
    await client.until(run_id, "running")
    await client.until(other, "running")
    path = world.directory / run_id / "token"
    assert path.stat().st_mode & 0o777 == 0o600
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {path.read_text()}"}) as http:
        beat = await http.post(f"{client.url}/runs/{run_id}/heartbeat")
        assert beat.json() == {"stop": False, "reason": ""}
        for verb, where in (
            ("POST", f"/runs/{other}/heartbeat"),
            ("GET", f"/runs/{run_id}"),
            ("POST", f"/runs/{run_id}/stop"),
            ("GET", "/runs"),
        ):
            assert (await http.request(verb, client.url + where)).status_code == 403
        forged = {
            "sequence": 999,
            "at": "2026-11-20T00:00:00Z",
            "kind": "state_changed",
            "state": "lost",
        }
        answer = await http.post(f"{client.url}/runs/{run_id}/events", json={"events": [forged]})
        assert (answer.status_code, answer.json()["field"]) == (400, "events.0.kind")
    answer = await client.http.post(f"{client.url}/runs/{run_id}/heartbeat")
    assert answer.status_code == 403
    wrong = {"Authorization": f"Bearer {run_id}.wrong"}
    assert (
        await client.http.post(f"{client.url}/runs/{run_id}/heartbeat", headers=wrong)
    ).status_code == 401
    for each in (run_id, other):
        await client.stop(each)
        await client.ended(each)


async def test_a_run_that_is_not_there_is_404_with_a_hint(client):
    answer = await client.http.get(f"{client.url}/runs/r-{'0' * 26}")
    assert (answer.status_code, bool(answer.json()["hint"])) == (404, True)
