"""The fork server, as a real process with real children."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from element_jupyter.adapters.forkserver import (
    Become,
    Exit,
    ForkServer,
    Spawn,
    Started,
    is_alive,
    send_signal,
    started_ticks,
)
from element_jupyter.adapters.limits import Watchdog, probe
from element_jupyter.adapters.resources.cgroups import places
from element_jupyter.core.confinement import Allowance
from element_jupyter.core.errors import Invalid, Unavailable
from tests.platform_fixture import wait_until

CHILDREN = """
import json, os, sys, time

loaded = os.getpid()

def report(path):
    with open(path, "w") as file:
        json.dump({"pid": os.getpid(), "session": os.getsid(0), "loaded": loaded, "cwd": os.getcwd(),
                   "word": os.environ.get("WORD"), "gone": os.environ.get("GONE")}, file)

def leave(code):
    print("leaving with", code)
    sys.exit(code)

def fail():
    raise ValueError("no such luck")

def tell_who(path, secret):
    told = {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
            "umask": os.umask(0), "environment": dict(os.environ), "cwd": os.getcwd()}
    told["open"] = [number for number in range(3, 4096) if is_open(number)]
    told["control groups"] = open("/proc/self/cgroup").read()
    try:
        os.setuid(0)
        told["root again"] = True
    except OSError:
        told["root again"] = False
    try:
        open(secret).read()
        told["secret"] = True
    except OSError:
        told["secret"] = False
    with open(path, "w") as file:
        json.dump(told, file)

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def sleep(mark):
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
"""


class Server:
    def __init__(self, directory: Path, *options: str, **environment: str) -> None:
        (directory / "children_for_test.py").write_text(CHILDREN)
        self.path = directory / "run" / "fork.sock"
        self.log = directory / "children.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "element_jupyter.platform.forkserver",
             "--socket", str(self.path), *options, "--preload", "children_for_test"],
            env=os.environ | environment | {"PYTHONPATH": f"{directory}:{Path.cwd()}", "GONE": "still here"},
        )  # fmt: skip
        self.client = ForkServer(self.path)

    def wait(self) -> None:
        wait_until(lambda: asyncio.run(self.client.answers()))

    def request(self, function: str, *arguments: object, **options: object) -> Spawn:
        return Spawn(
            target=f"children_for_test:{function}",
            arguments=list(arguments),
            log=str(self.log),
            **options,
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("fork"))
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path) -> Iterator[Server]:
    """A server that the test may kill."""
    server = Server(tmp_path)
    server.wait()
    yield server
    server.stop()


async def test_a_child_shares_what_was_imported_and_gets_its_arguments(server, tmp_path):
    child = await server.client.spawn(
        server.request(
            "report",
            str(tmp_path / "said"),
            environment={"WORD": "given", "GONE": None},
            directory=str(tmp_path),
            new_session=True,
        )
    )
    assert await child.wait() == Exit(code=0)
    said = json.loads((tmp_path / "said").read_text())
    assert said == {
        "pid": child.pid,
        "session": child.pid,
        "loaded": server.process.pid,
        "cwd": str(tmp_path),
        "word": "given",
        "gone": None,
    }


async def test_the_exit_code_and_the_output_of_a_child_are_kept(server):
    child = await server.client.spawn(server.request("leave", 7))
    assert await child.wait() == Exit(code=7)
    assert "leaving with 7" in server.log.read_text()


async def test_an_error_in_a_child_is_exit_1_with_its_traceback_in_the_log(server):
    child = await server.client.spawn(server.request("fail"))
    assert await child.wait() == Exit(code=1)
    assert "ValueError: no such luck" in server.log.read_text()


async def test_a_child_that_is_killed_reports_the_signal(server, tmp_path):
    mark = tmp_path / "mark"
    child = await server.client.spawn(server.request("sleep", str(mark)))
    assert is_alive(child.process)
    assert child.signal(signal.SIGKILL)
    assert await child.wait() == Exit(signal=9)
    assert not is_alive(child.process)
    assert not child.signal(signal.SIGKILL)


async def test_thirty_children_at_once_each_get_their_own_exit(server):
    children = await asyncio.gather(
        *(server.client.spawn(server.request("leave", code)) for code in range(30))
    )
    assert await asyncio.gather(*(child.wait() for child in children)) == [
        Exit(code=code) for code in range(30)
    ]


def test_a_child_can_be_forked_without_an_event_loop(server, tmp_path):
    mark = tmp_path / "mark"
    started = server.client.spawn_unwatched(server.request("sleep", str(mark)))
    wait_until(mark.exists)
    assert send_signal(started, signal.SIGKILL)
    wait_until(lambda: not is_alive(started))


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[]\n",
        b'{"target": "no colon"}\n',
        b'{"target": "m:f", "surprise": 1}\n',
        b'{"target": "m:f", "arguments": 3}\n',
        b"x" * 1_100_000,
    ],
)
async def test_a_bad_request_is_refused_and_the_server_goes_on(server, line):
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(line)
    assert (await reader.readline()).startswith(b'{"error"')
    writer.close()
    child = await server.client.spawn(server.request("leave", 0))
    assert await child.wait() == Exit(code=0)


async def test_silent_and_vanishing_clients_do_not_hold_up_others(server):
    silent = [await asyncio.open_unix_connection(server.path) for _ in range(20)]
    for _, writer in silent[:10]:
        writer.close()
    child = await server.client.spawn(server.request("leave", 0))
    assert await child.wait() == Exit(code=0)
    for _, writer in silent:
        writer.close()


async def test_a_request_of_the_wrong_form_is_invalid(server):
    with pytest.raises(Invalid, match="target"):
        await server.client.spawn(Spawn.model_construct(target="a b"))


async def test_a_missing_server_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="does not answer"):
        await ForkServer(tmp_path / "nothing.sock").spawn(Spawn(target="os:getpid"))


def test_the_socket_is_for_its_owner_only(server):
    assert server.path.stat().st_mode & 0o777 == 0o600
    assert server.path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_killed_server_takes_bound_children_along_and_leaves_the_others(
    own_server, tmp_path
):
    marks = [tmp_path / "bound", tmp_path / "free"]
    bound = await own_server.client.spawn(own_server.request("sleep", str(marks[0])))
    free = await own_server.client.spawn(
        own_server.request("sleep", str(marks[1]), die_with_server=False, new_session=True)
    )
    wait_until(lambda: all(mark.exists() for mark in marks))
    own_server.process.kill()
    assert await bound.wait() == Exit()  # nobody was left to see how it ended
    assert is_alive(free.process)
    assert free.signal(signal.SIGKILL, group=True)
    assert await free.wait() == Exit()


def test_a_server_serves_from_a_path_that_is_longer_than_a_socket_address(tmp_path):
    deep = tmp_path / ("deep " * 12) / ("deeper " * 12)
    deep.mkdir(parents=True)
    server = Server(deep)
    try:
        with pytest.raises(OSError, match="too long"), socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(server.path))
        server.wait()
    finally:
        server.stop()


def test_a_process_is_told_from_a_later_one_with_its_pid():
    ticks = started_ticks(os.getpid())
    assert ticks is not None
    assert is_alive(Started(pid=os.getpid(), started_ticks=ticks))
    stranger = Started(pid=os.getpid(), started_ticks=ticks + 1)
    assert not is_alive(stranger)
    assert not send_signal(stranger, signal.SIGKILL)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def peoples_server(tmp_path) -> Iterator[Server]:
    server = Server(tmp_path, "--for-people", SECRET_OF_ROOT="do not tell")
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def somebodys(tmp_path_factory) -> Iterator[Path]:
    """A directory of nobody's, which nobody can get at."""
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
    yield directory
    shutil.rmtree(directory)


