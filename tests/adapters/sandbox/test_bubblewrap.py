"""What runs in the sandbox sees little, writes to one place, and reaches few hosts."""

import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from element_jupyter.adapters.sandbox import Bubblewrap
from element_jupyter.adapters.sandbox.gateway import address_of

SANDBOX = Bubblewrap()

pytestmark = pytest.mark.skipif(SANDBOX.unavailable is not None, reason=str(SANDBOX.unavailable))


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.path} {self.headers.get('Connection')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(script, work, *, hosts=(), variables=None, readable=(), arguments=()):
    given = {"PATH": os.environ["PATH"], **(variables or {})}
    with SANDBOX.wrap(
        [sys.executable, "-I", "-c", script, *arguments],
        writable=[work],
        readable=readable,
        hosts=hosts,
        variables=given,
    ) as wrapped:
        done = subprocess.run(
            wrapped.argv, env=dict(wrapped.variables), capture_output=True, text=True, timeout=60
        )
    return done, wrapped.gateway


FETCH = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print("unreachable", error)
"""


def test_it_writes_where_it_may_as_whoever_started_it(tmp_path):
    done, _ = run("open('made', 'w').write('x'); print(__import__('os').getuid())", tmp_path)

    assert done.stdout.strip() == "65534", done.stderr
    assert (tmp_path / "made").stat().st_uid == os.getuid()


def test_it_writes_nowhere_else(tmp_path):
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    places = [str(outside / "a"), "/usr/a", f"{Path.home()}/a", f"{sys.prefix}/a", "/etc/a"]
    script = """
import sys, pathlib
for place in sys.argv[1:]:
    try:
        pathlib.Path(place).write_text("x")
        print("wrote", place)
    except OSError:
        pass
"""

    done, _ = run(script, work, arguments=places)

    assert done.stdout == "", done.stdout
    assert not any(Path(place).exists() for place in places)


def test_it_sees_no_files_of_people_and_no_other_processes(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    work = tmp_path / "work"
    work.mkdir()
    script = """
import os, sys
print(os.path.exists(sys.argv[1]), os.path.exists("/etc/shadow"), os.listdir("/tmp/home"))
print(len([name for name in os.listdir("/proc") if name.isdigit()]) < 6)
"""

    done, _ = run(script, work, arguments=[str(secret)])

    assert done.stdout.split("\n")[:2] == ["False False []", "True"], done.stderr


def test_what_it_is_given_to_read_it_cannot_change(tmp_path):
    work, given = tmp_path / "work", tmp_path / "given"
    work.mkdir()
    given.write_text("as it was")
    script = """
import sys
print(open(sys.argv[1]).read())
open(sys.argv[1], "w")
"""

    done, _ = run(script, work, readable=[given], arguments=[str(given)])

    assert done.stdout == "as it was\n"
    assert "Read-only file system" in done.stderr
    assert given.read_text() == "as it was"


def test_a_home_is_not_shown_with_an_interpreter_that_lies_in_it(tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work"
    for each in (home / "bin", work):
        each.mkdir(parents=True)
    (home / ".netrc").write_text("hidden")
    monkeypatch.setenv("HOME", str(home))
    script = "import os, sys; print(os.path.exists(sys.argv[1]))"

    done, _ = run(script, work, readable=[home, tmp_path], arguments=[str(home / ".netrc")])

    assert done.stdout == "False\n", done.stderr


def test_credentials_stay_outside(tmp_path):
    variables = {
        "UV_INDEX_OURS_PASSWORD": "hunter2",
        "UV_INDEX_OURS_USERNAME": "hunter2",
        "NETRC": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "GITHUB_TOKEN": "hunter2",
        "UV_OFFLINE": "1",
    }

    done, _ = run("print(dict(__import__('os').environ))", tmp_path, variables=variables)

    assert "hunter2" not in done.stdout
    assert "UV_OFFLINE" in done.stdout


def test_it_reaches_the_hosts_that_it_is_allowed(tmp_path, server):
    done, gateway = run(FETCH, tmp_path, hosts=[server], arguments=[f"{server}/simple/a/?q=1"])

    assert done.stdout.strip() == "/simple/a/?q=1 close", done.stderr
    assert gateway.refused == []


def test_it_reaches_no_other_host_and_that_is_noted(tmp_path, server):
    done, gateway = run(FETCH, tmp_path, hosts=["https://pypi.org"], arguments=[server])

    host, port = address_of(server)
    assert done.stdout.startswith("403 "), done.stdout + done.stderr
    assert f"{host}:{port} cannot be reached from a build" in done.stdout
    assert gateway.refused == [f"{host}:{port}"]


def test_it_cannot_go_around_the_gateway(tmp_path, server):
    script = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
    print("connected")
except OSError as error:
    print("no way", error)
"""
    host, port = address_of(server)

    done, _ = run(script, tmp_path, hosts=[server], arguments=[host, str(port)])

    assert done.stdout.startswith("no way"), done.stdout + done.stderr


def test_an_encrypted_connection_is_passed_on_to_an_allowed_host_only(tmp_path, server):
    script = """
import socket, sys
host, port = sys.argv[1:]
for target in (f"{host}:{port}", "example.org:443"):
    near = socket.create_connection(("127.0.0.1", 3128), timeout=10)
    near.sendall(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
    print(near.recv(100).split(b"\\r\\n")[0].decode())
    if target.startswith(host):
        near.sendall(b"GET /through HTTP/1.0\\r\\n\\r\\n")
        print(b"/through" in near.makefile("rb").read())
"""
    host, port = address_of(server)

    done, _ = run(script, tmp_path, hosts=[server], arguments=[host, str(port)])

    assert done.stdout.splitlines() == [
        "HTTP/1.1 200 Connection established",
        "True",
        "HTTP/1.1 403 Forbidden",
    ], done.stderr


def test_nothing_of_it_is_left_when_it_is_killed(tmp_path):
    script = """
import subprocess, sys, time
child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
open("ready", "w").close()
time.sleep(600)
"""
    with SANDBOX.wrap(
        [sys.executable, "-I", "-c", script],
        writable=[tmp_path],
        hosts=(),
        variables={"PATH": os.environ["PATH"]},
    ) as wrapped:
        started = subprocess.Popen(wrapped.argv, env=dict(wrapped.variables))
        until = time.monotonic() + 20
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        inside = _descendants(started.pid)
        assert len(inside) >= 3
        started.kill()
        started.wait()
    until = time.monotonic() + 10
    while any(_lives(pid) for pid in inside):
        assert time.monotonic() < until
        time.sleep(0.02)


def _descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *_descendants(int(child)))]


def _lives(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_the_exit_code_and_the_output_are_the_command_s_own(tmp_path):
    done, _ = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)", tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_machine_without_bubblewrap_is_told_what_to_install():
    assert "bubblewrap" in (Bubblewrap("no-such-bwrap").unavailable or "")
