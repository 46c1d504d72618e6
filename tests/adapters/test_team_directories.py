"""Directories of teams, with real accounts and processes; all are gone afterwards."""

from __future__ import annotations

import grp
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from element_jupyter.adapters.accounts import PeopleAccounts
from element_jupyter.adapters.team_directories import TeamDirectories
from element_jupyter.core.confinement import Account
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.teams import Level
from tests.platform_fixture import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives people directories")

MEMBER, VIEWER = Level.MEMBER, Level.VIEWER


class Place:
    """People and teams with names of their own."""

    def __init__(self, root: Path) -> None:
        self.mark = f"t{secrets.token_hex(3)}"
        self.root = root / "teams"
        self.directories = TeamDirectories(self.root, f"{self.mark}-people")
        self._accounts = PeopleAccounts(f"{self.mark}-people", root / "homes")
        self._people: list[str] = []
        self.teams = [f"{self.mark}-sales", f"{self.mark}-a-team-whose-name-is-long", self.mark]
        self.team = self.teams[0]
        self.files = self.directories.path_of(self.team)

    def person(self, name: str) -> Account:
        self._people.append(f"{self.mark}{name}")
        return self._accounts.ensure(self._people[-1])

    def member(self, name: str) -> Account:
        return self.directories.enter(self.person(name), {self.team: MEMBER})

    def remove(self) -> None:
        for name in self._people:
            subprocess.run(["userdel", "--force", name], capture_output=True)
        for team in self.teams:
            subprocess.run(["groupdel", self.directories.group_of(team)], capture_output=True)
        subprocess.run(["groupdel", f"{self.mark}-people"], capture_output=True)


@pytest.fixture
def place() -> Iterator[Place]:
    # not below pytest's own directory, which only root may enter
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        place = Place(Path(root))
        yield place
        place.remove()


def _as(account: Account) -> dict[str, object]:
    groups = [gid for gid in account.groups if gid != account.gid]
    return {"user": account.uid, "group": account.gid, "extra_groups": groups, "cwd": "/"}


def does(account: Account, script: str) -> bool:
    """Whether a shell script works for somebody."""
    done = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, **_as(account))  # type: ignore[call-overload]
    return bool(done.returncode == 0)


_SAVING = """
import ast, os, sys
from jupyter_server.services.contents.fileio import atomic_writing
os.umask(0o022)
for uid, gid, groups in ast.literal_eval(sys.argv[2]):
    if not (child := os.fork()):
        os.setgroups(groups), os.setgid(gid), os.setuid(uid)
        with atomic_writing(sys.argv[1]) as notebook:
            notebook.write(f"saved by {uid}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@contextmanager
def running(account: Account, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody that has said that it is ready, until it is let go."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-u", "-c", f"{script}\nprint('ready')\ninput()\n{_TRIES}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **_as(account),  # type: ignore[call-overload]
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


_TRIES = """
import sys
try:
    print(tried())
except OSError as error:
    print(type(error).__name__)
"""


def told(process: subprocess.Popen[bytes]) -> str:
    """Let a process try, and return what came of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return process.stdout.readline().decode().strip()


def test_what_one_member_makes_another_may_change_whatever_the_umask(place):
    ada, bob = place.member("ada"), place.member("bob")

    assert does(ada, f"umask 077; cd {place.files}; mkdir d; echo ada > d/a.txt; echo 1 > top.txt")
    assert does(bob, f"cd {place.files}; echo bob >> d/a.txt; echo 2 > top.txt; touch d/new")

    assert (place.files / "d/a.txt").read_text() == "ada\nbob\n"
    assert grp.getgrgid(
        (place.files / "d/a.txt").stat().st_gid
    ).gr_name == place.directories.group_of(place.team)
    assert stat.S_IMODE((place.files / "d").stat().st_mode) == 0o2775


def test_a_notebook_that_jupyter_saves_stays_the_teams(place):
    ada, bob = place.member("ada"), place.member("bob")
    file = place.files / "n.ipynb"
    people = [(person.uid, person.gid, person.groups) for person in (ada, bob)]

    subprocess.run([sys.executable, "-P", "-c", _SAVING, str(file), repr(people)], check=True)

    assert file.read_text() == f"saved by {bob.uid}"
    assert stat.S_IMODE(file.stat().st_mode) & 0o060 == 0o060


def test_a_viewer_reads_and_writes_nothing(place):
    ada = place.member("ada")
    eve = place.directories.enter(place.person("eve"), {place.team: VIEWER})
    assert does(ada, f"echo 1 > {place.files}/a.txt; mkdir {place.files}/d")

    assert does(eve, f"cat {place.files}/a.txt; ls {place.files}/d")
    for attempt in ("echo 2 > a.txt", "touch new", "rm a.txt", "touch d/new", "chmod 777 d"):
        assert not does(eve, f"cd {place.files}; {attempt}"), attempt


def test_nobody_else_enters(place):
    place.member("ada")
    mallory = place.person("mallory")

    assert not does(mallory, f"ls {place.files}")
    assert not does(mallory, f"ls {place.files.parent}")


