"""The process that forks: single-threaded, with what its children need imported."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from element_jupyter.adapters.forkserver.child import finish, run
from element_jupyter.adapters.forkserver.protocol import (
    MAX_REQUEST_BYTES,
    Exit,
    Refusal,
    Spawn,
    Started,
    short_address,
    stat_of,
)
from element_jupyter.core.errors import ElementError, Invalid, Unavailable
from element_jupyter.core.values import Value


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


def serve(path: Path, *, for_people: bool = False) -> None:
    """Listen and fork until SIGTERM or SIGINT; does not return in a child.

    With `for_people`, every child must become somebody; none stays what this process is.
    """
    work = _Server(path, for_people=for_people).loop()
    if work is not None:  # here nothing of the server is left on the stack
        finish(work)


class _Server:
    def __init__(self, path: Path, *, for_people: bool) -> None:
        self._for_people = for_people
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
        if (refusal := self._refusal(request)) is not None:
            self._refuse(connection, refusal)
            return None
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._refuse(connection, Unavailable(f"No process could be started: {error.strerror}."))
            return None
        if pid == 0:
            self._leave()
            return lambda: run(request, server)
        connection.pid = pid
        self._watchers[pid] = connection
        # even a child that has ended already can be read of: it is a zombie until it is reaped
        self._send(connection, Started(pid=pid, started_ticks=stat_of(pid)[1]))
        return None

    def _refusal(self, request: Spawn) -> Invalid | None:
        if request.become is not None and os.geteuid() not in {0, request.become.uid}:
            return Invalid("Only root's fork server starts processes of others.", field="become")
        become = request.become
        roots = become is None or 0 in {become.uid, become.gid, *become.groups}
        if self._for_people and roots:
            return Invalid("This fork server starts no process of its own.", field="become")
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
        self._send(connection, Refusal(error=error.problem))
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
    with short_address(path) as address:
        listener.bind(address)
    path.chmod(0o600)
    listener.listen(128)
    listener.setblocking(False)
    return listener
