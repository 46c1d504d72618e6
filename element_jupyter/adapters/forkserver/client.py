"""Asking a fork server for a child, and waiting for its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from element_jupyter.adapters.forkserver.protocol import (
    Exit,
    Refusal,
    Spawn,
    Started,
    is_alive,
    send_signal,
    short_address,
)
from element_jupyter.core.errors import ElementError, Unavailable


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
            with short_address(self._path) as address:
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
            with short_address(self._path) as address, socket.socket(socket.AF_UNIX) as connection:
                connection.connect(address)
                connection.sendall(request.model_dump_json().encode() + b"\n")
                with connection.makefile("rb") as lines:
                    return self._started(lines.readline())
        except OSError as error:
            raise self._unreachable() from error

    async def answers(self) -> bool:
        """Tell whether a fork server listens and has imported its modules."""
        try:
            with short_address(self._path) as address:
                _, writer = await asyncio.open_unix_connection(address)
        except OSError:
            return False
        writer.close()
        return True

    def _started(self, answer: bytes) -> Started:
        if not answer:
            raise self._unreachable()
        if answer.startswith(b'{"error"'):
            raise ElementError.from_problem(Refusal.model_validate_json(answer).error)
        return Started.model_validate_json(answer)

    def _unreachable(self) -> Unavailable:
        return Unavailable(
            f"The fork server at {self._path} does not answer.",
            "It is started by `element up`; `element status` tells whether that runs.",
        )
