"""Processes forked from one that has already imported what they need.

A fork server imports a list of modules once, freezes them for the garbage collector and then forks
a child for each request, so that a child starts in milliseconds and shares the imported pages.
The server half (`serve`) runs alone in a single-threaded process of its own
(`python -m element_jupyter.platform.forkserver`); the client half (`ForkServer`) asks it.

Protocol, one connection per child, lines of JSON over a unix socket of mode 0600:

    → a `Spawn`
    ← {"pid": 17, "started_ticks": 4711}        or {"error": <Problem>}
    ← {"code": 0, "signal": null}               once the child has ended

A client that hangs up loses only the news; the child goes on. A peer of another user is refused.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import random
import resource
import selectors
import signal
import socket
import stat
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import Field, JsonValue, ValidationError

from element_jupyter.core.errors import ElementError, Invalid, Problem, Unavailable
from element_jupyter.core.values import Value

MAX_REQUEST_BYTES: Final = 1_000_000
_PR_SET_PDEATHSIG: Final = 1


class Spawn(Value):
    """What to fork: `target` names a function of `arguments` that returns an exit code or None."""

    target: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    arguments: list[JsonValue] = Field(default=[])
    environment: dict[str, str | None] = Field(default={})
    """Additions to the server's environment; None takes a variable away."""
    directory: str = "/"
    log: str = "/dev/null"
    """File that standard output and error are appended to; created with mode 0600."""
    title: str = ""
    new_session: bool = False
    die_with_server: bool = True
    """Whether the kernel kills the child when the fork server ends, however that comes about."""


class Started(Value):
    """A process that runs; the pair stays unique when the pid is used again."""

    pid: int
    started_ticks: int


class Exit(Value):
    """How a process ended; both None when nobody saw it."""

    code: int | None = None
    signal: int | None = None


