"""The whole platform on one machine: what `element up` runs, and what it leaves behind for others.

`state.json` in the data directory says what runs now; it is there as long as `up` runs, and after
a kill until the next `up`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy.engine import make_url

from element_jupyter.adapters import postgres
from element_jupyter.adapters.forkserver import (
    ForkServer,
    Spawn,
    Started,
    die_with_parent,
    send_signal,
)
from element_jupyter.config import Element
from element_jupyter.core.errors import Conflict, Invalid
from element_jupyter.platform.airflow_home import AirflowSetup, write_home
from element_jupyter.platform.data import Data, write_private
from element_jupyter.platform.supervisor import (
    Component,
    Executed,
    Process,
    State,
    Status,
    Supervisor,
)

_PREFERRED_PORTS: Final = {"service": 8650, "airflow": 8651}
_AIRFLOW: Final = "element_jupyter.platform.airflow_processes"
_HEARTBEAT_OLD_SECONDS: Final = 30.0

Report = Callable[[Component, Status], None]


@dataclass(frozen=True)
class Urls:
    """Where things answer, and which databases are used."""

    service: str
    airflow: str | None
    database: str
    airflow_database: str


class Platform:
    """One `element up`: holds the lock of the data directory and runs the components."""

    def __init__(self, config: Element, report: Report) -> None:
        self._config = config
        self._data = Data(config.data)
        self._report = report
        self._started_at = datetime.now(UTC)
        self._supervisor: Supervisor | None = None
        self._urls: Urls | None = None
        self._http = httpx.AsyncClient(timeout=10, trust_env=False)

    @property
    def urls(self) -> Urls:
        if self._urls is None:
            raise RuntimeError("not started")
        return self._urls

    async def run(self, ready: Callable[[Urls], None], stop: asyncio.Event) -> None:
        """Run until `stop` is set; `ready` is called once, when a run can start.

        Raises:
            Conflict: another `up` has this data directory, or a port is taken.
            Unavailable: the directory, the database or a component cannot be used.
        """
        self._data.create()
        with self._lock():
            self._end_leftovers()
            self._supervisor = Supervisor(self._components(), self._changed)
            starting = asyncio.create_task(self._supervisor.start())
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    self._write_state()
                    ready(self.urls)
                await stopping
            finally:
                for task in (starting, stopping):
                    task.cancel()
                await self._supervisor.stop()
                await self._http.aclose()
                self._data.state_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with self._data.lock_file.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                state = read_state(self._data) or {}
                raise Conflict(
                    f"Element runs already on {self._data.root} (pid {state.get('pid', '?')}, "
                    f"{state.get('service_url', 'still starting')}).",
                    "Use that one, stop it with Ctrl-C, or give another directory with --data.",
                ) from None
            yield

    def _end_leftovers(self) -> None:
        """Kill what outlived an `up` that was killed. Notebook runs are not in its state file."""
        state = read_state(self._data)
        for entry in (state or {}).get("processes", {}).values():
            if entry.get("pid") and entry.get("started_ticks"):
                process = Started(pid=entry["pid"], started_ticks=entry["started_ticks"])
                # the database server is asked to end, in its own way, before it is started anew
                if not entry.get("database"):
                    send_signal(process, signal.SIGKILL)
        self._data.state_file.unlink(missing_ok=True)

    def _changed(self, component: Component, status: Status) -> None:
        self._report(component, status)
        if self._urls is not None and status.state is not State.STOPPED:
            self._write_state()

    def _write_state(self) -> None:
        supervisor = self._supervisor
        processes = {
            name: {
                "pid": status.pid,
                "started_ticks": status.started_ticks,
                "state": status.state.value,
                "restarts": status.restarts,
                "since": status.since.isoformat(),
                **({"database": True} if name == "postgres" else {}),
            }
            for name, status in (supervisor.status.items() if supervisor else ())
        }
        state = {
            "pid": os.getpid(),
            "started_at": self._started_at.isoformat(),
            "service_url": self.urls.service,
            "airflow_url": self.urls.airflow,
            "ready": supervisor is not None and supervisor.all_ready,
            "processes": processes,
        }
        write_private(self._data.state_file, json.dumps(state, indent=1) + "\n")

    # --- what runs ---------------------------------------------------------------------------

    def _components(self) -> list[Component]:
        ports = choose_ports(self._data, self._config)
        database: list[Component] = []
        if self._config.database_url:
            urls = self._given_databases()
        else:
            server = postgres.EmbeddedPostgres(self._data.postgres, self._data.log("postgres"))
            urls = (server.url("element", "psycopg"), server.url("airflow", "psycopg"))
            database = [self._embedded_postgres(server)]
        host = self._config.host
        self._urls = Urls(
            service=f"http://{_bracketed(host)}:{ports['service']}",
            airflow=f"http://127.0.0.1:{ports['airflow']}" if self._config.airflow else None,
            database=urls[0],
            airflow_database=urls[1],
        )
        needs = tuple(component.name for component in database)
        components = [*database, *self._runners()]
        if importlib.util.find_spec("element_jupyter.platform.service") is not None:
            components.append(self._service(needs))
        if self._config.airflow:
            components.extend(self._airflow(needs, ports["airflow"]))
        return components

    def _given_databases(self) -> tuple[str, str]:
        """Return the URLs of the control plane's and Airflow's database, both of which exist."""
        url = postgres.parse_url(self._config.database_url, "database_url")
        second = (
            postgres.parse_url(self._config.airflow_database_url, "airflow_database_url")
            if self._config.airflow_database_url
            else url.set(database=f"{url.database}_airflow")
        )
        for each in (url, second):
            postgres.ensure_database(each.render_as_string(hide_password=False), str(each.database))
        first, other = (
            each.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            for each in (url, second)
        )
        return first, other

    def _embedded_postgres(self, server: postgres.EmbeddedPostgres) -> Component:
        async def launch() -> Process:
            server.prepare()
            return Executed(server.start())

        async def ready() -> bool:
            if not server.is_ready():
                return False
            server.ensure_database("element")
            server.ensure_database("airflow")
            return True

        async def healthy() -> bool:
            return server.is_ready()

        return Component(
            "postgres",
            "PostgreSQL",
            launch,
            ready,
            healthy,
            stop_signal=signal.SIGINT,  # fast shutdown: sessions are ended, data is written
            stop_seconds=10,
            log=str(self._data.logs / "postgres.log"),
        )

    def _runners(self) -> list[Component]:
        modules = ["papermill", "nbclient", "nbformat", "ipykernel"]
        if importlib.util.find_spec("element_jupyter.platform.runner") is not None:
            modules.append("element_jupyter.platform.runner")
        return [self._fork_server("runner", "Notebook runner", modules, {})]

    def _fork_server(
        self, name: str, title: str, modules: list[str], environment: dict[str, str]
    ) -> Component:
        path = self._data.run / f"{name}.sock"

        async def launch() -> Process:
            path.unlink(missing_ok=True)
            arguments = ["--socket", str(path), "--preload", *modules]
            return self._execute(
                name, "element_jupyter.platform.forkserver", arguments, environment
            )

        return Component(
            name,
            title,
            launch,
            ForkServer(path).answers,
            ForkServer(path).answers,
            stop_seconds=2,
            log=str(self._data.logs / f"{name}.log"),
        )

    def _service(self, needs: tuple[str, ...]) -> Component:
        async def launch() -> Process:
            arguments = ["--data", str(self._data.root)]
            environment = {
                "ELEMENT_DATABASE_URL": self.urls.database,
                "ELEMENT_PORT": str(make_port(self.urls.service)),
            }
            return self._execute(
                "service", "element_jupyter.platform.service", arguments, environment
            )

        answers = self._answers(f"{self.urls.service}/api/v1/health")
        return Component(
            "service",
            "Control plane",
            launch,
            answers,
            answers,
            needs=(*needs, "runner"),
            log=str(self._data.logs / "service.log"),
        )

    def _airflow(self, database: tuple[str, ...], port: int) -> list[Component]:
        url = make_url(self.urls.airflow_database)
        drivers = (
            url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
            for driver in ("psycopg2", "asyncpg")
        )
        sync_url, async_url = drivers
        write_home(
            self._data,
            AirflowSetup(port, sync_url, async_url, self._config.airflow_parallelism, _bundle()),
        )
        environment = {
            "AIRFLOW_HOME": str(self._data.airflow),
            "ELEMENT_DATA_DIR": str(self._data.root),
            "ELEMENT_SERVICE_URL": self.urls.service,
            "SPT_NOENV": "1",  # setproctitle would write over the environment that ps shows
        }
        server = self._fork_server("airflow", "Airflow", [_AIRFLOW], environment)
        socket_path = self._data.run / "airflow.sock"

        def forked(name: str, function: str, *arguments: Any) -> Callable[[], Awaitable[Process]]:
            async def launch() -> Process:
                return await ForkServer(socket_path).spawn(
                    Spawn(
                        target=f"{_AIRFLOW}:{function}",
                        arguments=list(arguments),
                        directory=str(self._data.airflow),
                        log=str(self._data.log(name)),
                        title=f"element: {name}",
                        new_session=True,
                    )
                )

            return launch

        migrated = Component(
            "airflow-database",
            "Airflow's database",
            forked("airflow-database", "migrate"),
            needs=(*database, "airflow"),
            once=True,
            ready_seconds=600,
            log=str(self._data.logs / "airflow-database.log"),
        )
        components = [server, migrated]
        needs = (*database, "airflow", "airflow-database")
        api = "airflow-api-server"
        components.append(
            Component(
                api,
                "Airflow API server",
                forked(api, "api_server", "127.0.0.1", port),
                self._api_ready(f"{self.urls.airflow}"),
                self._answers(f"{self.urls.airflow}/api/v2/version"),
                needs=needs,
                stop_seconds=4,
                log=str(self._data.logs / f"{api}.log"),
            )
        )
        for name, function, title, job_type in (
            ("airflow-scheduler", "scheduler", "Airflow scheduler", "SchedulerJob"),
            ("airflow-dag-processor", "dag_processor", "Airflow DAG processor", "DagProcessorJob"),
            ("airflow-triggerer", "triggerer", "Airflow triggerer", "TriggererJob"),
        ):
            beats = self._beats(job_type)
            components.append(
                Component(
                    name,
                    title,
                    forked(name, function),
                    beats,
                    beats,
                    needs=needs,
                    log=str(self._data.logs / f"{name}.log"),
                )
            )
        return components

    def _execute(
        self, name: str, module: str, arguments: list[str], environment: dict[str, str]
    ) -> Executed:
        with self._data.log(name).open("ab") as log:
            return Executed(
                subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env=_inherited() | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for `up`, which stops them in order
                    preexec_fn=die_with_parent,  # noqa: PLW1509 (no threads here)
                )
            )

    # --- how it is seen that it works ----------------------------------------------------------

    def _answers(self, url: str) -> Callable[[], Awaitable[bool]]:
        async def answers() -> bool:
            try:
                return (await self._http.get(url)).is_success
            except httpx.HTTPError:
                return False

        return answers

    def _api_ready(self, url: str) -> Callable[[], Awaitable[bool]]:
        answers = self._answers(f"{url}/api/v2/version")

        async def ready() -> bool:
            if not await answers():
                return False
            # builds the execution API, which takes seconds that the first task would have to wait
            answer = await self._http.get(f"{url}/execution/health", timeout=60)
            return answer.is_success

        return ready

    def _beats(self, job_type: str) -> Callable[[], Awaitable[bool]]:
        url = make_url(self.urls.airflow_database).set(drivername="postgresql")
        address = url.render_as_string(hide_password=False)

        async def beats() -> bool:
            try:
                connection = await psycopg.AsyncConnection.connect(address, connect_timeout=5)
                async with connection:
                    cursor = await connection.execute(
                        "SELECT extract(epoch FROM now() - max(latest_heartbeat)) FROM job "
                        "WHERE job_type = %s AND state = 'running'",
                        (job_type,),
                    )
                    row = await cursor.fetchone()
            except psycopg.Error:
                return False
            return row is not None and row[0] is not None and row[0] < _HEARTBEAT_OLD_SECONDS

        return beats


def read_state(data: Data) -> dict[str, Any] | None:
    """Return what `up` has written last, or None when there is nothing."""
    try:
        state = json.loads(data.state_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def choose_ports(data: Data, config: Element) -> dict[str, int]:
    """Return the ports: the configured, else those of the last start, else free ones, then kept.

    Raises:
        Conflict: one of them is taken by another program.
    """
    try:
        kept = json.loads(data.ports_file.read_text())
    except (FileNotFoundError, ValueError):
        kept = {}
    given = {"service": config.port, "airflow": config.airflow_port}
    chosen: dict[str, int] = {}
    for name, preferred in _PREFERRED_PORTS.items():
        host = config.host if name == "service" else "127.0.0.1"
        port = given[name] or kept.get(name)
        if port is None:
            port = preferred if _is_free(host, preferred) else _free_port(host)
        elif not _is_free(host, port):
            option = "--port" if name == "service" else "--Element.airflow_port"
            raise Conflict(
                f"Port {port} of {host}, meant for {name}, is taken by another program.",
                f"End that program, or choose another port with {option}.",
            )
        if port in chosen.values():
            raise Invalid(f"Port {port} is given twice.", "Give two different ports.", field="port")
        chosen[name] = port
    write_private(data.ports_file, json.dumps(chosen) + "\n")
    return chosen


def make_port(url: str) -> int:
    """Return the port of a URL that has one."""
    return int(url.rpartition(":")[2])


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bundle() -> dict[str, object] | None:
    if importlib.util.find_spec("element_jupyter.provider.bundle") is None:
        return None
    return {
        "name": "element",
        "classpath": "element_jupyter.provider.bundle.ElementDagBundle",
        "kwargs": {"refresh_interval": 1},
    }


def _inherited() -> dict[str, str]:
    """Return this process's environment without settings of another Airflow."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PG"))
    }
