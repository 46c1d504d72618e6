"""Real kills at random moments: no run is lost, doubled or stuck, and no event told twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import httpx
import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, save
from element_jupyter.adapters.project import scan
from element_jupyter.adapters.sql.database import migrate
from element_jupyter.platform.ports import free_port
from tests.postgres_fixture import Server, embedded_binaries
from tests.service.run_plane import HEADERS, plane
from tests.service.test_runs import NOTEBOOKS, Client, alive, members, printed

ROUNDS = 6
TICKS = 30


class Process:
    """The control plane as a process of its own, killed and started again."""

    def __init__(self, data: Path, database_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/v1"
        self._arguments = [
            str(data),
            database_url,
            str(self.port),
            "capacity=3",
            "lease_seconds=30",
        ]
        self._log = data.parent / "plane.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        root = Path(__file__).parents[2]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, str(Path(__file__).with_name("run_plane.py")), *self._arguments,
                cwd=root, env=dict(os.environ) | {"PYTHONPATH": str(root)},
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(60):
            assert await self._process.stdout.readline() == b"ready\n", self._log.read_text()

    async def end(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()
        self._process._transport.close()


class Follower:
    """A reader who comes back with the last id, whatever happens to the connection."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.events: list = []
        self._client, self._run_id = client, run_id

    async def follow(self) -> None:
        last = 0
        while not (self.events and self.events[-1][1]["kind"] == "run_finished"):
            try:
                headers = {"Last-Event-ID": str(last), "Accept": "text/event-stream"}
                url = f"{self._client.url}/runs/{self._run_id}/events"
                async with self._client.http.stream("GET", url, headers=headers) as answer:
                    number = None
                    async for line in answer.aiter_lines():
                        if line.startswith("id: "):
                            number = int(line[4:])
                        elif line.startswith("data: ") and number is not None:
                            self.events.append((number, json.loads(line[6:])))
                            last, number = number, None
            except httpx.TransportError:
                await asyncio.sleep(0.1)


@pytest.fixture
async def process(tmp_path, database_url):
    (tmp_path / "data").mkdir()
    process = Process(tmp_path / "data", database_url)
    await process.start()
    yield process
    await process.end(signal.SIGTERM)


@pytest.fixture
async def client(tmp_path, process):
    project = tmp_path / "project"
    project.mkdir()
    for name, content in NOTEBOOKS.items():
        (project / name).write_text(content)
    blobs = FsspecBlobs(tmp_path / "data" / "blobs")
    async with httpx.AsyncClient(headers=HEADERS, timeout=60) as http:
        yield Client(process.url, http, save(blobs, scan(project, cache=tmp_path / "cache")))


async def persistent(client, **body):
    """Post until somebody answers, as a caller with an idempotency key may."""
    while True:
        try:
            status, run = await client.post(snapshot_id=client.snapshot_id, **body)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        assert status in {200, 201}, run
        return run["run_id"]


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_killing_the_control_plane_loses_doubles_and_holds_up_nothing(
    client, process, tmp_path
):
    chance = random.Random(20261120)
    posts = [
        asyncio.create_task(
            persistent(
                client, notebook="count.ipynb", parameters={"ticks": TICKS}, idempotency_key=f"k{n}"
            )
        )
        for n in range(ROUNDS)
    ]
    followers: dict[str, Follower] = {}
    reading = []
    for _ in range(ROUNDS):
        await asyncio.sleep(chance.uniform(0.2, 4))
        await process.end(signal.SIGKILL)
        await process.start()
        for post in posts:
            if post.done() and post.result() not in followers:
                follower = followers[post.result()] = Follower(client, post.result())
                reading.append(asyncio.create_task(follower.follow()))
    ids = await asyncio.gather(*posts)
    for run_id in ids:
        if run_id not in followers:
            follower = followers[run_id] = Follower(client, run_id)
            reading.append(asyncio.create_task(follower.follow()))
    runs = [await client.ended(run_id) for run_id in ids]
    async with asyncio.timeout(60):
        await asyncio.gather(*reading)
    assert [run["state"] for run in runs] == ["succeeded"] * ROUNDS
    assert len(set(ids)) == ROUNDS
    listed = (await client.http.get(f"{client.url}/runs")).json()["items"]
    assert {run["run_id"] for run in listed} == set(ids)
    for run_id in ids:
        events = followers[run_id].events
        assert printed(events) == "".join(f"{n}\n" for n in range(TICKS))
        assert [event["kind"] for _, event in events].count("run_started") == 1
        log = (tmp_path / "data" / "runs" / run_id / "events.jsonl").read_text()
        assert log.count('"kind":"run_started"') == 1


@pytest.fixture
def own_postgres():
    """A server that only this test uses, since it crashes."""
    server = Server(embedded_binaries())
    yield server
    server.stop()


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_database_that_is_away_for_longer_than_the_lease_costs_no_run(
    own_postgres, tmp_path
):
    own_postgres.execute("CREATE DATABASE element")
    url = own_postgres.url("element")
    migrate(url)
    project = tmp_path / "project"
    project.mkdir()
    (project / "count.ipynb").write_text(NOTEBOOKS["count.ipynb"])
    async with (
        plane(tmp_path / "data", url, lease_seconds=3.0) as world,
        httpx.AsyncClient(headers=HEADERS, timeout=60) as http,
    ):
        client = Client(world.url, http, save(world.blobs, scan(project, cache=tmp_path / "cache")))
        run_id = await client.run("count.ipynb", parameters={"ticks": 120})
        await client.until(run_id, "running")
        own_postgres.crash()
        answer = await http.get(f"{client.url}/runs/{run_id}")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        await asyncio.sleep(5)  # longer than the lease: that is the case under test
        own_postgres.start()
        assert (await client.ended(run_id))["state"] == "succeeded"
        assert printed(await client.follow(run_id)) == "".join(f"{n}\n" for n in range(120))


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_killing_runners_ends_each_run_truthfully_within_moments(client, process, tmp_path):
    chance = random.Random(7)
    root = tmp_path / "data" / "runs"
    ids = [await client.run("count.ipynb", parameters={"ticks": 600}) for _ in range(ROUNDS)]
    for run_id in ids:
        while not (root / run_id / "runner.log").exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(chance.uniform(0, 3))
        log = str(root / run_id / "runner.log")
        [pid] = [
            int(path.parent.parent.name)
            for path in Path("/proc").glob("[0-9]*/fd/1")
            if _link(path) == log and _leads(path)
        ]
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while (run := await client.get(run_id))["state"] != "failed":
                await asyncio.sleep(0.05)
        assert run["reason"] == "The runner was killed (signal 9, SIGKILL)."
        assert not alive(pid)
        assert not members(run_id)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _leads(path: Path) -> bool:
    pid = int(path.parent.parent.name)
    return os.getsid(pid) == pid
