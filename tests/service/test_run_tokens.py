"""What a run's own token is good for: all that its runner needs of that run, and nothing else."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from element_jupyter.adapters.blobs import save
from element_jupyter.adapters.project import scan
from element_jupyter.core.runs import RunSpec, RunState
from element_jupyter.core.snapshots import Manifest
from tests.service.run_plane import ARTIFACT_BYTES, HEADERS, plane
from tests.service.test_runs import NOTEBOOKS, Client, a_notebook, fork

__all__ = ["fork"]


class Runner:
    """What a runner asks of the control plane, for a run that sleeps."""

    def __init__(self, http, world, run_id):
        self.run_id, self.directory = run_id, world.directory / run_id
        self._http, self._url = http, f"{world.url}/runs/{run_id}"
        self.token = (self.directory / "token").read_text()

    async def ask(self, verb, door, *, run_id=None, content=None, token=None):
        url = self._url if run_id is None else self._url.replace(self.run_id, run_id)
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return await self._http.request(verb, f"{url}/{door}", content=content, headers=headers)


@pytest.fixture
async def world(tmp_path, database_url, fork):
    settings = {"fork": fork, "capacity": 2, "tokens_expire": True}
    async with plane(tmp_path / "data", database_url, **settings) as world:
        yield world


@pytest.fixture
async def client(world, tmp_path):
    async with httpx.AsyncClient(headers=HEADERS, timeout=60) as http:
        yield Client(world.url, http, project(world, tmp_path, "mine", "secret = 1"))


def project(world, tmp_path, name, module):
    directory = tmp_path / name
    directory.mkdir()
    (directory / "sleep.ipynb").write_text(NOTEBOOKS["sleep.ipynb"])
    (directory / "module.py").write_text(module)
    return save(world.blobs, scan(directory, cache=tmp_path / "cache"))


async def running(client, world, **said):
    run_id = await client.run("sleep.ipynb", **said)
    await client.until(run_id, "running")
    return Runner(client.http, world, run_id)


@pytest.fixture
async def runner(client, world):
    runner = await running(client, world)
    yield runner
    await client.stop(runner.run_id)
    await client.ended(runner.run_id)


async def aged(world, run_id, **ages):
    """Let so much time have passed since what happened to a run."""
    times = {name: datetime.now(UTC) - age for name, age in ages.items()}
    await world.store.change(run_id, lambda record: record.changed(**times))


async def test_a_runner_is_told_its_run_without_a_path_of_the_control_plane(runner, world):
    answer = await runner.ask("GET", "spec")
    spec = RunSpec.model_validate_json(answer.content)

    assert (spec.run_id, spec.notebook) == (runner.run_id, "sleep.ipynb")
    assert spec.environment == {"ELEMENT_RUN_ID": runner.run_id}
    assert str(world.directory.parent) not in answer.text
    assert runner.token not in answer.text


async def test_a_runner_fetches_the_files_of_its_project_and_no_others(
    runner, client, world, tmp_path
):
    other = project(world, tmp_path, "theirs", "secret = 2")
    theirs = hashlib.sha256(b"secret = 2").hexdigest()
    answer = await runner.ask("GET", "snapshot")
    manifest = Manifest.model_validate_json(answer.content)
    digests = {entry.path: entry.digest for entry in manifest.entries}

    assert manifest.snapshot_id == client.snapshot_id
    blob = await runner.ask("GET", f"blobs/{digests['module.py']}")
    assert blob.content == b"secret = 1"
    assert world.blobs.missing({theirs, other}) == set()
    for refused in (theirs, other):
        assert (await runner.ask("GET", f"blobs/{refused}")).status_code == 403
    assert (await runner.ask("GET", "blobs/..%2f..%2ftoken")).status_code == 400


async def test_a_runner_that_claims_another_lock_gets_no_blob_by_it(
    runner, client, world, tmp_path
):
    project(world, tmp_path, "theirs", "secret = 2")
    theirs = hashlib.sha256(b"secret = 2").hexdigest()
    record = await world.store.get(runner.run_id)
    claimed = {
        "kind": "run_started",
        "sequence": record.reported + 1,
        "at": datetime.now(UTC).isoformat(),
        "run_id": runner.run_id,
        "cells_total": 1,
        "kernel": "python3",
        "pid": 1,
        "pin": {"environment_id": "py-" + "0" * 32, "lock_id": theirs, "definition": "theirs"},
    }
    told = await runner.ask("POST", "events", content=json.dumps({"events": [claimed]}))

    assert told.status_code == 200, told.text
    assert (await client.get(runner.run_id))["lock_id"] == theirs
    assert (await runner.ask("GET", f"blobs/{theirs}")).status_code == 403


async def test_a_notebook_that_is_handed_over_is_read_by_people_and_replaced_whole(runner, client):
    for text in ("print(1)", "print(2)", "print(2)"):
        document = a_notebook(text).encode()
        assert (await runner.ask("PUT", "notebook", content=document)).status_code == 204
        read = await client.http.get(f"{client.url}/runs/{runner.run_id}/notebook")
        assert (read.status_code, read.content) == (200, document)


async def test_a_runner_cannot_have_another_file_read_as_its_notebook(runner, client, world):
    record = await world.store.get(runner.run_id)
    saved = {
        "kind": "notebook_saved",
        "sequence": record.reported + 1,
        "at": "2026-11-20T00:00:00Z",
        "path": str(runner.directory / "token"),
        "size_bytes": 1,
    }
    await runner.ask("POST", "events", content=json.dumps({"events": [saved]}))
    read = await client.http.get(f"{client.url}/runs/{runner.run_id}/notebook")

    assert runner.token not in read.text
    assert (await client.get(runner.run_id))["output_path"].endswith("/output.ipynb")


async def test_files_that_are_handed_over_are_listed_at_the_end_and_read(client, world):
    runner = await running(client, world)
    for path, content in {"a.txt": b"old", "b/c d.bin": b"\0\xff"}.items():
        assert (await runner.ask("PUT", f"artifacts/{path}", content=content)).status_code == 204
    assert (await runner.ask("PUT", "artifacts/a.txt", content=b"new")).status_code == 204
    record = await world.store.get(runner.run_id)
    world.provisioner.kill(record.process, runner.run_id)
    run = await client.ended(runner.run_id)

    assert [(left["path"], left["size_bytes"]) for left in run["artifacts"]] == [
        ("a.txt", 3),
        ("b/c d.bin", 2),
    ]
    read = await client.http.get(f"{client.url}/runs/{runner.run_id}/artifacts/a.txt")
    assert read.content == b"new"


@pytest.mark.parametrize(
    "path",
    ["..%2Ftoken", "a/..%2F..%2F..%2Ftoken", "%2Fetc%2Fpasswd", "a%00b", "a%5Cb", ".git/config"],
)
async def test_a_path_that_leaves_or_is_unsafe_elsewhere_is_refused(runner, path):
    answer = await runner.ask("PUT", f"artifacts/{path}", content=b"x")

    assert answer.status_code == 400
    assert runner.token == (runner.directory / "token").read_text()


async def test_no_link_is_followed_that_is_in_the_way_of_a_file(runner, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    artifacts = runner.directory / "artifacts"
    artifacts.mkdir()
    (artifacts / "directory").symlink_to(outside)
    (artifacts / "file").symlink_to(outside / "kept")

    assert (await runner.ask("PUT", "artifacts/directory/new", content=b"x")).status_code == 409
    assert (await runner.ask("PUT", "artifacts/file", content=b"x")).status_code == 204
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"


async def test_a_run_leaves_no_more_than_it_may(runner):
    half = b"x" * (ARTIFACT_BYTES // 2)

    assert (await runner.ask("PUT", "artifacts/a", content=half)).status_code == 204
    assert (await runner.ask("PUT", "artifacts/b", content=half)).status_code == 204
    assert (await runner.ask("PUT", "artifacts/a", content=half)).status_code == 204
    answer = await runner.ask("PUT", "artifacts/c", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (await runner.ask("PUT", "artifacts/d", content=half * 3)).status_code == 413


DOORS = (
    ("GET", "spec"),
    ("GET", "snapshot"),
    ("GET", f"blobs/{hashlib.sha256(b'secret = 1').hexdigest()}"),
    ("PUT", "notebook"),
    ("PUT", "artifacts/a"),
    ("POST", "heartbeat"),
)


async def test_only_the_token_of_the_very_run_opens_its_doors(runner, client, world):
    other = await running(client, world)
    person = HEADERS["Authorization"].removeprefix("Bearer ")
    for verb, door in DOORS:
        content = b"{}" if verb != "GET" else None
        own = await runner.ask(verb, door, content=content)
        assert own.is_success, (door, own.text)
        for run_id, token, status in (
            (other.run_id, None, 403),
            (None, person, 403),
            (None, f"{runner.run_id}.guessed", 401),
            (f"r-{'0' * 26}", None, 403),
        ):
            answer = await runner.ask(verb, door, run_id=run_id, content=content, token=token)
            assert answer.status_code == status, (door, run_id, token, answer.text)
    await client.stop(other.run_id)
    await client.ended(other.run_id)


async def test_after_the_end_only_what_the_run_left_is_taken_and_soon_nothing(client, world):
    runner = await running(client, world)
    record = await world.store.get(runner.run_id)
    world.provisioner.kill(record.process, runner.run_id)
    await client.ended(runner.run_id)

    for verb, door in DOORS:
        answer = await runner.ask(verb, door, content=b"{}" if verb != "GET" else None)
        assert answer.status_code == 403 if verb == "GET" else answer.is_success, door
    run = await client.get(runner.run_id)
    assert (run["state"], [left["path"] for left in run["artifacts"]]) == (RunState.FAILED, ["a"])
    assert run["output_path"] is not None

    await aged(world, runner.run_id, finished_at=timedelta(minutes=11))
    for verb, door in DOORS:
        answer = await runner.ask(verb, door, content=b"{}" if verb != "GET" else None)
        assert answer.status_code == 401, door


async def test_a_token_ends_with_the_time_limit_of_its_run(client, world):
    runner = await running(client, world, time_limit_seconds=600)
    await aged(world, runner.run_id, started_at=timedelta(minutes=19))
    assert (await runner.ask("GET", "spec")).status_code == 200

    await aged(world, runner.run_id, started_at=timedelta(minutes=21))
    for verb, door in DOORS:
        answer = await runner.ask(verb, door, content=b"{}" if verb != "GET" else None)
        assert answer.status_code == 401, door
    await client.stop(runner.run_id)
    await client.ended(runner.run_id)
