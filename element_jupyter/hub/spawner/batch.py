"""Servers as jobs of a batch system, by `batchspawner`; tried with Slurm.

What batchspawner takes from anybody is narrowed here: a server may tell the Hub its port and
nothing else (batchspawner would set any attribute of the spawner, so the commands too that the
Hub runs as root), and the options of a start no longer replace what a job asks for.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import batchspawner  # noqa: F401 - it adds the handler that is replaced below
from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub.apihandlers import APIHandler, default_handlers
from tornado import web
from traitlets import default
from traitlets.config import LoggingConfigurable

from element_jupyter.core.sizes import Size

_WRAPPER: Final = "element_jupyter.hub.spawner.on_node"
_MEBIBYTE: Final = 1 << 20

if TYPE_CHECKING:
    from element_jupyter.hub.spawner.enforcing import EnforcingMixin as Beneath
else:
    Beneath = LoggingConfigurable  # what has traits must be made for it


class BatchMixin(Beneath):
    """Over `EnforcingMixin` and a spawner of batchspawner."""

    @default("cmd")
    def _cmd(self) -> list[str]:
        return [sys.executable, "-P", "-m", "jupyterhub.singleuser"]

    @default("exec_prefix")
    def _exec_prefix(self) -> str:
        # root needs no sudo, whose rules would have to be written first
        return "runuser -u {username} --" if os.geteuid() == 0 else "env"

    def give(self, size: Size) -> None:
        super().give(size)
        self.req_memory = f"{math.ceil(size.memory_bytes / _MEBIBYTE)}M"
        self.req_nprocs = str(math.ceil(size.cpu))
        self.req_ngpus = str(size.gpu) if size.gpu else ""
        if self.has_trait("req_gres"):  # Slurm's
            self.req_gres = f"gpu:{size.gpu}" if size.gpu else ""

    def get_env(self) -> dict[str, str]:
        # for the port alone: what a run executes gets no token of the Hub
        return super().get_env() | {"ELEMENT_PORT_TOKEN": self.api_token}

    def cmd_formatted_for_batch(self) -> str:
        command = [*self.cmd, *self.get_args()]
        if command[0] == "python":
            command[:1] = [sys.executable, "-P"]
        return shlex.join([sys.executable, "-P", "-m", _WRAPPER, *command])


class PortHandler(APIHandler):
    """`POST /hub/api/batchspawner`: a server that has started on some node tells its port."""

    @web.authenticated
    def post(self) -> None:
        token = self.get_auth_token()
        spawners = self.current_user.spawners.values() if self.current_user else ()
        spawner = next((each for each in spawners if token and each.api_token == token), None)
        said: Any = self.get_json_body()
        port = said.get("port") if isinstance(said, dict) else None
        if spawner is None or not isinstance(port, int) or not 0 < port < 65536:
            raise web.HTTPError(400, "A server tells its own port here, as {'port': number}.")
        spawner.port = port
        self.set_status(201)
        self.finish(json.dumps({"message": "thank you"}))


default_handlers[:] = [
    (entry[0], PortHandler) if entry[1] is BatchSpawnerAPIHandler else entry
    for entry in default_handlers
]
