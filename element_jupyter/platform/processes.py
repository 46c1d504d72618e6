"""How the platform's own processes are started, and asked whether they work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from element_jupyter.adapters.forkserver import ForkServer, die_with_parent
from element_jupyter.adapters.service_accounts import LOW_PORTS, ServiceAccount, become
from element_jupyter.platform.data import Data
from element_jupyter.platform.supervisor import Component, Executed, Process

_PLAIN: Final = frozenset({"PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "TMPDIR"})
_FOREIGN: Final = "AIRFLOW"
"""Begins the variables by which a person's own Airflow would reach into the platform's."""
DATABASE_VARIABLE: Final = "ELEMENT_UP_DATABASE_URL"
"""In what `up` hands to the control plane; not in argv, which everybody can read: it may hold a
password. Unlike `ELEMENT_DATABASE_URL` it wins over `element_config.py`, which `up` has read."""


def execute(
    data: Data,
    name: str,
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    *,
    account: ServiceAccount | None = None,
) -> Executed:
    """Start `python -m module` with its output in the log `name`; it dies with this process.

    As another `account`, it has nothing of this process's environment that could be a secret.
    """
    inherited = {
        key: value
        for key, value in os.environ.items()
        if (key in _PLAIN if account is not None else not key.startswith(_FOREIGN))
    }
    command = [sys.executable, "-m", module, *arguments]
    return execute_program(data, name, command, inherited | environment, account=account)


def execute_program(
    data: Data,
    name: str,
    command: list[str],
    environment: dict[str, str],
    directory: Path | None = None,
    *,
    account: ServiceAccount | None = None,
    ports: bool = False,
) -> Executed:
    """Start a program with exactly this environment, as `execute` does.

    With `ports`, another account may listen on those below 1024 too; nothing else is left of root.
    """
    with data.open_log(name).open("ab") as log:
        return Executed(
            subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for `up`, which stops them in order
                **_as_account(account, ports=ports),
            )
        )


def _as_account(account: ServiceAccount | None, *, ports: bool) -> dict[str, Any]:
    if account is None:
        return {"preexec_fn": die_with_parent}
    if ports:
        return {"preexec_fn": partial(_with_ports, account), "umask": 0o077}
    return {
        "user": account.uid,
        "group": account.gid,
        "extra_groups": [],
        "umask": 0o077,
        "preexec_fn": die_with_parent,
    }


def _with_ports(account: ServiceAccount) -> None:
    become(account, LOW_PORTS)
    die_with_parent()  # after it: a change of account would take it back


def fork_server(
    data: Data,
    name: str,
    title: str,
    modules: list[str],
    environment: dict[str, str],
    *,
    for_people: bool = False,
    account: ServiceAccount | None = None,
    directory: Path | None = None,
) -> Component:
    """Return the fork server that listens on `<name>.sock` with the modules imported.

    The socket is in `run/`, or in a `directory` that is the `account`'s own. What one `for_people`
    forks is somebody's, and has nothing of root's; for root alone.
    """
    path = (directory or data.run) / f"{name}.sock"

    async def launch() -> Process:
        path.unlink(missing_ok=True)
        kind = ["--for-people"] if for_people else []
        arguments = ["--socket", str(path), *kind, "--preload", *modules]
        module = "element_jupyter.platform.forkserver"
        return execute(data, name, module, arguments, environment, account=account)

    asked = ForkServer(path).answers
    return Component(name, title, launch, asked, asked, stop_seconds=2, log=data.log_name(name))


def answers(
    http: httpx.AsyncClient, url: str, *, timeout_seconds: float = 10
) -> Callable[[], Awaitable[bool]]:
    """Return the question whether a GET of the URL succeeds."""

    async def asked() -> bool:
        try:
            return (await http.get(url, timeout=timeout_seconds)).is_success
        except httpx.HTTPError:
            return False

    return asked
