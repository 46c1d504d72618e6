"""One kernel: started, watched, interrupted and ended.

Starts the process itself rather than through a kernel manager, which would spend time on what a run
does not need (provisioners, heartbeats, polls with fixed pauses) and would not let it die with the
runner. The kernels of IPython get unix sockets in a private directory, so that runs that start at
the same time cannot race for ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.connect import KernelConnectionInfo, write_connection_file
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from traitlets import TraitError, Type

from element_jupyter.core.errors import ElementError, Invalid
from element_jupyter.core.resources.words import of_limit
from element_jupyter.runner.machine import Machine, OomWatch
from element_jupyter.runner.processes import Tree, die_with_parent, exit_in_words

START_TIMEOUT_SECONDS: Final = 60.0
_LOCAL: Final = "local-provisioner"
_RECONNECT_MS: Final = 5
"""The client is there before the kernel listens; ZeroMQ would look again every 100 ms only."""
_LEAVE_SECONDS: Final = 0.5
"""Exit handlers have run once a kernel closes its channels; ipykernel 7.4 hangs then at times."""
_SLICE_SECONDS: Final = 0.02
"""A flood of messages may keep the event loop for so long before others get their turn."""

Message = dict[str, Any]


class KernelDied(ElementError):
    """The kernel's process has ended on its own; the message says how."""

    code = "kernel_died"


def find_kernel(name: str) -> KernelSpec:
    """Return the installed kernel of that name.

    Raises:
        Invalid: there is none; the hint lists those there are.
    """
    # not `get_kernel_spec`, which reads the entry points of all that is installed for provisioners
    manager = KernelSpecManager()
    specs = manager.find_kernel_specs()
    directory = specs.get(name.lower())
    if directory is None:
        raise Invalid(
            f"There is no kernel '{name[:100]}' here.",
            f"Installed: {', '.join(sorted(specs)) or 'none'}."
            " Choose one of them, or install the one that the notebook names.",
            field="kernel",
        )
    try:
        if (Path(directory) / "kernel.json").exists():
            spec = KernelSpec.from_resource_dir(directory)
        else:  # this interpreter's own, which needs no file
            spec = manager.get_kernel_spec(name)
    except (OSError, ValueError, TraitError, NoSuchKernel) as error:
        raise Invalid(f"The kernel '{name}' is damaged: {error}.", field="kernel") from error
    provisioner = spec.metadata.get("kernel_provisioner", {}).get("provisioner_name", _LOCAL)
    if provisioner != _LOCAL:
        raise Invalid(
            f"The kernel '{name}' is started by '{provisioner}', not as a process of this machine.",
            "Choose a kernel that is.",
            field="kernel",
        )
    return spec


class _Shell(AsyncZMQSocketChannel):
    """The channel of requests and their replies."""

    def send(self, message: Message) -> None:
        """Send by another handle of the socket, and look whether a reply came in that moment.

        Whoever uses a ZeroMQ socket takes the one notice that something has come to it.
        """
        super().send(message)
        self.socket.get(zmq.EVENTS)


class _Client(AsyncKernelClient):
    shell_channel_class = Type(_Shell)