def started_ticks(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot, or None when there is none."""
    try:
        state, ticks = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in {"Z", "X"} else ticks


def _stat(pid: int) -> tuple[str, int]:
    """Return state and start of a process (proc_pid_stat(5), fields 3 and 22)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def is_alive(process: Started) -> bool:
    """Tell whether this very process, not a later one with its pid, still runs."""
    return started_ticks(process.pid) == process.started_ticks


def send_signal(process: Started, number: signal.Signals, *, group: bool = False) -> bool:
    """Send a signal to the process, or to its whole group; False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        if group:
            os.killpg(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel for a signal to this process when the thread that forked it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield an address that fits into the 107 bytes of `sun_path`, however deep the socket lies."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# --- client --------------------------------------------------------------------------------


class Child:
    """A forked process, watched through the connection that asked for it."""

    def __init__(
        self, process: Started, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer
        self._exit: Exit | None = None
        self._waiting = asyncio.Lock()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals, *, group: bool = False) -> bool:
        """Send a signal to the child, or to its whole group; False when it is gone."""
        return send_signal(self.process, number, group=group)

    async def wait(self) -> Exit:
        """Wait for the end. The exit is empty when the fork server died before it could tell."""
        async with self._waiting:
            if self._exit is None:
                line = await self._reader.readline()
                if line:
                    self._exit = Exit.model_validate_json(line)
                else:
                    await _gone(self.process)
                    self._exit = Exit()
                self._writer.close()
            return self._exit

    def forget(self) -> None:
        """Stop watching; the child goes on."""
        self._writer.close()


async def _gone(process: Started) -> None:
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        if is_alive(process):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class ForkServer:
    """The client of the fork server that listens on a socket."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    async def spawn(self, request: Spawn) -> Child:
        """Fork a child.

        Raises:
            Unavailable: no fork server listens there, or it could not fork.
            Invalid: it did not accept the request.
        """
        try:
            with _short(self._path) as address:
                reader, writer = await asyncio.open_unix_connection(address)
        except OSError as error:
            raise self._unreachable() from error
        try:
            writer.write(request.model_dump_json().encode() + b"\n")
            await writer.drain()
            answer = await reader.readline()
            process = self._started(answer)
        except OSError as error:
            writer.close()
            raise self._unreachable() from error
        except BaseException:
            writer.close()
            raise
        return Child(process, reader, writer)

    def spawn_unwatched(self, request: Spawn) -> Started:
        """Fork a child without an event loop and without waiting for its end; raises as `spawn`."""
        try:
            with _short(self._path) as address, socket.socket(socket.AF_UNIX) as connection:
                connection.connect(address)
                connection.sendall(request.model_dump_json().encode() + b"\n")
                with connection.makefile("rb") as lines:
                    return self._started(lines.readline())
        except OSError as error:
            raise self._unreachable() from error

    async def answers(self) -> bool:
        """Tell whether a fork server listens and has imported its modules."""
        try:
            with _short(self._path) as address:
                _, writer = await asyncio.open_unix_connection(address)
        except OSError:
            return False
        writer.close()
        return True

    def _started(self, answer: bytes) -> Started:
        if not answer:
            raise self._unreachable()
        if answer.startswith(b'{"error"'):
            raise ElementError.from_problem(_Refusal.model_validate_json(answer).error)
        return Started.model_validate_json(answer)

    def _unreachable(self) -> Unavailable:
        return Unavailable(
            f"The fork server at {self._path} does not answer.",
            "It is started by `element up`; `element status` tells whether that runs.",
        )


# --- server --------------------------------------------------------------------------------


class _Refusal(Value):
    error: Problem


@dataclass
class _Connection:
    stream: socket.socket
    received: bytes = b""
    pid: int | None = None


def preload(modules: list[str]) -> None:
    """Import the modules and keep their objects out of the collector, so that forks share them."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def serve(path: Path) -> None:
    """Listen and fork until SIGTERM or SIGINT; does not return in a child."""
    work = _Server(path).loop()
    if work is not None:  # here nothing of the server is left on the stack
        _finish(work)


class _Server:
    def __init__(self, path: Path) -> None:
        self._listener = _listen(path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._connections: dict[int, _Connection] = {}
        self._watchers: dict[int, _Connection] = {}
        self._stopping = False
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def loop(self) -> Callable[[], int] | None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._reap()
                elif (child := self._receive(self._connections[key.fd])) is not None:
                    return child
        return None

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:  # the peer gave up, or no descriptor is left: the next one may do better
            return
        _, uid, _ = struct.unpack(
            "3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        if uid not in {os.geteuid(), 0}:
            stream.close()
            return
        stream.setblocking(False)
        self._connections[stream.fileno()] = _Connection(stream)
        self._selector.register(stream, selectors.EVENT_READ)

    def _receive(self, connection: _Connection) -> Callable[[], int] | None:
        try:
            chunk = connection.stream.recv(65536)
        except OSError:
            chunk = b""
        connection.received += chunk
        if not chunk:
            self._drop(connection)
        elif connection.pid is not None:
            self._drop(connection)  # one request per connection; more is a broken client
        elif b"\n" in connection.received:
            return self._fork(connection)
        elif len(connection.received) > MAX_REQUEST_BYTES:
            self._refuse(connection, Invalid("The request is longer than 1 MB."))
        return None

    def _fork(self, connection: _Connection) -> Callable[[], int] | None:
        try:
            request = Spawn.model_validate_json(connection.received.partition(b"\n")[0])
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            self._refuse(connection, Invalid(f"{field or 'request'}: {first['msg']}.", field=field))
            return None
        connection.received = b""
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._refuse(connection, Unavailable(f"No process could be started: {error.strerror}."))
            return None
        if pid == 0:
            self._leave()
            return lambda: _run(request, server)
        connection.pid = pid
        self._watchers[pid] = connection
        # even a child that has ended already can be read of: it is a zombie until it is reaped
        self._send(connection, Started(pid=pid, started_ticks=_stat(pid)[1]))
        return None

    def _leave(self) -> None:
        """Rid a new child of everything that belongs to the server."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for connection in self._connections.values():
            connection.stream.close()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self._watchers.pop(pid, None)
            if connection is not None:
                code = os.waitstatus_to_exitcode(status)
                self._send(connection, Exit(code=code) if code >= 0 else Exit(signal=-code))
                self._drop(connection)

    def _refuse(self, connection: _Connection, error: ElementError) -> None:
        self._send(connection, _Refusal(error=error.problem))
        self._drop(connection)

    def _send(self, connection: _Connection, message: Value) -> None:
        if connection.stream.fileno() < 0:
            return
        with contextlib.suppress(OSError):  # the client has hung up; the child goes on
            connection.stream.sendall(message.model_dump_json().encode() + b"\n")

    def _drop(self, connection: _Connection) -> None:
        number = connection.stream.fileno()
        if number >= 0:
            self._selector.unregister(connection.stream)
            del self._connections[number]
            connection.stream.close()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        raise Invalid(
            f"{path.parent} can be entered by others.", f"Run `chmod 700 '{path.parent}'`."
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with _short(path) as address:
        listener.bind(address)
    path.chmod(0o600)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _finish(work: Callable[[], int]) -> NoReturn:
    """Do a child's work and end.

    The interpreter is not taken down: it would write to every page that is shared with the
    server, which takes seconds for a large one. What was registered with atexit is done.
    """
    try:
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 (the top of the process)
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _run(request: Spawn, server: int) -> int:
    """Become the child that was asked for, and do its work."""
    if request.new_session:
        os.setsid()
    if request.die_with_server:
        die_with_parent()
        if os.getppid() != server:
            os._exit(1)
    _redirect(request.log)
    os.chdir(request.directory)
    for name, value in request.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    random.seed()
    # core files of a process with secrets in memory would be a leak
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if request.title:
        import setproctitle

        setproctitle.setproctitle(request.title)
    module, _, name = request.target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    result = function(*request.arguments)
    return result if isinstance(result, int) else 0


def _redirect(log: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
