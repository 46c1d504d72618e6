"""The whole platform on one machine: what `element up` runs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from element_jupyter.adapters import postgres
from element_jupyter.adapters.forkserver import Started, send_signal, started_ticks
from element_jupyter.adapters.hub.servers import HubServers
from element_jupyter.config import Element
from element_jupyter.core.orchestration import HubAddress
from element_jupyter.platform.airflow_components import Airflow, airflow_components
from element_jupyter.platform.data import Data, write_private
from element_jupyter.platform.hub.access import (
    AIRFLOW_DIGEST,
    AIRFLOW_TOKEN_FILE,
    API_URL,
    OWNER_DIGEST,
    PUBLIC_URL,
    SPAWNER_DIGEST,
    TOKEN_FILE,
    digest,
)
from element_jupyter.platform.hub.components import hub_components
from element_jupyter.platform.hub.people import serves_one_because
from element_jupyter.platform.hub.servers_at_stop import stop_servers
from element_jupyter.platform.hub.setup import HubSetup, Secret, public_url
from element_jupyter.platform.measuring import keep_measuring
from element_jupyter.platform.notebooks_at_stop import Notebooks, Waiting
from element_jupyter.platform.ports import choose_ports
from element_jupyter.platform.processes import DATABASE_VARIABLE, answers, execute, fork_server
from element_jupyter.platform.separation import (
    Separation,
    environment_of_control_plane,
    separate,
    together,
)
from element_jupyter.platform.state import (
    PlatformState,
    ProcessState,
    account_of,
    held,
    read_state,
    write_state,
)
from element_jupyter.platform.supervisor import (
    Component,
    Executed,
    Process,
    State,
    Status,
    Supervisor,
)
from element_jupyter.platform.token import local_token
from element_jupyter.runner import PRELOAD

_log = logging.getLogger(__name__)

Report = Callable[[Component, Status], None]

_SCHEDULING: Final = frozenset({"airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"})
"""What would try a task again at once whose run is stopped."""
_BUILD_AHEAD: Final = "element_jupyter.platform.environments.build_ahead"
_LOOK_SECONDS: Final = 5.0
"""How often one that was started on demand looks whether a notebook runs."""


class Stop:
    """The wish to stop, and how."""

    def __init__(self, *, leave_runs: bool = False) -> None:
        """With `leave_runs`, notebooks that run go on; the next `up` has them again."""
        self.leave_runs = leave_runs
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        """Set to kill the notebooks that are waited for."""


@dataclass(frozen=True)
class Place:
    """Where the platform answers, and the databases that it uses."""

    service_url: str
    service_port: int
    airflow_url: str | None
    airflow_port: int
    database_url: str
    airflow_database_url: str
    hub: HubSetup | None = None
    """Where people sign in; None for one person, by token."""


class Platform:
    """One `element up`: holds the lock of the data directory and runs the components."""

    def __init__(
        self,
        config: Element,
        report: Report,
        waiting: Callable[[Waiting], None] = lambda _waiting: None,
        *,
        on_demand: bool = False,
    ) -> None:
        """`report` is told of each component, `waiting` of the notebooks that a stop waits for.

        On demand there is no Airflow; it ends when no notebook has run for a while, and gives way
        to another.
        """
        self._config = config
        self._on_demand = on_demand
        self._data = Data(config.data)
        self._report = report
        self._waiting = waiting
        self._started_at = datetime.now(UTC)
        self._http = httpx.AsyncClient(timeout=10, trust_env=False)
        self._supervisor: Supervisor | None = None
        self._place: Place | None = None
        self._embedded: postgres.EmbeddedPostgres | None = None
        self._ahead: Executed | None = None
        self._accounts = Separation()

    async def run(self, ready: Callable[[Place], None], stop: Stop) -> int:
        """Run until `stop` is asked for; `ready` is called once, when a run can start.

        Returns the number of notebooks that go on, which is 0 unless they were to be left.

        Raises:
            Conflict: another `up` has this data directory, or a port is taken.
            Unavailable: the directory, the database or a component cannot be used.
        """
        self._data.create()
        with held(self._data.lock_file, self._data.state_file, displaces=not self._on_demand):
            self._end_leftovers()
            database, place = self._database()
            self._place = place
            supervisor = self._supervisor = Supervisor(
                self._components(database, place), self._changed
            )
            servers = self._servers(place)
            notebooks = Notebooks(
                self._data, self._http, place.service_url, self._wind_down, servers
            )
            self._write_state()
            starting = asyncio.create_task(supervisor.start())
            stopping = asyncio.create_task(stop.asked.wait())
            measuring = self._measuring(place)
            running = 0
            try:
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    self._write_state()
                    ready(place)
                    self._build_ahead()
                if self._on_demand:
                    await self._while_used(notebooks, stopping)
                else:
                    await stopping
                starting.cancel()
                if stop.leave_runs:
                    running = await notebooks.count()
                else:
                    await supervisor.stop(_SCHEDULING)
                    await notebooks.stop(self._config.stop_grace_seconds, stop.hurry, self._waiting)
                    if servers is not None:
                        await stop_servers(servers, stop.hurry)
            finally:
                for task in (starting, stopping, *measuring):
                    task.cancel()
                await self._end_builds()
                await supervisor.stop()
                if stop.asked.is_set() and not stop.leave_runs:
                    # a run may have begun in the moment in which the control plane was told
                    await notebooks.kill()
                await self._http.aclose()
                if servers is not None:
                    await servers.close()
                if self._embedded is not None:
                    self._embedded.close()
                self._data.state_file.unlink(missing_ok=True)
            return running

    def _measuring(self, place: Place) -> list[asyncio.Task[None]]:
        """Begin to have measured what people keep, where each has a home of their own."""
        if place.hub is None or serves_one_because() is not None:
            return []
        work = keep_measuring(self._data, self._http, place.service_url)
        return [asyncio.create_task(work, name="measure storage")]

    def _servers(self, place: Place) -> HubServers | None:
        """Return what asks the Hub about people's servers, the runs among them."""
        if place.hub is None:
            return None
        return HubServers(place.hub.api_url, Secret.CONTROL_PLANE.of(self._data))

    async def _while_used(self, notebooks: Notebooks, stopping: asyncio.Task[Any]) -> None:
        """Return when no notebook has run for a while, or a stop is asked for."""
        used = time.monotonic()
        while not stopping.done():
            left = used + self._config.on_demand_seconds - time.monotonic()
            if left <= 0:
                return
            await asyncio.wait({stopping}, timeout=min(left, _LOOK_SECONDS))
            if await notebooks.count():
                used = time.monotonic()

    def _build_ahead(self) -> None:
        """Begin with the shared environments; nothing waits for them, and it may be killed."""
        if self._config.environments and not self._on_demand:
            self._ahead = self._execute("environments", _BUILD_AHEAD, {})

    async def _end_builds(self) -> None:
        if self._ahead is None:
            return
        from element_jupyter.platform.environments.composition import environments

        self._ahead.signal(signal.SIGKILL, group=True)
        await self._ahead.wait()
        if self._accounts.control_plane is not None:
            # what is written there by another account is not for root to believe
            ending = self._execute("environments", _BUILD_AHEAD, {}, "--end")
            await ending.wait()
        elif (made := environments(self._config)) is not None:
            await asyncio.to_thread(made.end_builds)

    def _execute(self, name: str, module: str, environment: dict[str, str], *more: str) -> Executed:
        """Start a process as what the control plane runs as."""
        account = self._accounts.control_plane
        if account is not None:
            passed = environment_of_control_plane(self._config, self._data)
            environment = passed | environment
        arguments = ["--data", str(self._data.root), *more]
        return execute(self._data, name, module, arguments, environment, account=account)

    def _wind_down(self) -> None:
        """Have the control plane stop what runs; before it answers, it would end by the signal."""
        status = self._supervisor.status["service"] if self._supervisor else None
        if status and status.state is State.READY and status.pid and status.started_ticks:
            service = Started(pid=status.pid, started_ticks=status.started_ticks)
            send_signal(service, signal.SIGUSR1)

    def _end_leftovers(self) -> None:
        """Kill what outlived an `up` that was killed; notebook runs are not in its state."""
        state = read_state(self._data.state_file)
        for name, process in state.processes.items() if state else ():
            # the database server is asked to end, in its own way, before it is started anew
            if name != "postgres" and process.pid and process.started_ticks:
                leftover = Started(pid=process.pid, started_ticks=process.started_ticks)
                send_signal(leftover, signal.SIGKILL)
        self._data.state_file.unlink(missing_ok=True)

    def _changed(self, component: Component, status: Status) -> None:
        self._report(component, status)
        self._write_state()

    def _write_state(self) -> None:
        supervisor, place = self._supervisor, self._place
        if supervisor is None or place is None:
            return
        processes = {
            component.name: ProcessState(
                title=component.title,
                state=status.state,
                pid=status.pid,
                started_ticks=status.started_ticks,
                account=account_of(status.pid),
                restarts=status.restarts,
                since=status.since,
                reason=status.reason,
            )
            for component, status in supervisor.overview()
        }
        state = PlatformState(
            pid=os.getpid(),
            started_ticks=started_ticks(os.getpid()),
            on_demand=self._on_demand,
            started_at=self._started_at,
            service_url=place.service_url,
            airflow_url=place.airflow_url,
            public_url=place.hub.public_url if place.hub else None,
            ready=supervisor.all_ready,
            processes=processes,
        )
        write_state(self._data.state_file, state)

    def _database(self) -> tuple[list[Component], Place]:
        """Decide where everything is; the embedded database server is the first component."""
        with_hub = self._config.hub and not self._on_demand
        ports = choose_ports(self._data, self._config, hub=with_hub)
        components: list[Component] = []
        if self._config.database_url:
            urls = self._given_databases()
        else:
            log = self._data.open_log("postgres")
            server = self._embedded = postgres.EmbeddedPostgres(
                self._data.postgres, log, shared=self._config.hub and not self._on_demand
            )
            urls = tuple(
                server.url(name, "psycopg", self._data.secret(f"postgres-{name}"))
                for name in postgres.OWN_DATABASES
            )
            components = [_embedded_postgres(server, self._data)]
        with_airflow = self._config.airflow and not self._on_demand
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        place = Place(
            service_url=f"http://{host}:{ports['service']}",
            service_port=ports["service"],
            airflow_url=f"http://127.0.0.1:{ports['airflow']}" if with_airflow else None,
            airflow_port=ports["airflow"],
            database_url=urls[0],
            airflow_database_url=urls[1],
        )
        if with_hub:
            place = replace(place, hub=self._hub_setup(ports, place, urls[2]))
        return components, place

    def _hub_setup(self, ports: dict[str, int], place: Place, database_url: str) -> HubSetup:
        bind_url, opened = public_url(self._config, ports["public"])
        return HubSetup(
            bind_url=bind_url,
            public_url=opened,
            hub_port=ports["hub"],
            proxy_port=ports["proxy"],
            database_url=database_url,
            service_url=place.service_url,
            airflow_url=place.airflow_url,
            runner_socket=str(self._data.run / "runner.sock"),
        )

    def _given_databases(self) -> tuple[str, ...]:
        """Return the URLs of the three databases, all of which exist."""
        url = postgres.parse_url(self._config.database_url, "database_url")
        given = self._config.airflow_database_url
        second = (
            postgres.parse_url(given, "airflow_database_url")
            if given
            else url.set(database=f"{url.database}_airflow")
        )
        texts = []
        for each in (url, second, url.set(database=f"{url.database}_hub")):
            text = each.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            postgres.ensure_database(text, str(each.database))
            texts.append(text)
        return tuple(texts)

    def _components(self, database: list[Component], place: Place) -> list[Component]:
        needs = tuple(component.name for component in database)
        # setproctitle would write over the environment of a run, by which ps and tools tell it
        named = {"SPT_NOENV": "1"}
        for_people = place.hub is not None and serves_one_because() is None
        with_airflow = place.airflow_url is not None
        self._accounts = (
            separate(self._config, self._data, airflow=with_airflow)
            if place.hub is not None
            else together(self._config, self._data)
        )
        runner = fork_server(
            self._data,
            "runner",
            "Notebook runner",
            list(PRELOAD),
            named,
            for_people=for_people,
        )
        components = [*database, runner, self._service(needs, place)]
        if place.airflow_url is not None:
            airflow = Airflow(
                port=place.airflow_port,
                database_url=place.airflow_database_url,
                service_url=place.service_url,
                parallelism=self._config.airflow_parallelism,
                hub=self._hub_of_airflow(place),
                account=self._accounts.airflow,
            )
            components.extend(airflow_components(airflow, self._data, self._http, needs))
        if place.hub is not None:
            needs = (*needs, "service")
            components.extend(
                hub_components(
                    self._config, self._data, self._http, place.hub, needs, self._accounts
                )
            )
        return components

    def _hub_of_airflow(self, place: Place) -> HubAddress | None:
        if place.hub is None:
            return None
        return HubAddress(
            api_url=place.hub.api_url,
            public_url=place.hub.origin,
            token_file=Path(Secret.AIRFLOW.file(self._data)),
        )

    def _hub_access(self, place: Place) -> dict[str, str]:
        """Return what the control plane is told of the Hub."""
        if place.hub is None:
            return {}
        data, account = self._data, self._accounts.control_plane
        hub_token = Path(Secret.CONTROL_PLANE.file(data))
        airflow_token = data.control_planes_airflow_token
        tokens = {TOKEN_FILE: hub_token, AIRFLOW_TOKEN_FILE: airflow_token}
        if account is not None:
            # copies: nothing else in there is for its account to read
            for variable, path in tokens.items():
                tokens[variable] = data.control_plane / path.name
                text = data.secret(path.name) + "\n"
                write_private(tokens[variable], text, account.owner)
        return {
            **{variable: str(path) for variable, path in tokens.items()},
            API_URL: place.hub.api_url,
            SPAWNER_DIGEST: digest(Secret.HUB.of(data)),
            AIRFLOW_DIGEST: digest(data.secret(data.airflows_token.name)),
            OWNER_DIGEST: digest(local_token(data.token_file)),
            PUBLIC_URL: place.hub.public_url,
            "ELEMENT_AIRFLOW_PORT": str(place.airflow_port),
        }

    def _service(self, needs: tuple[str, ...], place: Place) -> Component:
        async def launch() -> Process:
            environment = {
                DATABASE_VARIABLE: place.database_url,
                **self._hub_access(place),
            }
            on_demand = ["--on-demand"] if self._on_demand else []
            return self._execute(
                "service",
                "element_jupyter.platform.service",
                environment,
                *("--port", str(place.service_port), *on_demand),
            )

        asked = answers(self._http, f"{place.service_url}/api/v1/health")
        return Component(
            "service",
            "Control plane",
            launch,
            asked,
            asked,
            needs=(*needs, "runner"),
            log=self._data.log_name("service"),
        )


def _embedded_postgres(server: postgres.EmbeddedPostgres, data: Data) -> Component:
    async def launch() -> Process:
        server.prepare()
        return Executed(server.start())

    async def ready() -> bool:
        if not server.is_ready():
            return False
        for name in postgres.OWN_DATABASES:
            server.ensure_own_database(name, data.secret(f"postgres-{name}"))
        return True

    async def healthy() -> bool:
        return server.is_ready()

    return Component(
        "postgres",
        "PostgreSQL",
        launch,
        ready,
        healthy,
        stop_signal=signal.SIGINT,  # fast shutdown: sessions are ended, everything is written
        stop_seconds=10,
        log=data.log_name("postgres"),
    )
