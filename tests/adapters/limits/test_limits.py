"""Limits: real control groups where they may be written, and the watchdog everywhere."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from element_jupyter.adapters.limits import Version1, Version2, Watchdog, expect, probe
from element_jupyter.adapters.resources.cgroups import places
from element_jupyter.core.confinement import Allowance
from element_jupyter.core.errors import Unavailable
from tests.platform_fixture import wait_until

MB = 1 << 20
SMALL = Allowance(memory_bytes=300 * MB, cpu=1.0, processes=200)
NOBODY = pwd.getpwnam("nobody")
FILL = "import sys; a = bytearray(int(sys.argv[1]) << 20); print(len(a), flush=True); input()"


def directories() -> dict[str, Path]:
    return {controller: place.directory for controller, place in places().items()}


def works(kind) -> bool:
    try:
        kind()
    except Unavailable:
        return False
    return True


def one() -> Version1:
    return Version1(directories(), f"element-test-{secrets.token_hex(4)}")


def two() -> Version2:
    here = directories().get("", Path("/nonexistent"))
    return Version2(here, f"element-test-{secrets.token_hex(4)}")


WAYS = [
    pytest.param(
        way,
        marks=pytest.mark.skipif(
            os.geteuid() != 0 or not works(way), reason="they may not be written here"
        ),
        id=name,
    )
    for way, name in ((one, "version 1"), (two, "version 2"))
]
groups = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def limiter(way):
    limiter = way()
    yield limiter
    if (left := limiter.find("ada")) is not None:
        left.end()


@pytest.fixture
def start():
    """Start a process inside, as the Hub does: it enters as root and only then is a person."""
    started = []

    def start(room, *command: str, user: int | None = None) -> subprocess.Popen[str]:
        def enter() -> None:
            for file in room.entrances:
                Path(file).write_text("0")
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)

        process = subprocess.Popen(
            command,
            preexec_fn=enter,  # noqa: PLW1509
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        started.append(process)
        room.entered(process.pid)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@groups
def test_more_memory_than_allowed_kills_and_is_counted(limiter, start):
    room = limiter.confine("ada", SMALL)
    within = start(room, sys.executable, "-c", FILL, "100")
    assert within.stdout.readline().strip() == str(100 * MB)

    beyond = start(room, sys.executable, "-c", FILL, "400")

    assert beyond.wait(30) == -signal.SIGKILL
    assert within.poll() is None
    spent = room.end()
    assert within.wait(10) == -signal.SIGKILL
    assert spent.memory_kills == 1
    assert 250 * MB < spent.peak_memory_bytes <= 300 * MB
    assert spent.cpu_seconds > 0


@groups
def test_processor_time_is_what_was_allowed(limiter, start):
    room = limiter.confine("ada", SMALL.model_copy(update={"cpu": 0.5}))
    began = time.monotonic()
    start(room, sys.executable, "-c", "while True: pass")
    wait_until(lambda: room.spent().cpu_seconds > 0.75, 60)
    took_seconds = time.monotonic() - began
    room.end()

    assert took_seconds > 1.2  # with all of a core it would be 0.75 s


@groups
def test_a_bomb_of_processes_stops_at_the_limit(limiter, start):
    room = limiter.confine("ada", SMALL.model_copy(update={"processes": 20}))
    bomb = start(room, "sh", "-c", "for i in $(seq 100); do sleep 600 & done; wait")
    said = bomb.stderr.readline()
    room.end()

    assert "fork" in said.lower()


@groups
def test_what_is_left_inside_is_killed_and_the_group_is_removed(limiter, start):
    room = limiter.confine("ada", SMALL)
    first = start(room, "sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600")
    orphan = psutil.Process(int(first.stdout.readline()))
    first.kill()
    first.wait()
    assert orphan.is_running()
    inside = [Path(file).parent for file in room.entrances]

    room.end()

    wait_until(lambda: not orphan.is_running())
    assert not [path for path in inside if path.exists() or path.parent.exists()]


@groups
def test_a_server_is_found_again_and_what_it_left_is_ended_when_it_starts_anew(limiter, start):
    room = limiter.confine("ada", SMALL)
    left = start(room, "sleep", "600")
    assert limiter.granted() == (SMALL,)

    assert limiter.find("ada").spent().memory_kills == 0
    assert limiter.find("grace") is None
    limiter.confine("ada", SMALL)

    assert left.wait(10) == -signal.SIGKILL
    limiter.find("ada").end()
    assert limiter.find("ada") is None
    assert limiter.granted() == ()


ESCAPES = {
    "leaving": "for f in {above}; do echo $$ > $f && echo out; done",
    "raising memory": "for f in {own}; do for n in memory.limit_in_bytes memory.max; do"
    " echo 999999999999 > $(dirname $f)/$n && echo out; done; done",
    "raising processes": "for f in {own}; do echo max > $(dirname $f)/pids.max && echo out; done",
    "a group of one's own": "for f in {own}; do mkdir $(dirname $f)/mine && echo out; done",
    "mounting": "mkdir /tmp/x-$$; mount -t cgroup -o memory none /tmp/x-$$ && echo out;"
    " rmdir /tmp/x-$$",
    "a namespace": "unshare -r --cgroup --mount sh -c 'for c in memory pids; do"
    " mount -t cgroup -o $c none /mnt && for f in $(find /mnt -name cgroup.procs); do"
    " echo $$ > $f && echo out; done; done;"
    " echo 999999999999 > /mnt/memory.limit_in_bytes && echo out; echo max > /mnt/pids.max && echo out'",
}


@groups
@pytest.mark.parametrize("attempt", ESCAPES)
def test_a_person_cannot_escape_by(limiter, attempt, start):
    room = limiter.confine("ada", SMALL)
    above = " ".join(str(Path(file).parent.parent / "cgroup.procs") for file in room.entrances)
    script = ESCAPES[attempt].format(above=above, own=" ".join(room.entrances))
    process = start(room, "sh", "-c", script, user=NOBODY.pw_uid)
    inside = {line for file in room.entrances for line in Path(file).read_text().split()}
    said, complaints = process.communicate(timeout=30)

    assert "out" not in said
    assert complaints
    assert str(process.pid) in inside or process.returncode is not None
    room.end()


def test_the_watchdog_kills_the_largest_process_and_tells_of_it(caplog, start):
    limiter = Watchdog(period_seconds=0.05)
    room = limiter.confine("ada", Allowance(memory_bytes=150 * MB, cpu=1))
    server = start(room, sys.executable, "-c", f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {FILL!r}, "250"], stdin=subprocess.PIPE)
print(child.wait(), flush=True)
input()
""")  # fmt: skip
    try:
        assert server.stdout.readline()  # the child, which was quicker than the watchdog, perhaps
        wait_until(lambda: room.spent().memory_kills == 1, 30)

        assert server.poll() is None
        assert "largest process" in caplog.text
        assert room.spent().peak_memory_bytes > 150 * MB
    finally:
        room.end()
    assert server.wait(10) == -signal.SIGKILL
    assert limiter.granted() == ()


def test_the_watchdog_ends_what_has_lost_its_parent(start):
    room = Watchdog(period_seconds=0.05).confine("ada", SMALL)
    server = start(room, "sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600")
    orphan = psutil.Process(int(server.stdout.readline()))
    room.look()
    server.kill()
    server.wait()

    room.end()

    wait_until(lambda: not orphan.is_running())


def test_what_is_expected_is_what_is_found():
    method, refused = expect(directories())
    found = probe(directories(), f"element-test-{secrets.token_hex(4)}")

    assert (found.limiter.method, found.refused) == (method, refused)


def test_without_control_groups_it_is_the_watchdog_and_it_says_why():
    found = probe({}, "element-test")

    assert found.limiter.method == "watchdog"
    assert len(found.refused) == 3
    assert all(sentence.endswith(".") for sentence in found.refused)
