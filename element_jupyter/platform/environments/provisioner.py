"""The kernel provisioner, wired: what `KernelProvisionerFactory` loads as `element-environment`."""

from __future__ import annotations

import functools
from pathlib import Path

from element_jupyter import config
from element_jupyter.adapters.project import find_root
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.identity import EnvironmentId
from element_jupyter.core.errors import ElementError
from element_jupyter.platform.environments.composition import Environments, environments
from element_jupyter.platform.environments.kernel_start import (
    NOT_ENCRYPTED,
    OURS,
    about,
    diagnosing,
    failure_of,
    holder,
    in_environment,
)
from element_jupyter.server.provisioner import EnvironmentProvisioner, Launch, Start


@functools.cache
def ours() -> Environments | None:
    """Return what a process of Jupyter's uses, however many kernels it starts."""
    return environments(config.load())


class Provisioner(EnvironmentProvisioner):
    """Starts kernels in the environments of this deployment."""

    def start(self, launch: Launch) -> Start | None:
        try:
            known = ours()
            return None if known is None else self._start(known, launch)
        except (ElementError, OSError) as error:
            self.log.warning("%s: %s", launch.notebook or launch.directory, error)
            return diagnosing(failure_of(error), launch.variables)
        except Exception as error:
            # JupyterLab would show nothing at all when this is a restart
            self.log.exception("%s", launch.notebook or launch.directory)
            return diagnosing(failure_of(error), launch.variables)

    def _start(self, known: Environments, launch: Launch) -> Start:
        found = known.find(launch.notebook or launch.directory)
        ready = known.ready(found)
        if ready is None:
            return self._waiting(known.start_build(found), found, launch)
        return in_environment(
            ready,
            variables=launch.variables,
            notebook=launch.notebook,
            project=_project(launch),
            definition=about(found, launch.notebook),
        )

    def _waiting(self, build_id: str, found: Found, launch: Launch) -> Start:
        module = "element_jupyter.platform.environments.kernel_launcher"
        return Start(
            command=(*OURS, module, "--build", build_id),
            variables=launch.variables,
            given={
                "kernel_id": launch.kernel_id,
                "notebook": str(launch.notebook or ""),
                "project": str(_project(launch)),
                "definition": about(found, launch.notebook),
            },
            waits=True,
        )

    def refuse_encryption(self, launch: Launch) -> Start:
        return diagnosing(NOT_ENCRYPTED, launch.variables)

    def hold(self, environment_id: EnvironmentId, launch: Launch, pid: int) -> None:
        what = str(launch.notebook or launch.directory)
        known, held = ours(), holder(launch.kernel_id, pid, what)
        try:
            if known is not None and held is not None and not known.hold(environment_id, held):
                self.log.warning("%s was removed while %s started in it", environment_id, what)
        except (ElementError, OSError) as error:
            # the kernel runs: only pruning does not know of it
            self.log.warning("%s: cannot note that %s uses it: %s", environment_id, what, error)

    def release(self, environment_id: EnvironmentId, kernel_id: str) -> None:
        known = ours()
        try:
            if known is not None:
                known.release(environment_id, kernel_id)
        except (ElementError, OSError) as error:
            # it counts no longer than its process lives
            self.log.warning("%s: cannot note that it is unused: %s", environment_id, error)


def _project(launch: Launch) -> Path:
    # any name will do for a directory: the search begins beside it
    return find_root(launch.notebook or launch.directory / "any")