class Kernel:
    """A kernel's process and the connection to it; used by one event loop."""

    def __init__(
        self,
        name: str,
        *,
        directory: Path,
        environment: Mapping[str, str],
        machine: Machine,
        command: Sequence[str] = (),
        adopting: bool = False,
    ) -> None:
        """Make one that is not started.

        `command` are the words of a kernel of IPython that is not an installed one, with
        `{connection_file}` among them; without them, the installed kernel of that name is meant.
        """
        self.name = name
        self.client: AsyncKernelClient
        self.tree: Tree
        self.on_shell: Callable[[Message], None] = lambda _message: None
        self.on_output: Callable[[Message], None] = lambda _message: None
        self.died: asyncio.Future[str]
        """Done once the process has ended; says how."""
        self.out_of_memory = False
        """Whether it was killed for want of memory."""
        self.peak_bytes = 0
        """The highest memory of its own process; known once it was killed for want of it."""
        self._spec = KernelSpec(argv=[*command]) if command else find_kernel(name)
        self._is_ipython = bool(command) or any("ipykernel" in word for word in self._spec.argv)
        self._directory = directory
        self._environment = environment
        self._adopting = adopting
        self._private = Path()
        self._process: subprocess.Popen[bytes]
        self._tasks: list[asyncio.Task[None]] = []
        self._context: zmq.asyncio.Context
        self._control: Any
        self._said: deque[bytes] = deque(maxlen=16)
        self._machine = machine
        self._oom = OomWatch(machine.groups)
        self._maxrss_bytes = 0
        self._ending = False

    # ------------------------------------------------------------------------------------- start

    async def start(self) -> None:
        """Start the process and connect; `ready` waits until it answers.

        Raises:
            Invalid: the kernel's program cannot be started.
        """
        loop = asyncio.get_running_loop()
        self.died = loop.create_future()
        self._private = Path(tempfile.mkdtemp(prefix="element-"))
        connection_file = str(self._private / "kernel.json")
        _, connection = write_connection_file(
            connection_file,
            transport="ipc" if self._is_ipython else "tcp",
            ip=str(self._private / "k") if self._is_ipython else "127.0.0.1",
            key=os.urandom(32).hex().encode(),
            kernel_name=self.name,
        )
        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - some ms; nothing else runs yet
                self._command(connection_file),
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                cwd=self._directory,
                env=self._variables(),
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, no lock
            )
        except (OSError, ValueError) as error:
            os.close(read)
            shutil.rmtree(self._private, ignore_errors=True)
            raise Invalid(
                f"The kernel '{self.name}' cannot be started: {error}.",
                f"Its program is {self._spec.argv[0]}.",
                field="kernel",
            ) from error
        finally:
            os.close(write)
        self.tree = Tree(self._process.pid, self._machine.processes, adopting=self._adopting)
        os.set_blocking(read, False)
        loop.add_reader(read, self._listen, read)
        self._watch()
        self._connect(connection)

    def _command(self, connection_file: str) -> list[str]:
        values = {
            "connection_file": connection_file,
            "prefix": sys.prefix,
            "resource_dir": self._spec.resource_dir,
        }
        command = list(self._spec.argv)
        version = sys.version_info
        if command[0] in {"python", f"python{version[0]}", f"python{version[0]}.{version[1]}"}:
            command[0] = sys.executable
        for name, value in values.items():
            command = [word.replace(f"{{{name}}}", value) for word in command]
        if self._is_ipython:
            command.append("--HistoryManager.hist_file=:memory:")
        return command

    def _variables(self) -> dict[str, str]:
        added = {
            name: Template(value).safe_substitute(self._environment)
            for name, value in self._spec.env.items()
        }
        # IPython's kernel looks whether this process is still there
        return {**self._environment, **added, "JPY_PARENT_PID": str(os.getpid())}

    def _listen(self, read: int) -> None:
        """Keep the last words of the process, for when it does not start."""
        try:
            said = os.read(read, 65536)
        except BlockingIOError:
            return
        if said:
            self._said.append(said[-4096:])
        else:
            asyncio.get_running_loop().remove_reader(read)
            os.close(read)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            handle = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._tasks.append(loop.create_task(self._look_every_so_often()))
            return

        def ended() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            self._tell_end(self._reap())

        loop.add_reader(handle, ended)

    async def _look_every_so_often(self) -> None:
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - macOS has no pidfd
            await asyncio.sleep(0.2)
        self._tell_end(code)

    def _reap(self) -> int:
        """Collect the process that has ended, with what it used; returns its exit code."""
        with contextlib.suppress(ChildProcessError):
            _, status, used = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._maxrss_bytes = used.ru_maxrss * 1024
        return self._process.wait()

    def _tell_end(self, code: int) -> None:
        if self.died.done():
            return
        said = ""
        if code == -signal.SIGKILL and self._oom.anywhere:
            self.out_of_memory = True
            self.peak_bytes = self._maxrss_bytes
            said = self._of_memory()
        self.died.set_result(exit_in_words(code, out_of_memory=said))

    def _of_memory(self) -> str:
        limit = self._machine.memory_limit_bytes
        if limit is not None and self._oom.in_group:
            return f"was killed for want of memory ({of_limit(self.peak_bytes, limit)})"
        return "was killed, probably because the machine was out of memory"

    def _connect(self, connection: KernelConnectionInfo) -> None:
        self._context = zmq.asyncio.Context()
        self._context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._context.setsockopt(zmq.RCVHWM, 0)  # beyond a limit, outputs would be dropped
        self._context.setsockopt(zmq.LINGER, 0)
        self.client = _Client(context=self._context)
        self.client.load_connection_info(connection)
        self.client.allow_stdin = False
        self._control = self.client.control_channel
        self._tasks += [
            asyncio.create_task(self._pump(self.client.shell_channel, "on_shell")),
            asyncio.create_task(self._pump(self.client.iopub_channel, "on_output")),
        ]

    async def _pump(self, channel: Any, listener: str) -> None:
        turn_ends = time.monotonic() + _SLICE_SECONDS
        while True:
            try:
                message = await channel.get_msg()
            except (ValueError, KeyError, TypeError, UnicodeDecodeError):
                continue  # a message that is not signed by this kernel, or is none
            getattr(self, listener)(message)
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + _SLICE_SECONDS

    async def ready(self, timeout: float = START_TIMEOUT_SECONDS) -> dict[str, Any]:
        """Wait until both channels work; returns what the kernel says about itself.

        Raises:
            KernelDied: it ended, or did not answer in time.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Message] = loop.create_future()
        heard = loop.create_future()

        def on_shell(message: Message) -> None:
            if message["msg_type"] == "kernel_info_reply" and not reply.done():
                reply.set_result(message["content"])

        def on_output(_message: Message) -> None:
            if not heard.done():
                heard.set_result(None)

        self.on_shell, self.on_output = on_shell, on_output
        until = loop.time() + timeout
        self.client.kernel_info()
        while not (reply.done() and heard.done()):
            waiting = {future for future in (reply, heard) if not future.done()}
            # a kernel of before the welcome message is asked again, so that it says something
            pause = 0.05 if reply.done() else 3.0
            await asyncio.wait(
                {*waiting, self.died}, timeout=pause, return_when=asyncio.FIRST_COMPLETED
            )
            if self.died.done():
                raise KernelDied(
                    f"The kernel '{self.name}' {self.died.result()} while it was starting.",
                    self.last_words(),
                )
            if loop.time() > until:
                raise KernelDied(
                    f"The kernel '{self.name}' did not answer within {timeout:.0f} s.",
                    self.last_words(),
                )
            if not heard.done():
                self.client.kernel_info()
        return reply.result()

    def last_words(self) -> str:
        """Return the last lines that the process wrote by itself, shortened."""
        lines = b"".join(self._said).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:])[-2000:]

    # --------------------------------------------------------------------------------------- end

    def interrupt(self) -> None:
        """Interrupt what runs in the kernel, as the editor's stop button does."""
        if self.died.done():
            return
        if self._spec.interrupt_mode == "message":
            self._send_control("interrupt_request", {})
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)

    def _send_control(self, kind: str, content: dict[str, Any]) -> None:
        message = self.client.session.msg(kind, content)
        self._control.send(message)

    async def shut_down(self, grace_seconds: float = 5.0) -> None:
        """Ask the kernel to end so that its exit handlers run, then end all that is left of it."""
        if self._ending:
            return
        self._ending = True
        if not self.died.done():
            monitor = self.client.iopub_channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self._send_control("shutdown_request", {"restart": False})
            hung_up = asyncio.ensure_future(monitor.poll())
            first: set[asyncio.Future[Any]] = {self.died, hung_up}
            await asyncio.wait(first, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
            if hung_up.done():
                await asyncio.wait({self.died}, timeout=_LEAVE_SECONDS)
            hung_up.cancel()
            self.client.iopub_channel.socket.disable_monitor()
        await self._end()

    async def kill_processes(self) -> None:
        """Kill the kernel and every process that it has started."""
        await asyncio.to_thread(self.tree.kill)

    async def _end(self) -> None:
        await self.kill_processes()
        await asyncio.wait({self.died}, timeout=5.0)
        self.tree.reap()
        await self._disconnect()

    async def _disconnect(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.client.stop_channels()
        self._context.destroy(linger=0)
        shutil.rmtree(self._private, ignore_errors=True)
