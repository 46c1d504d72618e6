"""How the control plane makes the processes of runs, and what they are given of its environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from element_jupyter.adapters.forkserver import Child, ForkServer, Spawn
from element_jupyter.adapters.local_runs import Fork
from element_jupyter.platform.hub.access import HANDED_OVER
from element_jupyter.platform.processes import DATABASE_VARIABLE


def forker(socket: Path) -> Fork:
    """Return what forks a runner, of the fork server that listens at a socket."""
    server = ForkServer(socket)

    async def fork(target: str, arguments: Sequence[str], log: Path) -> Child:
        return await server.spawn(
            Spawn(
                target=target,
                arguments=list(arguments),
                log=str(log),
                title="element: run",
                new_session=True,
                die_with_server=False,
            )
        )

    return fork


def runners_environment() -> dict[str, str]:
    """Return the environment of runs: the person's own, without the database's password."""
    hidden = {"ELEMENT_DATABASE_URL", DATABASE_VARIABLE} | HANDED_OVER
    return {name: value for name, value in os.environ.items() if name not in hidden}
