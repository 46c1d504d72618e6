"""A control plane of runs alone: real database, real files, real runners, real HTTP.

In a test's own process by `plane`, or as a process that can be killed:
`python tests/service/run_plane.py DATA DATABASE_URL PORT [SETTING=VALUE…]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.adapters.event_files import EventFiles
from element_jupyter.adapters.local_runs import LocalRuns
from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.run_store import SqlRunStore
from element_jupyter.core.access import Person
from element_jupyter.core.jobs import Job, StoredJob
from element_jupyter.core.runs import Run, RunRequest
from element_jupyter.core.teams import Level
from element_jupyter.service import run_routes, runner_routes
from element_jupyter.service.app import application
from element_jupyter.service.mounted import Mounted
from element_jupyter.service.run_files import RunFiles
from element_jupyter.service.run_ports import RunSettings
from element_jupyter.service.runs import Runs
from element_jupyter.service.sign_in import LocalSignIn, digest_of

ADA = Person(name="ada", levels=dict.fromkeys(("ada", "sales"), Level.LEAD))
TOKEN = "ada's token"
ARTIFACT_BYTES = 1_000_000
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


async def _anything(run: Run, request: RunRequest, who: Person, now: datetime) -> None:
    """Let every run in: whether it can work is not what these tests ask."""


class KeptJobs:
    """Jobs in a directory, one JSON file each: enough to be asked for by name and version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(
        self, job: Job, version: int = 1, since: datetime | None = None, pins: Any = None
    ) -> StoredJob:
        at = since or datetime.now(UTC)
        stored = StoredJob(
            job=job,
            version=version,
            saved_at=at,
            saved_by="ada",
            scheduled_since=at,
            pins=pins or {},
        )
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{job.dag_id}.{version}.json").write_text(stored.model_dump_json())
        (self.directory / f"{job.dag_id}.json").write_text(stored.model_dump_json())
        return stored

    def get(self, team: str, name: str, version: int | None = None) -> StoredJob | None:
        path = self.directory / (f"{team}--{name}" + (f".{version}" if version else "") + ".json")
        return StoredJob.model_validate_json(path.read_text()) if path.exists() else None


@dataclass
class Plane:
    runs: Runs
    jobs: KeptJobs
    store: SqlRunStore
    blobs: FsspecBlobs
    provisioner: LocalRuns
    url: str
    directory: Path


@contextlib.asynccontextmanager
async def plane(
    data: Path,
    database_url: str,
    port: int = 0,
    fork: Any = None,
    provisioner: LocalRuns | None = None,
    **settings: Any,
) -> AsyncIterator[Plane]:
    engine = connect(database_url)
    store = SqlRunStore(engine)
    blobs = FsspecBlobs(data / "blobs")
    jobs = KeptJobs(data / "jobs")
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    provisioner = provisioner or LocalRuns(
        lambda snapshot_id, directory: restore(blobs, snapshot_id, directory),
        environment,
        fork,
    )
    sockets = bind_sockets(port, "127.0.0.1")
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/v1"
    runs = Runs(
        settings=RunSettings(directory=data / "runs", url=lambda: url, **settings),
        store=store,
        streams=EventFiles(data / "runs"),
        provisioner=provisioner,
        jobs=jobs,
        check=_anything,
        clock=CroniterWallClock(),
    )
    (data / "spool").mkdir(parents=True, exist_ok=True)
    mounted = Mounted(
        services=SimpleNamespace(
            runs=runs,
            jobs=jobs,
            run_files=RunFiles(data / "runs", blobs, artifact_bytes=ARTIFACT_BYTES),
        ),
        sign_in=LocalSignIn(digest_of(TOKEN), ADA, runs.sign_in),
        spool=data / "spool",
    )
    server = HTTPServer(application(mounted, run_routes.ROUTES + runner_routes.ROUTES))
    server.add_sockets(sockets)
    await runs.start()
    try:
        yield Plane(runs, jobs, store, blobs, provisioner, url, data / "runs")
    finally:
        await mounted.end_streams()
        server.stop()
        await server.close_all_connections()
        await mounted.let_go()
        await runs.close()
        provisioner.close()
        await engine.dispose()


async def main(data: str, database_url: str, port: str, *settings: str) -> None:
    given: dict[str, Any] = {
        name: float(value) for name, value in (item.split("=") for item in settings)
    }
    if "capacity" in given:
        given["capacity"] = int(given["capacity"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with plane(Path(data), database_url, int(port), **given):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
