"""The one way out of the sandbox: an HTTP proxy on a unix socket that knows a few hosts only.

Encrypted connections are passed on without being looked into (CONNECT, RFC 9110 §9.3.6); plain ones
are asked for in absolute form (RFC 9112 §3.2.2) and end after one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

HEAD_BYTES: Final = 65536
CONNECT_SECONDS: Final = 30.0
_CHUNK_BYTES: Final = 1 << 16
_PORTS: Final = {"http": 80, "https": 443}

Address = tuple[str, int]


def address_of(url: str) -> Address:
    """Return host and port of a URL, or of `host` or `host:port` (443 unless said)."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    return (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 443)


class _Refused(Exception):
    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Gateway:
    """Answers on a unix socket; what is not among `hosts` is refused with 403 and noted."""

    def __init__(self, hosts: Iterable[str], upstream: str | None = None) -> None:
        self._allowed = {address_of(host) for host in hosts}
        self._upstream = address_of(upstream) if upstream else None
        self.refused: list[str] = []
        """What was asked for and not allowed, as `host:port`."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            await self._answer(reader, writer)
        except _Refused as refused:
            body = f"{refused.why}\n".encode()
            head = f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # either side has left
        finally:
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        method, target, _ = _words(first)
        address = address_of(target)
        if method != "CONNECT" and not target.startswith("http://"):
            raise _Refused("400 Bad Request", "This is a proxy: ask for an absolute URL.")
        if address not in self._allowed:
            self.refused.append(f"{address[0]}:{address[1]}")
            raise _Refused(
                "403 Forbidden", f"{address[0]}:{address[1]} cannot be reached from a build."
            )
        far_reader, far_writer = await self._open(address, tunnel=method == "CONNECT")
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(self._request(method, target, rest))
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        finally:
            far_writer.close()

    def _request(self, method: str, target: str, rest: bytes) -> bytes:
        if self._upstream is None:
            parts = urlsplit(target)
            target = parts._replace(scheme="", netloc="").geturl() or "/"
        hop = (b"connection:", b"proxy-")
        headers = [line for line in rest.split(b"\r\n") if not line.lower().startswith(hop)]
        head = [f"{method} {target} HTTP/1.1".encode(), b"Connection: close", *headers]
        return b"\r\n".join(head)

    async def _open(
        self, address: Address, *, tunnel: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._upstream or address
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(host, port)
                if self._upstream is not None and tunnel:
                    asked = f"{address[0]}:{address[1]}"
                    writer.write(f"CONNECT {asked} HTTP/1.1\r\nHost: {asked}\r\n\r\n".encode())
                    answer = await reader.readuntil(b"\r\n\r\n")
                    if answer.split(b" ", 2)[1:2] != [b"200"]:
                        raise _Refused("502 Bad Gateway", f"{host}:{port} did not let it through.")
                return reader, writer
        except (OSError, EOFError) as error:
            raise _Refused("502 Bad Gateway", f"{host}:{port} does not answer: {error}.") from error


def _words(line: bytes) -> tuple[str, str, str]:
    words = line.decode("latin-1").split(" ")
    if len(words) != 3:
        raise _Refused("400 Bad Request", "This is no request.")
    return words[0], words[1], words[2]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()


@contextmanager
def running(gateway: Gateway, socket: Path) -> Iterator[None]:
    """Serve on a socket, in a thread, for as long as the block lasts."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[None]] = set()
    failed: list[OSError] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await gateway.serve(reader, writer)

    async def serve() -> None:
        try:
            server = await asyncio.start_unix_server(accept, socket, limit=HEAD_BYTES)
        except OSError as error:
            failed.append(error)
            return
        finally:
            started.set()
        async with server:
            await stop.wait()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="gateway")
    thread.start()
    try:
        started.wait()
        if failed:
            raise failed[0]
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
