"""Composition of the Hub's spawner: sizes from their file, accounts, limits and the fork server."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from element_jupyter.adapters.accounts import OwnAccount, PeopleAccounts
from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.adapters.forkserver import Become, ForkServer, Spawn
from element_jupyter.adapters.resources.gpu_time import GpuTime
from element_jupyter.adapters.team_directories import TeamDirectories
from element_jupyter.config import Element
from element_jupyter.core.confinement import Account, Free, Limiter
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.provisioning import Launcher, ProcessExit
from element_jupyter.core.quotas.allocations import Reservations
from element_jupyter.core.sizes import Sizes
from element_jupyter.hub.spawner import LocalMachine, Released, Services, wrap
from element_jupyter.hub.spawner.metering import Meter
from element_jupyter.platform.control_groups import limits_of

RUN_TARGET: Final = "element_jupyter.platform.runner:run_remote"


def accounts_of(config: Element, *, many: bool = True) -> PeopleAccounts | OwnAccount:
    """Return the accounts of this machine; `lock` ends what a suspended person runs."""
    if many and os.geteuid() == 0:
        return PeopleAccounts(config.accounts_group, Path(config.homes_dir))
    return OwnAccount(config.owner)


def local_spawner(
    config: Element,
    sizes: Path,
    *,
    launcher: Launcher | None = None,
    url: str = "",
    fork_socket: Path | str | None = None,
    fork_target: str = RUN_TARGET,
    released: Callable[[Released], Awaitable[None]] | None = None,
    reservations: Reservations | None = None,
    count: Callable[[Sequence[Reading]], None] | None = None,
    many: bool = True,
) -> type[Any]:
    """Return the class that starts servers on this machine.

    For `many`, as root, everybody has an account of their own; else all is the one person's who
    runs this. `url` is the control plane's for servers; `fork_socket` a fork server's that is for
    people. Without one, runs are executed. `count` is told what all use, as one batch.
    """
    from jupyterhub.spawner import LocalProcessSpawner

    limiter = limits_of(config.data).limiter
    file = AdminFile(sizes, Sizes)
    gpus = _gpus()
    machine = LocalMachine(
        accounts=accounts_of(config, many=many),
        limiter=limiter,
        teams=(
            TeamDirectories(Path(config.teams_dir), config.accounts_group)
            if many and os.geteuid() == 0
            else None
        ),
        fork=_forking(Path(fork_socket), fork_target) if fork_socket is not None else None,
    )
    services = Services(
        sizes=lambda: file.value,
        launcher=launcher,
        url=url,
        free=lambda: free_now(limiter),
        gpus=gpus,
        meter=Meter(count, GpuTime() if gpus else None) if count is not None else None,
        released=released,
        reservations=reservations,
        collaboration_dir=config.collaboration_dir,
    )
    return wrap(LocalProcessSpawner, services, machine)


def free_now(limiter: Limiter) -> Free:
    """Return what has been given to nobody, and is not used by anything else."""
    granted = limiter.granted()
    memory = psutil.virtual_memory()
    promised = memory.total - sum(each.memory_bytes for each in granted)
    cores = float(os.cpu_count() or 1) - sum(each.cpu for each in granted)
    return Free(
        cpu=max(0.0, cores), memory_bytes=max(0, min(memory.available, promised)), gpu=len(_gpus())
    )


def _gpus() -> tuple[str, ...]:
    """Return the GPUs here, by the numbers that CUDA_VISIBLE_DEVICES takes."""
    devices = Path("/proc/driver/nvidia/gpus")
    return tuple(str(number) for number, _ in enumerate(devices.glob("*")))


class _Watched:
    """A forked process, with its end in the core's words."""

    def __init__(self, child: Any) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    async def wait(self) -> ProcessExit:
        told = await self._child.wait()
        return ProcessExit(code=told.code, signal=told.signal)


def _forking(socket: Path, target: str) -> Callable[..., Awaitable[_Watched]]:
    server = ForkServer(socket)

    async def fork(
        account: Account, entrances: Sequence[str], environment: Mapping[str, str], log: str
    ) -> _Watched:
        child = await server.spawn(
            Spawn(
                target=target,
                environment=dict(environment),
                directory=account.home,
                log=log,
                new_session=True,
                die_with_server=False,
                become=Become(
                    uid=account.uid,
                    gid=account.gid,
                    groups=account.groups,
                    entrances=tuple(entrances),
                ),
            )
        )
        return _Watched(child)

    return fork


def cluster_spawner(
    backend: type[Any],
    sizes: Path,
    *,
    launcher: Launcher | None = None,
    url: str = "",
    released: Callable[[Released], Awaitable[None]] | None = None,
    reservations: Reservations | None = None,
) -> type[Any]:
    """Return the class that starts servers by a cluster's spawner, such as `SlurmSpawner`."""
    file = AdminFile(sizes, Sizes)
    services = Services(
        sizes=lambda: file.value,
        launcher=launcher,
        url=url,
        released=released,
        reservations=reservations,
    )
    return wrap(backend, services)
