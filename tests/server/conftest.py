"""A real Jupyter Server with the extension, and a stand-in for the platform behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

JUPYTER_TOKEN = "the-token-of-jupyter"


@dataclass(frozen=True)
class Lab:
    """A running Jupyter Server: where it answers, its files, and Element's data directory."""

    url: str
    root: Path
    data: Path

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that is signed in by the token, as a script would be."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"token {JUPYTER_TOKEN}", **headers},
            trust_env=False,
            timeout=20,
        )


@contextlib.contextmanager
def running_lab(home: Path, *arguments: str) -> Iterator[Lab]:
    lab = Lab("", home / "notebooks", home / "element")
    for directory in (lab.root, lab.data):
        directory.mkdir(parents=True)
    kept = {"PATH", "LANG", "LC_ALL", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
            "--ServerApp.port=0",
            "--ServerApp.base_url=/user/a%40b/",
            f"--ServerApp.root_dir={lab.root}",
            f"--IdentityProvider.token={JUPYTER_TOKEN}",
            "--ServerApp.jpserver_extensions={'element_jupyter': True}",
            *arguments,
        ],
        cwd=home,
        env={
            **{name: value for name, value in os.environ.items() if name in kept},
            "HOME": str(home),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(home)]),
            "ELEMENT_DATA_DIR": str(lab.data),
        },
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    log.close()
    try:
        yield Lab(_url(process, home), lab.root, lab.data)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _url(process: subprocess.Popen[bytes], home: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for file in home.glob(f"runtime/jpserver-{process.pid}.json"):
            with contextlib.suppress(ValueError, httpx.TransportError):
                info = json.loads(file.read_text())
                url = f"http://127.0.0.1:{info['port']}{info['base_url']}"
                httpx.get(f"{url}api", trust_env=False).raise_for_status()
                return url
        time.sleep(0.05)
    pytest.fail(f"The Jupyter Server did not start:\n{(home / 'server.log').read_text()}")


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

    def start(self, token: str) -> HTTPServer:
        """Listen on a port of its own choice, and say so in the data directory."""
        server = HTTPServer(Application([(r".*", _Answer, {"platform": self})]))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.token = token
        port = sockets[0].getsockname()[1]
        (self.lab.data / "token").write_text(f"{token}\n")
        (self.lab.data / "state.json").write_text(
            json.dumps({"service_url": f"http://127.0.0.1:{port}"})
        )
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
        elif self.request.path.endswith("/events"):
            await self.events()
        elif self.request.method == "DELETE":
            self.set_status(204)
        else:
            self.set_header("Set-Cookie", "secret=1")
            self.set_header("ETag", '"7"')
            self.finish({"run_id": "r-1"})

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
