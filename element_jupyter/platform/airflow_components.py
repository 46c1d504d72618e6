"""Airflow as components of the platform: what is started in which order, and when it is ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy.engine import make_url

from element_jupyter import provider
from element_jupyter.adapters.forkserver import ForkServer, Spawn
from element_jupyter.adapters.postgres import connect_arguments
from element_jupyter.adapters.service_accounts import ServiceAccount
from element_jupyter.core.orchestration import HubAddress
from element_jupyter.platform.airflow_home import AirflowSetup, write_home
from element_jupyter.platform.data import Data
from element_jupyter.platform.ports import LOOPBACK
from element_jupyter.platform.processes import answers, fork_server
from element_jupyter.platform.supervisor import Component, Process

_MODULE: Final = "element_jupyter.platform.airflow_processes"
_FORK_SERVER: Final = "airflow"
_HEARTBEAT_OLD_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Airflow:
    """What Airflow's processes are started with."""

    port: int
    database_url: str
    service_url: str
    parallelism: int
    hub: HubAddress | None = None
    account: ServiceAccount | None = None
    """What its processes run as; None: as who started the platform."""

    @property
    def url(self) -> str:
        """Where it answers on this machine; behind the Hub's proxy under the same path as there."""
        return f"http://{LOOPBACK}:{self.port}{self.hub.prefix if self.hub else ''}"


def airflow_components(
    airflow: Airflow, data: Data, http: httpx.AsyncClient, database: tuple[str, ...]
) -> list[Component]:
    """Write Airflow's home and return its processes; `database` are the components it needs."""
    url = make_url(airflow.database_url)
    write_home(
        data,
        AirflowSetup(
            port=airflow.port,
            service_url=airflow.service_url,
            database_url=_with_driver(url, "psycopg2"),
            async_database_url=_with_driver(url, "asyncpg"),
            parallelism=airflow.parallelism,
            hub=airflow.hub,
        ),
        airflow.account,
    )
    if airflow.account is not None:
        data.let_accounts_pass()
    environment = {
        "AIRFLOW_HOME": str(data.airflow),
        **({"HOME": str(data.airflow)} if airflow.account else {}),
        "SPT_NOENV": "1",  # setproctitle would write over the environment that ps shows
    }
    modules = [_MODULE, *(f"{provider.__name__}.{m.name}" for m in iter_modules(provider.__path__))]
    # of the account, if there is one, which could not enter the platform's own
    sockets = data.airflow / "run" if airflow.account else data.run
    server = fork_server(
        data,
        _FORK_SERVER,
        "Airflow, imported once",
        modules,
        environment,
        account=airflow.account,
        directory=sockets,
    )
    forked = partial(_forked, data, airflow.account, sockets / f"{_FORK_SERVER}.sock")
    migration = Component(
        "airflow-database",
        "Airflow's database",
        forked("airflow-database", "migrate"),
        needs=(*database, server.name),
        once=True,
        ready_seconds=600,
        log=data.log_name("airflow-database"),
    )
    needs = (*database, server.name, migration.name)
    api_server = Component(
        "airflow-api-server",
        "Airflow API server",
        forked("airflow-api-server", "api_server", LOOPBACK, airflow.port),
        _serves(http, airflow.url),
        answers(http, f"{airflow.url}/api/v2/version"),
        needs=needs,
        stop_seconds=4,
        log=data.log_name("airflow-api-server"),
    )
    others = [
        Component(
            name,
            title,
            forked(name, function),
            beats := _beats(airflow.database_url, job_type),
            beats,
            needs=needs,
            log=data.log_name(name),
        )
        for name, title, function, job_type in (
            ("airflow-scheduler", "Airflow scheduler", "scheduler", "SchedulerJob"),
            ("airflow-dag-processor", "Airflow DAG processor", "dag_processor", "DagProcessorJob"),
            ("airflow-triggerer", "Airflow triggerer", "triggerer", "TriggererJob"),
        )
    ]
    return [server, migration, api_server, *others]


def _forked(
    data: Data,
    account: ServiceAccount | None,
    socket: Path,
    name: str,
    function: str,
    *arguments: Any,
) -> Callable[[], Awaitable[Process]]:
    async def launch() -> Process:
        return await ForkServer(socket).spawn(
            Spawn(
                target=f"{_MODULE}:{function}",
                arguments=list(arguments),
                directory=str(data.airflow),
                log=str(data.open_log(name, account.owner if account else None)),
                title=f"element: {name}",
                new_session=True,
            )
        )

    return launch


def _serves(http: httpx.AsyncClient, url: str) -> Callable[[], Awaitable[bool]]:
    listens = answers(http, f"{url}/api/v2/version")
    # builds the execution API, which takes seconds that the first task would have to wait
    takes_tasks = answers(http, f"{url}/execution/health", timeout_seconds=60)

    async def serves() -> bool:
        return await listens() and await takes_tasks()

    return serves


def _beats(database_url: str, job_type: str) -> Callable[[], Awaitable[bool]]:
    """Return the question whether a component's own heartbeat is fresh.

    The database is asked, since a failure of the API server would look like one of all the others.
    """
    arguments = connect_arguments(database_url)

    async def beats() -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(**arguments, connect_timeout=5)
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


def _with_driver(url: Any, driver: str) -> str:
    changed = url.set(drivername=f"postgresql+{driver}")
    return str(changed.render_as_string(hide_password=False))