def test_who_is_no_member_any_more_is_shut_out_of_servers_that_run(place):
    ada = place.member("ada")
    assert does(ada, f"echo 1 > {place.files}/a.txt")
    with running(ada, f"def tried(): return open('{place.files}/a.txt').read()") as server:
        place.directories.follow(ada.uid, {})

        assert told(server) == "PermissionError"


_A_THREAD_OF_ITS_OWN = """
import ctypes, os, threading
there = threading.Event()
def stand():
    assert ctypes.CDLL(None).unshare(0x200) == 0  # CLONE_FS
    os.chdir(FILES)
    there.set()
    threading.Event().wait()
threading.Thread(target=stand, daemon=True).start()
there.wait()
"""


@pytest.mark.parametrize(
    "way_in",
    [
        "import os; os.chdir(FILES)",
        "kept = open(FILES + '/a.txt', 'r+')",
        "import mmap; f = open(FILES + '/a.txt', 'r+'); kept = mmap.mmap(f.fileno(), 0); f.close()",
        _A_THREAD_OF_ITS_OWN,
    ],
    ids=["by standing inside", "by an open file", "by a mapped file", "by a thread inside"],
)
def test_nobody_stays_inside_when_shut_out(place, way_in):
    ada, bob = place.member("ada"), place.member("bob")
    assert does(ada, f"echo 1 > {place.files}/a.txt")
    script = f"FILES = '{place.files}'\n{way_in}"
    with running(ada, script) as inside, running(ada, "") as elsewhere, running(bob, script) as his:
        place.directories.follow(ada.uid, {})

        wait_until(lambda: inside.poll() is not None, 10)
        assert elsewhere.poll() is None
        assert his.poll() is None


def test_a_member_who_becomes_a_viewer_writes_nothing_more_and_reads_from_the_next_server(place):
    ada = place.member("ada")
    assert does(ada, f"echo 1 > {place.files}/a.txt")
    with running(ada, f"def tried(): return open('{place.files}/a.txt', 'a').write('2')") as server:
        place.directories.follow(ada.uid, {place.team: VIEWER})

        assert told(server) == "PermissionError"
    person = place.person("ada")
    again = place.directories.enter(person, {place.team: VIEWER})

    assert does(again, f"cat {place.files}/a.txt")
    assert not does(again, f"echo 2 > {place.files}/a.txt")
    assert not does(again, f"chmod 777 {place.files}/a.txt")


def test_a_person_finds_their_teams_at_home_and_those_of_before_no_more(place):
    ada = place.person("ada")
    place.directories.enter(ada, {place.team: MEMBER, place.teams[1]: VIEWER})
    links = Path(ada.home, "teams")

    assert {link.name for link in links.iterdir()} == set(place.teams[:2])
    assert (links / place.team).readlink() == place.files
    place.directories.enter(ada, {place.team: MEMBER})

    assert [link.name for link in links.iterdir()] == [place.team]
    assert links.stat().st_uid == ada.uid


@pytest.mark.parametrize(
    "trap",
    [
        "ln -s TARGET teams",
        "mkdir teams; ln -s TARGET teams/TEAM",
        "mkdir teams; mkdir teams/TEAM",
        "echo mine > teams",
        "mkdir teams; chmod 0 teams",
    ],
)
def test_links_in_a_home_lead_root_nowhere(place, trap):
    target = place.root.parent / "of-root"
    target.mkdir(mode=0o700)
    (target / "kept").write_text("kept")
    ada = place.person("ada")
    script = trap.replace("TARGET", str(target)).replace("TEAM", place.team)
    assert does(ada, f"cd {ada.home}; {script}")
    before = target.stat()

    with suppress(Unavailable):
        place.directories.enter(ada, {place.team: MEMBER})

    assert target.stat() == before
    assert [entry.name for entry in target.iterdir()] == ["kept"]


def test_members_cannot_put_something_else_in_the_place_of_the_directory(place):
    ada = place.member("ada")

    assert not does(ada, f"mv {place.files} {place.files}2")
    assert not does(ada, f"ln -s /etc {place.files.parent}/x")
    assert not does(ada, f"mkdir {place.root}/other")


def test_no_two_teams_share_a_group(place):
    names = ["a", "a.b", "a-b", "a_b", "x" * 17, "x" * 18, "x" * 63, "x" * 62 + "y"]
    groups = {place.directories.group_of(name) for name in names}

    assert len(groups) == len(names)
    assert all(len(group) <= 32 for group in groups)


def test_a_team_of_two_hundred_is_let_in_and_one_leaves(place):
    place.member("ada")
    for uid in range(2_000_000, 2_000_200):
        place.directories.follow(uid, {place.team: MEMBER})
    ada = place.member("ada")

    place.directories.follow(2_000_100, {})

    assert does(ada, f"ls {place.files}")


def test_a_team_that_is_too_large_for_the_file_system_is_told(place):
    place.member("ada")

    def let_in() -> None:
        for uid in range(2_000_000, 2_010_000):
            place.directories.follow(uid, {place.team: MEMBER})

    with pytest.raises(Unavailable, match="no room for one more person"):
        let_in()
