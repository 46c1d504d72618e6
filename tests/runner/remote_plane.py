"""A control plane, as a process of its own, whose runs are executed where none of its files is.

    python -m tests.runner.remote_plane '{"data": …, "database_url": …, "port": …, "command": […], …}'

`command` starts Python as another account; `environment` is all that it has.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from element_jupyter.adapters import local_runs
from element_jupyter.adapters.local_runs import LocalRuns
from element_jupyter.core.provisioning import ProcessRef
from element_jupyter.core.runs import RunSpec
from tests.service.run_plane import plane


class ElsewhereRuns(LocalRuns):
    """Starts runners as the Hub does: with nothing but a URL and a token."""

    def __init__(self, command: list[str], environment: dict[str, str], *, token_file: bool):
        super().__init__(lambda *_: None, environment)
        self._command = command
        self._token_file = token_file

    async def start(self, spec: RunSpec, directory: Path) -> ProcessRef:
        if (found := local_runs._started_in(directory)) is not None:
            return found
        token = Path(spec.token_file or "").read_text()
        environment = dict(self._environment) | {"ELEMENT_RUN_URL": spec.report_url or ""}
        if self._token_file:
            file = Path(environment["HOME"]) / f"token-{spec.run_id}"
            file.touch(0o600)
            file.write_text(token)
            home = file.parent.stat()
            os.chown(file, home.st_uid, home.st_gid)
            environment["ELEMENT_RUN_TOKEN_FILE"] = str(file)
        else:
            environment["ELEMENT_RUN_TOKEN"] = token
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        pid = os.posix_spawn(
            self._command[0],
            self._command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(directory / "runner.log"), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._children.add(pid)
        return ProcessRef(pid=pid, started_ticks=local_runs._ticks(pid) or 0)


async def main(given: dict[str, Any]) -> None:
    provisioner = ElsewhereRuns(
        given["command"], given["environment"], token_file=given["token_file"]
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    data = Path(given["data"])
    async with plane(
        data,
        given["database_url"],
        given["port"],
        provisioner=provisioner,
        tokens_expire=True,
        capacity=4,
        stop_grace_seconds=2.0,
    ):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
