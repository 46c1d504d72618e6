"""What the control plane hears of a run, whatever happens to it meanwhile."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from element_jupyter.core.runs import EVENT, RunState
from tests.runner.conftest import notebook


class ControlPlane(ThreadingHTTPServer):
    """Answers a runner as the real one does, or with an error for as long as it is told to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Doors)
        self.lines = []
        self.tokens = set()
        self.beats = 0
        self.away = False
        self.stop_reason = None
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/api/v1/runs/r-1"

    def events(self):
        return [EVENT.validate_python(line) for line in self.lines]

    def end(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Doors(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ControlPlane

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.add(self.headers["Authorization"])
        answer = {}
        if self.path.endswith("/heartbeat"):
            self.server.beats += 1
            stop = self.server.stop_reason
            answer = {"stop": stop is not None, "reason": stop or ""}
        elif not self.server.away:
            self.server.lines += body["events"]
            answer = {"accepted": self.server.lines[-1]["sequence"]}
        text = json.dumps(answer).encode()
        self.send_response(503 if self.server.away else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def control_plane():
    server = ControlPlane()
    yield server
    server.end()


@pytest.fixture
def reporting(control_plane, tmp_path):
    token = tmp_path / "token"
    token.write_text("of-this-run\n")
    return {
        "report_url": control_plane.url,
        "token_file": str(token),
        "heartbeat_seconds": 0.1,
    }


async def test_every_event_is_reported_once_and_in_order(run, control_plane, reporting):
    begun, _ = await run(notebook("print('a')", "1 + 1"), **reporting)

    assert control_plane.events() == begun.events()
    assert control_plane.tokens == {"Bearer of-this-run"}
    assert control_plane.beats >= 2


async def test_nothing_is_lost_while_the_control_plane_is_away(start, control_plane, reporting):
    control_plane.away = True
    begun = await start(notebook("print('a')", "print('b' * 2_000_000)"), **reporting)
    await begun.seen(lambda: begun.of("run_finished"))
    assert control_plane.lines == []

    control_plane.away = False
    finished = await begun.finished()

    assert finished.state is RunState.SUCCEEDED
    assert control_plane.events() == begun.events()


async def test_the_control_plane_can_stop_a_run_by_its_heartbeat(start, control_plane, reporting):
    begun = await start(notebook("import time\ntime.sleep(60)"), **reporting)
    await begun.running_cell()

    control_plane.stop_reason = "Stopped by alice."
    finished = await begun.finished()

    assert (finished.state, finished.reason) == (RunState.STOPPED, "Stopped by alice.")
    assert begun.code == 143


async def test_a_run_is_alive_while_its_cell_keeps_every_thread_of_the_kernel_busy(
    start, control_plane, reporting
):
    begun = await start(notebook("import re\nre.match('(a*)*b', 'a' * 40)"), **reporting)
    await begun.running_cell()
    before = control_plane.beats

    await begun.seen(lambda: control_plane.beats > before + 5)

    begun.stop()
    assert (await begun.finished()).state is RunState.STOPPED


async def test_a_token_is_neither_in_events_nor_notebook_nor_log(run, control_plane, reporting):
    begun, _ = await run(
        notebook(
            "import os, subprocess\nprint(dict(os.environ))\nprint(open(f'/proc/{os.getppid()}/cmdline').read())"
        ),
        **reporting,
    )

    for path in begun.directory.rglob("*"):
        if path.is_file():
            assert b"of-this-run" not in path.read_bytes(), path
