"""The kernel provisioner: the ordinary Python kernel gets the environment of its notebook.

What to start instead of the kernelspec's command is asked for anew at each launch, so that a
restart after the definition was edited is all it takes. Nothing about an environment is raised:
JupyterLab shows such an error when a kernel is started, and swallows it when one is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from element_jupyter.core.environments.identity import EnvironmentId
from element_jupyter.core.notebooks import is_ordinary


@dataclass(frozen=True)
class Launch:
    """A kernel that is about to be started."""

    kernel_id: str
    notebook: Path | None
    """Its file, where it has one."""
    directory: Path
    """The one that it starts in."""
    variables: Mapping[str, str]
    """Of the server, with what the kernelspec adds; secrets included."""


@dataclass(frozen=True)
class Start:
    """What to start instead."""

    command: tuple[str, ...]
    """Up to where the arguments of the kernel itself follow."""
    variables: Mapping[str, str]
    """All that the process has."""
    given: Mapping[str, Any]
    """A JSON object on its standard input; it may hold secrets."""
    environment_id: EnvironmentId | None = None
    """None while it is not known: a launcher finds out, and says that the environment is used."""
    waits: bool = False
    """Whether it is a launcher: started with interrupts blocked, which it unblocks when it can
    answer them."""
    encrypts: bool = False
    """Whether it is known to encrypt its messages, if asked to."""


class EnvironmentProvisioner(LocalProvisioner):
    """Starts local kernels; the ordinary Python kernel in the environment of its notebook."""

    notebook: Path | None = None
    environment_id: EnvironmentId | None = None
    _given: bytes | None = None
    _launch: Launch | None = None
    _waits: bool = False
    _holding: asyncio.Future[None] | None = None

    @abstractmethod
    def start(self, launch: Launch) -> Start | None:
        """Say what to start, in a thread; None is what the kernelspec says. Raises nothing."""

    @abstractmethod
    def refuse_encryption(self, launch: Launch) -> Start:
        """Say what to start where encryption is a must, and the environment's kernel cannot."""

    @abstractmethod
    def hold(self, environment_id: EnvironmentId, launch: Launch, pid: int) -> None:
        """Note that a kernel uses an environment, in a thread."""

    @abstractmethod
    def release(self, environment_id: EnvironmentId, kernel_id: str) -> None:
        """Note that it does not any more, in a thread."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        self._launch = self._given = None
        if not is_ordinary(str(getattr(self.parent, "kernel_name", "")), self.kernel_spec.argv):
            return dict(await super().pre_launch(**kwargs))
        launch = self._about(kwargs)
        start = await asyncio.to_thread(self.start, launch)
        if start is None:
            return dict(await super().pre_launch(**kwargs))
        self._launch, self.notebook = launch, launch.notebook
        start = self._agree_on_encryption(start, launch, kwargs)
        kwargs = await super().pre_launch(**kwargs)
        usual: list[str] = kwargs["cmd"]
        place = usual.index("-m") + 2  # behind the module, where its arguments begin
        self._given, self._waits = json.dumps(dict(start.given)).encode(), start.waits
        await self._use(start.environment_id)
        return {
            **kwargs,
            "cmd": [*start.command, *usual[place:]],
            "env": dict(start.variables),
        }

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        if self._given is None or self._launch is None:
            return await super().launch_kernel(cmd, **kwargs)
        with os.fdopen(os.memfd_create("element-kernel"), "w+b") as given:
            given.write(self._given)
            given.seek(0)
            with _interrupts_blocked() if self._waits else contextlib.nullcontext():
                # it does not give way to anything else while it starts the process
                connection = await super().launch_kernel(cmd, stdin=given.fileno(), **kwargs)
        if self.environment_id is not None and self.pid is not None:
            # the kernel is on its way, and needs not wait for a note about it
            self._holding = asyncio.get_running_loop().run_in_executor(
                None, self.hold, self.environment_id, self._launch, self.pid
            )
        return connection

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        await super().shutdown_requested(restart=restart)
        # a launcher cannot hear what it is asked for, and would be waited for
        if self._waits and await self.running_in() is None:
            await self.terminate(restart=restart)

    async def running_in(self) -> EnvironmentId | None:
        """Return the environment of the kernel's process; None while it waits for one."""
        if self.environment_id is None and self._given is not None and self.has_process:
            self.environment_id = await asyncio.to_thread(_environment_of, self.pid)
        return self.environment_id if self.has_process else None

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - as overridden
        await super().cleanup(restart=restart)
        if not restart:
            await self._use(None)

    async def _use(self, environment_id: EnvironmentId | None) -> None:
        if self._holding is not None:
            await self._holding
            self._holding = None
        before, self.environment_id = self.environment_id, environment_id
        if before is not None and before != environment_id:
            await asyncio.to_thread(self.release, before, self.kernel_id)

    def _about(self, kwargs: Mapping[str, Any]) -> Launch:
        variables = {**kwargs.get("env", os.environ)}
        directory = Path(kwargs.get("cwd") or Path.cwd())
        said = Path(variables.get("JPY_SESSION_NAME", ""))
        # without a name of its own, a session says its path, which begins at the server's root
        file = said if said.is_absolute() else directory / said.name
        # a console's session has a name that is no file
        notebook = file if file.suffix == ".ipynb" and file.is_file() else None
        return Launch(self.kernel_id, notebook, directory, variables)

    def _agree_on_encryption(self, start: Start, launch: Launch, kwargs: dict[str, Any]) -> Start:
        """Let the manager offer keys only to a kernel that will use them.

        It would believe the kernelspec, which speaks of the ipykernel here and not of the one in
        the environment; a client that encrypts waits for ever for a kernel that does not.
        """
        manager = self.parent
        if manager is None or not hasattr(manager, "_transport_encryption_policy"):
            return start
        wanted = kwargs.pop("transport_encryption", manager.transport_encryption)
        policy = manager._transport_encryption_policy(wanted)  # noqa: SLF001 - LocalProvisioner's way
        has_keys = manager.curve_publickey is not None
        restarted = self.pid is not None
        if policy != "required" and restarted and not has_keys:
            policy = "disabled"  # the client goes on with the connection file that it has
        elif policy != "required" and not restarted and not start.encrypts:
            policy = "disabled"
        if (policy == "required" or has_keys) and start.environment_id and not start.encrypts:
            start = self.refuse_encryption(launch)
        kwargs["transport_encryption"] = policy
        return start


