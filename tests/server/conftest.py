"""A real Jupyter Server with the extension, and a stand-in for the platform behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from element_jupyter.platform.state import PlatformState, write_state
from tests.server.running import Lab, running_lab


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(lab_server: Lab) -> Lab:
    """The server, with no platform behind it."""
    for name in ("state.json", "token"):
        (lab_server.data / name).unlink(missing_ok=True)
    return lab_server


@dataclass
class Platform:
    """Answers in place of the control plane, and remembers what it was asked."""

    lab: Lab
    token: str = "the-token-of-element"
    asked: list[HTTPServerRequest] = field(default_factory=list)
    listeners: int = 0
    next_event: asyncio.Event = field(default_factory=asyncio.Event)
    blobs: dict[str, bytes] = field(default_factory=dict)
    refuses_snapshots: bool = False

    def start(self, token: str) -> HTTPServer:
        """Listen on a port of its own choice, and say so in the data directory."""
        server = HTTPServer(Application([(r".*", _Answer, {"platform": self})]))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.token = token
        port = sockets[0].getsockname()[1]
        (self.lab.data / "token").write_text(f"{token}\n")
        state = PlatformState(
            pid=1,
            started_at=datetime.now(UTC),
            service_url=f"http://127.0.0.1:{port}",
            airflow_url=None,
            ready=True,
            processes={},
        )
        write_state(self.lab.data / "state.json", state)
        return server


@pytest.fixture
async def platform(lab: Lab) -> AsyncIterator[Platform]:
    platform = Platform(lab)
    server = platform.start("the-token-of-element")
    yield platform
    platform.next_event.set()
    server.stop()
    await server.close_all_connections()


class _Answer(RequestHandler):
    def initialize(self, platform: Platform) -> None:
        self.platform = platform

    def check_xsrf_cookie(self) -> None:
        pass

    def problem(self, status: int, code: str) -> None:
        self.set_status(status)
        self.finish({"code": code, "message": "No.", "hint": "Ask less."})

    async def answer(self) -> None:
        self.platform.asked.append(self.request)
        if self.request.headers.get("Authorization") != f"Bearer {self.platform.token}":
            self.problem(401, "unauthenticated")
        elif self.request.path.endswith("/quota"):
            self.set_header("Retry-After", "60")
            self.problem(429, "over_quota")
        elif self.request.path.endswith("/snapshots/missing"):
            self.missing()
        elif "/blobs/" in self.request.path:
            self.platform.blobs[self.request.path.rpartition("/")[2]] = self.request.body
        elif self.request.path.endswith("/events"):
            await self.events()
        elif self.request.method == "DELETE":
            self.set_status(204)
        else:
            self.set_header("Set-Cookie", "secret=1")
            self.set_header("ETag", '"7"')
            self.finish({"run_id": "r-1"})

    def missing(self) -> None:
        if self.platform.refuses_snapshots:
            self.problem(403, "forbidden")
        else:
            digests = json.loads(self.request.body)["digests"]
            self.finish({"missing": [one for one in digests if one not in self.platform.blobs]})

    async def events(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.platform.listeners += 1
        try:
            self.write("id: 1\ndata: {}\n\n")
            await self.flush()
            await self.platform.next_event.wait()
            self.write("id: 2\ndata: {}\n\n")
            await self.flush()
        except StreamClosedError:
            pass

    def on_connection_close(self) -> None:
        self.platform.listeners -= 1

    get = post = put = patch = delete = answer