@needs_root
async def test_a_child_that_becomes_somebody_keeps_nothing_of_root(
    peoples_server, somebodys, tmp_path
):
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    log = somebodys / "logs" / "child.log"
    request = peoples_server.request(
        "tell_who",
        *(str(somebodys / "said"), str(secret)),
        environment={"WORD": "given"},
        directory=str(somebodys),
        new_session=True,
        die_with_server=False,
        become=Become(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, groups=(NOBODY.pw_gid,), umask=0o077),
    ).model_copy(update={"log": str(log)})
    child = await peoples_server.client.spawn(request)

    assert await child.wait() == Exit(code=0)

    told = json.loads((somebodys / "said").read_text())
    assert told.pop("control groups")
    assert told == {
        "uids": [NOBODY.pw_uid] * 3,
        "gids": [NOBODY.pw_gid] * 3,
        "groups": [NOBODY.pw_gid],
        "umask": 0o077,
        "environment": {"WORD": "given"},
        "cwd": str(somebodys),
        "open": [],
        "root again": False,
        "secret": False,
    }
    assert log.stat().st_uid == NOBODY.pw_uid
    environment = Path(f"/proc/{peoples_server.process.pid}/environ").read_bytes()
    assert b"SECRET_OF_ROOT" not in environment


@needs_root
async def test_a_child_enters_its_control_groups_before_it_is_somebody(peoples_server, somebodys):
    limiter = probe(
        {name: place.directory for name, place in places().items()}, f"element-test-{os.getpid()}"
    ).limiter
    if isinstance(limiter, Watchdog):
        pytest.skip("control groups may not be written here")
    room = limiter.confine("nobody", Allowance(memory_bytes=256 << 20, cpu=1))
    mark = somebodys / "mark"
    child = await peoples_server.client.spawn(
        peoples_server.request(
            "sleep",
            str(mark),
            die_with_server=False,
            become=Become(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, entrances=room.entrances),
        ).model_copy(update={"log": "/dev/null"})
    )
    wait_until(mark.exists)

    room.end()

    assert await child.wait() == Exit(signal=signal.SIGKILL)


@needs_root
async def test_what_a_child_was_born_with_is_read_by_nobody_else(peoples_server, somebodys):
    mark = somebodys / "mark"
    child = await peoples_server.client.spawn(
        peoples_server.request(
            "sleep",
            str(mark),
            die_with_server=False,
            become=Become(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid),
        ).model_copy(update={"log": "/dev/null"})
    )
    wait_until(mark.exists)

    # its memory is a copy of the fork server's, which has started runs of others too
    tried = [
        subprocess.run(
            ["cat", f"/proc/{child.pid}/{name}"],
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            capture_output=True,
            cwd="/",
        )
        for name in ("environ", "mem", "maps")
    ]
    child.signal(signal.SIGKILL)
    await child.wait()

    assert [b"Permission denied" in each.stderr for each in tried] == [True] * 3


@needs_root
async def test_a_fork_server_for_people_starts_nothing_as_root(peoples_server, somebodys):
    with pytest.raises(Invalid, match="no process of its own"):
        await peoples_server.client.spawn(peoples_server.request("leave", 0))
    for become in (Become(uid=0, gid=NOBODY.pw_gid), Become(uid=NOBODY.pw_uid, gid=0)):
        with pytest.raises(Invalid, match="no process of its own"):
            await peoples_server.client.spawn(
                peoples_server.request("leave", 0).model_copy(update={"become": become})
            )