def be_the_default(server: Any, name: str, kernel_info_timeout_seconds: float) -> None:
    """Let a Jupyter server start kernels with the provisioner of that name.

    What the administrator has configured stays. A kernel says nothing while it waits for its
    environment, and connections to it must outlast that. The directory of configuration files that
    come with extensions is read for the list of extensions only, so it is done here.
    """
    factory = KernelProvisionerFactory.instance(parent=server)
    configured = "default_provisioner_name" in server.config.KernelProvisionerFactory
    # by a variable of Jupyter's, too
    if not configured and factory.default_provisioner_name == "local-provisioner":
        factory.default_provisioner_name = name
    manager = server.kernel_manager
    manager.kernel_info_timeout = max(manager.kernel_info_timeout, kernel_info_timeout_seconds)


async def kernel_of(kernel_manager: Any, notebook: Path) -> EnvironmentId | None:
    """Return the environment of the kernel that runs for a notebook; None when there is neither."""
    for kernel_id in list(kernel_manager.list_kernel_ids()):
        provisioner = getattr(kernel_manager.get_kernel(kernel_id), "provisioner", None)
        if isinstance(provisioner, EnvironmentProvisioner) and provisioner.notebook == notebook:
            return await provisioner.running_in()
    return None


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that no interrupt reaches until they say so."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment_of(pid: int | None) -> EnvironmentId | None:
    """Return what a process was started with, be it by a launcher that it was before."""
    with contextlib.suppress(psutil.Error):
        command = psutil.Process(pid).cmdline()
        if "--environment" in command[:-1]:
            return command[command.index("--environment") + 1]
    return None
