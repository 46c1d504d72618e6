"""`python -m element_jupyter.platform.service --data DIR`: the control plane, as a process.

It composes adapters and services, listens, and on SIGTERM ends streams so that their readers come
back to the next one. Runs are processes of their own, which go on without it. SIGUSR1 says that the
platform is about to stop: runs are stopped, and what is queued stays queued.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any
from urllib.parse import urlsplit

import setproctitle
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from traitlets import TraitError

from element_jupyter import config
from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.adapters.event_files import EventFiles
from element_jupyter.adapters.hub.identity import HubPeople
from element_jupyter.adapters.hub.servers import HubServers
from element_jupyter.adapters.job_files.job_yaml import JobYaml
from element_jupyter.adapters.job_files.named import is_named
from element_jupyter.adapters.job_files.store import FileJobs
from element_jupyter.adapters.kernelspecs import installed_kernels
from element_jupyter.adapters.local_runs import LocalRuns
from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.audit_log import SqlAuditLog
from element_jupyter.adapters.sql.database import connect, migrate
from element_jupyter.adapters.sql.fire_store import SqlFireStore
from element_jupyter.adapters.sql.run_store import SqlRunStore
from element_jupyter.adapters.sql.running import SqlRunning
from element_jupyter.adapters.sql.upload_store import SqlUploads
from element_jupyter.core.access import Person
from element_jupyter.core.errors import ElementError, Invalid, Unavailable
from element_jupyter.core.jobs import Job
from element_jupyter.core.runs import PLATFORM_STOPPED, Run, RunRequest
from element_jupyter.core.schedules import check
from element_jupyter.core.snapshots import SnapshotLimits
from element_jupyter.core.teams import Level
from element_jupyter.platform.admin_files import sizes
from element_jupyter.platform.advice import adviser
from element_jupyter.platform.audited_files import audited_files
from element_jupyter.platform.care import care_of
from element_jupyter.platform.collection import keep_collecting
from element_jupyter.platform.data import Data
from element_jupyter.platform.environments.pins import EnvironmentPins
from element_jupyter.platform.hub.access import HubAccess, hub_access
from element_jupyter.platform.hub.runs import HubRuns
from element_jupyter.platform.ledger import ledger
from element_jupyter.platform.machine import FreeNow
from element_jupyter.platform.metrics import platform_metrics
from element_jupyter.platform.orchestration import orchestrator_of
from element_jupyter.platform.pages import pages_of
from element_jupyter.platform.policies import managed_quotas
from element_jupyter.platform.processes import DATABASE_VARIABLE
from element_jupyter.platform.runners import forker, runners_environment
from element_jupyter.platform.storage import storage_keeper
from element_jupyter.platform.token import local_token
from element_jupyter.service import http_metrics
from element_jupyter.service.app import application, openapi_document
from element_jupyter.service.audit import Audit
from element_jupyter.service.fires import Fires
from element_jupyter.service.job_checks import JobChecks
from element_jupyter.service.jobs import Jobs
from element_jupyter.service.mounted import LOOPBACK, Mounted
from element_jupyter.service.owners import Owners
from element_jupyter.service.quotas import QuotaKeeper
from element_jupyter.service.run_files import RunFiles
from element_jupyter.service.run_ports import RunSettings
from element_jupyter.service.running import Running
from element_jupyter.service.runs import Runs
from element_jupyter.service.services import Services
from element_jupyter.service.sign_in import HubSignIn, LocalSignIn, digest_of
from element_jupyter.service.snapshot_rights import SnapshotRights

log = logging.getLogger("element")

STOP_SECONDS = 5.0


@asynccontextmanager
async def serving(
    settings: config.Element, *, hub: HubAccess | None = None, fires_here: bool = True
) -> AsyncIterator[str]:
    """Run the control plane; yields its URL once it answers.

    With a `hub`, its people are let in besides the administrator of this machine. Unless something
    `fires_here`, jobs with a schedule are refused.

    Raises:
        Unavailable: the database does not answer, or the port is taken.
        Invalid: no database is configured.
    """
    if not settings.database_url:
        raise Invalid(
            "Element.database_url is not set.",
            "Start the whole platform with `element up`, or give a PostgreSQL URL.",
            field="database_url",
        )
    async with AsyncExitStack() as stack:
        data = Data(settings.data)
        data.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.control_plane.mkdir(mode=0o700, exist_ok=True)
        try:
            sockets = bind_sockets(settings.port, settings.host)
        except OSError as error:
            raise Unavailable(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}.",
                "End what uses that port, or give another.",
            ) from error
        for each in sockets:
            stack.callback(each.close)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{sockets[0].getsockname()[1]}"
        api = f"{url}/api/v1"
        mounted = await _composed(stack, settings, data, api, hub, fires_here=fires_here)
        pages = pages_of(stack, settings, hub, mounted)
        server = HTTPServer(
            application(mounted, pages=pages), max_body_size=1 << 40, idle_connection_timeout=120
        )
        server.add_sockets(sockets)
        stack.push_async_callback(mounted.let_go)
        stack.push_async_callback(server.close_all_connections)
        stack.push_async_callback(mounted.end_streams)
        stack.callback(server.stop)
        yield url


async def _composed(
    stack: AsyncExitStack,
    settings: config.Element,
    data: Data,
    url: str,
    hub: HubAccess | None,
    *,
    fires_here: bool,
) -> Mounted:
    await asyncio.to_thread(migrate, settings.database_url)
    engine = connect(settings.database_url)
    stack.push_async_callback(engine.dispose)
    clock = CroniterWallClock()
    blob_url = settings.blob_url or str(settings.data / "blobs")
    blobs = FsspecBlobs(blob_url)
    files = _job_files(settings, clock)
    await asyncio.to_thread(files.load)
    run_store = SqlRunStore(engine)
    people = HubPeople(hub.api_url, hub.token_file) if hub else None
    if people is not None:
        stack.push_async_callback(people.close)
    known_sizes = sizes(settings)
    local_runs = LocalRuns(
        functools.partial(restore, blobs), runners_environment(), forker(data.run / "runner.sock")
    )
    servers = _hub_servers(stack, hub) if hub else None
    hub_runs = HubRuns(servers, local_runs, lambda: known_sizes().default) if servers else None
    provisioner = hub_runs or local_runs
    stack.callback(provisioner.close)
    limits = SnapshotLimits(
        warn_bytes=settings.snapshot_warn_bytes, refuse_bytes=settings.snapshot_refuse_bytes
    )
    pins = EnvironmentPins(settings, blobs, runners_environment())
    uploads = SqlUploads(engine)

    async def of_a_job(snapshot_id: str, teams: Collection[str]) -> bool:
        return await asyncio.to_thread(is_named, settings.data / "jobs", snapshot_id, teams)

    snapshots = SnapshotRights(blobs, uploads, [uploads.is_of_a_run, of_a_job])
    owners = Owners(people.person if people else None)
    policy, requests, standings = await managed_quotas(stack, engine, settings, data, hub)
    keeper = QuotaKeeper(
        SqlAllocations(engine),
        policy.in_force,
        known_sizes,
        people.person if people else None,
    )
    books = ledger(engine, settings, hub=hub is not None)
    checks = JobChecks(
        blobs,
        clock,
        exists=lambda job: job in files.ids(),
        kernels=installed_kernels,
        limits=limits,
        max_time_limit_seconds=settings.max_time_limit_seconds,
        sizes=known_sizes,
        rights=snapshots,
        pins=pins if settings.environments else None,
    )
    runs = Runs(
        settings=RunSettings(
            directory=settings.data / "runs",
            url=lambda: url,
            capacity=settings.run_capacity,
            lease_seconds=settings.lease_seconds,
            default_time_limit_seconds=settings.default_time_limit_seconds,
            max_time_limit_seconds=settings.max_time_limit_seconds,
            stop_grace_seconds=settings.stop_grace_seconds,
            blob_url=blob_url,
            data_directory=settings.data if settings.environments else None,
            tokens_expire=isinstance(provisioner, HubRuns),
        ),
        store=run_store,
        streams=EventFiles(settings.data / "runs"),
        provisioner=provisioner,
        jobs=files,
        check=checks.check_run,
        clock=clock,
        owners=owners,
        quotas=keeper,
    )
    keeper.freed = policy.changed = runs.look_again
    await runs.start()
    stack.push_async_callback(runs.close)
    _wind_down_when_told(stack, runs)
    fires = Fires(SqlFireStore(engine), files, clock)
    await fires.start()
    stack.push_async_callback(fires.close)
    orchestrator = orchestrator_of(stack, settings, data, hub)

    async def start_run(request: RunRequest, who: Person) -> Run:
        run, _ = await runs.create(request, who)
        return run

    jobs = Jobs(
        files,
        checks,
        owners,
        recent=runs,
        orchestrator=orchestrator,
        start_run=start_run,
        clock=clock,
        now=_now,
        fires_here=fires_here,
    )
    audit = Audit(SqlAuditLog(engine), data.control_plane / "audit-pending.jsonl", _now)
    await audit.catch_up()
    tidying = care_of(settings, engine, servers, audit, now=_now, standings=standings, runs=runs)
    watching: list[tuple[str, Coroutine[Any, Any, None]]] = [
        ("watch job files", files.watch()),
        ("verify the audit", audit.keep_checking()),
        ("count the ledger", books.keep_counting()),
        ("collect blobs", keep_collecting(blobs, files, run_store, uploads)),
        ("metrics", platform_metrics(engine, settings, policy.in_force).keep_reading()),
        ("audit files", audited_files(settings, data, audit).keep_looking()),
        *tidying.loops(),
    ]
    if servers is not None:
        watching.append(("compare allocations", keeper.keep_comparing(servers)))
    for name, work in watching:
        task = asyncio.create_task(work, name=name)
        stack.push_async_callback(_cancelled, task)
    person = Person(name=settings.owner, levels={settings.owner: Level.LEAD}, admin=True)
    known = hub.owner if hub else None
    local = LocalSignIn(known or digest_of(local_token(settings.token_file)), person, runs.sign_in)
    sign_in = HubSignIn(local, hub.services, people.whoami) if hub and people else local
    return Mounted(
        Services(
            advice=adviser(engine, settings, files),
            storage=storage_keeper(engine, settings, policy.in_force, keeper),
            audit=audit,
            jobs=jobs,
            runs=runs,
            fires=fires,
            blobs=blobs,
            snapshots=snapshots,
            limits=limits,
            run_files=RunFiles(
                settings.data / "runs", blobs, artifact_bytes=settings.run_artifact_bytes
            ),
            orchestrator=orchestrator,
            clock=clock,
            version=_version(),
            now=_now,
            openapi=openapi_document,
            sizes=known_sizes,
            free=FreeNow(),
            quotas=keeper,
            policies=policy,
            quota_requests=requests,
            quota_standings=standings,
            ledger=books,
            running=Running(SqlRunning(engine), runs, keeper, known_sizes, servers),
            notices=tidying.notices,
            care=tidying.servers,
            retention=tidying.retention,
            hub=hub is not None,
            launches=hub_runs,
        ),
        sign_in,
        spool=settings.data / "spool",
        hosts=LOOPBACK | {settings.host} | _public_host(settings),
        observe=http_metrics.observe,
        audit=audit.answered,
    )


def _public_host(settings: config.Element) -> set[str]:
    """Return the name that a proxy in front passes on."""
    host = urlsplit(settings.public_url).hostname
    return {f"[{host}]" if ":" in host else host} if host else set()


def _hub_servers(stack: AsyncExitStack, hub: HubAccess) -> HubServers:
    servers = HubServers(hub.api_url, hub.token_file.read_text(encoding="ascii").strip())
    stack.push_async_callback(servers.close)
    return servers


def _wind_down_when_told(stack: AsyncExitStack, runs: Runs) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def wind_down() -> None:
        try:
            await runs.wind_down(PLATFORM_STOPPED)
        except ElementError as error:
            log.warning("the runs were not stopped: %s", error.message)

    def told() -> None:
        task = loop.create_task(wind_down())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGUSR1, told)
    stack.callback(loop.remove_signal_handler, signal.SIGUSR1)


def _job_files(settings: config.Element, clock: CroniterWallClock) -> FileJobs:
    def fires(job: Job) -> None:
        if job.schedule is not None:
            check(job.schedule, clock, _now())

    return FileJobs(settings.data / "jobs", JobYaml(), fires, _now)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _version() -> str:
    try:
        return installed_version("element-jupyter")
    except PackageNotFoundError:
        return "not installed"


def _now() -> datetime:
    return datetime.now(UTC)


async def _main(settings: config.Element, *, fires_here: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(
            serving(settings, hub=hub_access(), fires_here=fires_here)
        )
        log.info("the control plane answers at %s", url)
        await stop.wait()
        log.info("the control plane stops")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await stack.aclose()
        except TimeoutError:
            log.warning("the control plane did not stop within %.0f s", STOP_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="element-service", description="The control plane.")
    parser.add_argument("--data", required=True, help="the data directory")
    parser.add_argument("--port", type=int, help="the port to listen on")
    parser.add_argument("--on-demand", action="store_true", help="nothing fires here")
    given = parser.parse_args(arguments)
    setproctitle.setproctitle("element: control plane")
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        settings = config.load(
            data_dir=given.data, port=given.port, database_url=os.environ.get(DATABASE_VARIABLE)
        )
        asyncio.run(_main(settings, fires_here=not given.on_demand))
    except TraitError as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence for a person
        return Invalid.exit_code
    except ElementError as error:
        log.error("%s %s", error.message, error.hint)  # noqa: TRY400 - as above
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
