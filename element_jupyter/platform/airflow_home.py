"""Airflow's home in the data directory: its configuration, its secrets, the person's DAG folder.

Each setting that differs from Airflow 3.3's default says why. The file is written anew at each
start: it is derived, and `airflow` commands of a person work with it by `AIRFLOW_HOME` alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Final

from element_jupyter.adapters.service_accounts import ServiceAccount, own
from element_jupyter.core.orchestration import HubAddress
from element_jupyter.platform.airflow import (
    AIRFLOW_SETTINGS,
    ELEMENT_BUNDLE,
    HUB_AUTH_MANAGER,
    element_section,
    hub_section,
)
from element_jupyter.platform.data import Data, write_private

USERNAME: Final = "element"
Sections = dict[str, dict[str, object]]


@dataclass(frozen=True)
class AirflowSetup:
    """What the configuration depends on."""

    port: int
    service_url: str
    database_url: str
    """SQLAlchemy URL with the driver psycopg2."""
    async_database_url: str
    """The same database with the driver asyncpg."""
    parallelism: int
    hub: HubAddress | None = None
    """Where people sign in, behind whose proxy Airflow then is; None: the one local user."""


def write_home(data: Data, setup: AirflowSetup, account: ServiceAccount | None = None) -> None:
    """Write airflow.cfg and the control plane's sign-in; create the person's DAG folder.

    What is in the home is the account's alone; it may read the DAG folder too.
    """
    for directory in (data.airflow, data.dags):
        directory.mkdir(mode=0o700, exist_ok=True)
    owner = account.owner if account else None
    if account is not None:
        own(data.airflow, account)
        os.chown(data.dags, -1, account.gid)
        data.dags.chmod(0o750)
    if setup.hub is None:
        passwords = {USERNAME: data.secret("airflow-password")}
        write_private(data.airflow_passwords, json.dumps(passwords) + "\n")
        # the control plane signs in with what is there
        data.control_planes_airflow_token.unlink(missing_ok=True)
    sections = _sections(data, setup)
    if setup.hub is not None:
        # copies, which another account than the control plane's can read
        token = data.secret(data.airflows_token.name)
        write_private(data.airflow / "control-plane-token", token + "\n", owner)
        write_private(data.airflow / "hub-token", setup.hub.token_file.read_text(), owner)
    write_private(data.airflow / "airflow.cfg", _text(sections), owner)


def _sections(data: Data, setup: AirflowSetup) -> Sections:
    sections = _own_sections(data, setup)
    for name, options in AIRFLOW_SETTINGS.items():
        sections.setdefault(name, {}).update(options)
    sections["element"] = element_section(setup.service_url, data.token_file)
    if setup.hub is not None:
        token = data.secret(data.control_planes_airflow_token.name)
        # its own, by which the control plane knows it for the one that says when jobs run
        sections["element"] |= {"token_file": data.airflow / "control-plane-token"}
        hub = setup.hub.model_copy(update={"token_file": data.airflow / "hub-token"})
        sections["element"] |= hub_section(hub, hashlib.sha256(token.encode()).hexdigest())
        sections["core"] |= {"auth_manager": HUB_AUTH_MANAGER}
        sections["api"] |= {"base_url": f"{setup.hub.public_url}{setup.hub.prefix}"}
        # Airflow then answers under that path alone, to its own tasks too
        direct = f"http://127.0.0.1:{setup.port}{setup.hub.prefix}"
        sections["core"] |= {"execution_api_server_url": f"{direct}/execution/"}
        for name in ("simple_auth_manager_users", "simple_auth_manager_passwords_file"):
            del sections["core"][name]
    return sections


def _own_sections(data: Data, setup: AirflowSetup) -> Sections:
    url = f"http://127.0.0.1:{setup.port}"
    return {
        "core": {
            "executor": "element_jupyter.platform.airflow_executor.DeferringLocalExecutor",
            "parallelism": setup.parallelism,  # each of the default 32 would be an idle process
            "auth_manager": "airflow.api_fastapi.auth.managers.simple."
            "simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{USERNAME}:admin",
            "simple_auth_manager_passwords_file": data.airflow_passwords,
            "fernet_key": data.fernet_key("airflow-fernet-key"),
            "execution_api_server_url": f"{url}/execution/",
            "dags_folder": data.dags,
            "load_examples": False,
            "hostname_callable": "socket.gethostname",  # the default asks DNS, which may hang
            "max_active_tasks_per_dag": 64,  # the control plane's queue is what limits
        },
        "database": {
            "sql_alchemy_conn": setup.database_url,
            "sql_alchemy_conn_async": setup.async_database_url,
            "sql_alchemy_max_overflow": 15,
            "check_migrations": False,  # done once, before any component starts
        },
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([ELEMENT_BUNDLE, _persons_bundle(data)]),
            "parsing_processes": 1,
            "dag_file_processor_timeout": 50,
            "health_check_threshold": 60,
        },
        "scheduler": {
            "scheduler_idle_sleep_time": 0.2,  # 1 s would be most of the time of a short run
            "orphaned_tasks_check_interval": 15,  # after a crash tasks would hang for 300 s
            "scheduler_health_check_threshold": 20,
            "catchup_by_default": False,
        },
        "triggerer": {"triggerer_health_check_threshold": 20},
        "workers": {
            "min_heartbeat_interval": 1,  # 5 would hold the slot of many short tasks for 5 s
            "execution_api_timeout": 30,
            "execution_api_retries": 8,  # outlives a restart of the API server
        },
        "api": {
            "host": "127.0.0.1",  # the default is every address
            "port": setup.port,
            "base_url": url,
            "workers": 1,
            "secret_key": data.secret("airflow-secret-key"),
            "instance_name": "Element",
            "expose_config": False,
        },
        "api_auth": {"jwt_secret": data.secret("airflow-jwt-secret")},
        "logging": {
            "logging_config_class": "element_jupyter.platform.airflow_logging.LOGGING_CONFIG",
            "base_log_folder": data.airflow / "logs",
            "dag_processor_child_process_log_directory": data.airflow / "logs" / "dag_processor",
            "colored_console_log": False,
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
        "metrics": {"statsd_on": False, "otel_on": False},
        "traces": {"otel_on": False},
        "usage_data_collection": {"enabled": False},
    }


def _persons_bundle(data: Data) -> dict[str, object]:
    return {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(data.dags), "refresh_interval": 5},
    }


def _text(sections: Sections) -> str:
    lines = ["# Written by `element up` at each start; edits are lost.", ""]
    for section, options in sections.items():
        lines.append(f"[{section}]")
        # configparser interpolates %
        lines.extend(f"{name} = {str(value).replace('%', '%%')}" for name, value in options.items())
        lines.append("")
    return "\n".join(lines)
