"""The directory that a team shares: its members write there, its viewers read, nobody else enters.

    <teams_dir>/<team>/         the gate: root's; an entry of its access control list lets one in
    <teams_dir>/<team>/files/   the team's: set-group-id, with a default access control list

The gate is by person, not by group, since a process keeps the groups that it was started with for
as long as it lives. Closing the gate counts for those that run, from the next file that they open;
what already stands inside, or holds a file of it open, is ended.

Writing is by a group that no account is in: it is given to processes as they are started. So who
may only look from now on, and has processes that could write, is shut out until those have ended;
what they have made there is root's from then on, and the team's to change.
"""

from __future__ import annotations

import grp
import hashlib
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import E2BIG, ENODATA, ENOSPC, ENOTSUP
from pathlib import Path
from typing import Final

import psutil

from element_jupyter.core.confinement import Account
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name

_FILES: Final = "files"
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST: Final = 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_END_SECONDS: Final = 10.0
_LINK_SECONDS: Final = 20.0

# linux/posix_acl_xattr.h: a version, then (tag, permissions, id) of each entry, little-endian
_ACCESS: Final = "system.posix_acl_access"
_DEFAULT: Final = "system.posix_acl_default"
_VERSION: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID: Final = 0xFFFFFFFF
_READ, _WRITE, _ENTER = 4, 2, 1
_ALL: Final = _READ | _WRITE | _ENTER
_LOOKS: Final = _ENTER
_WRITES: Final = _READ | _ENTER
"""Entries of the gate: they tell who was let in as what."""
_INSIDE: Final = ((_OWNER, _ALL, _NO_ID), (_GROUP, _ALL, _NO_ID), (_OTHER, _READ | _ENTER, _NO_ID))
"""What is made inside: the group may write whatever the umask is, viewers are the others."""

_changing = threading.Lock()


class TeamDirectories:
    """The directories below `root`; needs to be root."""

    def __init__(self, root: Path, people: str) -> None:
        """Name the group of the operating system that all people are in."""
        self._root = root
        self._people = people

    def group_of(self, team: Name) -> str:
        """Name the group of the operating system of a team; no two teams have the same."""
        plain = f"{self._people}-{team}"
        if _PLAIN.fullmatch(team) and len(plain) <= _LONGEST:
            return plain
        return f"el-{hashlib.sha256(plain.encode()).hexdigest()[:24]}"

    def path_of(self, team: Name) -> Path:
        """Return where the files of a team are."""
        return self._root / team / _FILES

    def enter(self, account: Account, teams: Mapping[Name, Level]) -> Account:
        """Let somebody's next processes in, and link their teams in `~/teams`.

        Returns:
            The account with the groups that those processes must have.

        Raises:
            Unavailable: the system makes no group, or the file system keeps no such rights.
        """
        groups = set(account.groups)
        for team, level in teams.items():
            gid = self._make(team)
            if level.covers(Level.MEMBER):
                groups.add(gid)
        self.follow(account.uid, teams)
        self._link(account, teams)
        return account.model_copy(update={"groups": tuple(sorted(groups))})

    def follow(self, uid: int, teams: Mapping[Name, Level]) -> None:
        """Have what somebody may reach be what they are now, also for what of theirs runs.

        Raises:
            Unavailable: what is inside does not end, or a gate has no room for one more.
        """
        with _changing:
            for gate in self._gates():
                level = teams.get(gate.name)
                if level is not None and level.covers(Level.MEMBER):
                    _set(gate, uid, _WRITES)
                elif level is None or not _set(gate, uid, _LOOKS, only_if=_LOOKS):
                    self._shut(gate, uid)
                    if level is not None and not _has_processes(uid, self._gid_of(gate.name)):
                        _hand_over(gate / _FILES, uid)
                        _set(gate, uid, _LOOKS)

    def _shut(self, gate: Path, uid: int) -> None:
        if _set(gate, uid, 0):
            # the entry stays until nothing is inside, also when this process ends first
            _end_inside(uid, gate)
            _set(gate, uid, None)

    def _gid_of(self, team: Name) -> int | None:
        try:
            return grp.getgrnam(self.group_of(team)).gr_gid
        except KeyError:
            return None

    def _gates(self) -> Iterator[Path]:
        with suppress(FileNotFoundError), os.scandir(self._root) as found:
            yield from sorted(
                Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)
            )

    def _make(self, team: Name) -> int:
        """Make the directory of a team if it is not there; return the group that writes in it."""
        with _changing:
            gid = _group_id(self.group_of(team))
            self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
            gate, files = self._root / team, self._root / team / _FILES
            with suppress(FileExistsError):
                gate.mkdir(mode=0o700)
                with _opened(gate) as gate_fd:
                    _write(gate_fd, _ACCESS, _gate_of({}))
            if not files.is_dir():
                # nobody but root can put anything here
                made = gate / f".{_FILES}"
                with suppress(FileExistsError):
                    made.mkdir(mode=0o700)
                with _opened(made) as files_fd:
                    os.fchown(files_fd, 0, gid)
                    os.fchmod(files_fd, 0o2775)
                    _write(files_fd, _DEFAULT, _INSIDE)
                made.rename(files)
        return gid

    def _link(self, account: Account, teams: Mapping[Name, Level]) -> None:
        """Link the directories in the person's home, as the person.

        A link or directory of theirs may stand there, and lead anywhere: root touches nothing.
        """
        wanted = {team: str(self.path_of(team)) for team in sorted(teams)}
        if not wanted and not os.path.lexists(Path(account.home) / "teams"):
            return
        links = [text for pair in wanted.items() for text in pair]
        try:
            subprocess.run(
                ["/bin/sh", "-c", _LINKING, "sh", account.home, str(self._root), *links],
                stdin=subprocess.DEVNULL,
                check=True,
                env={"PATH": _PATH},
                user=account.uid,
                group=account.gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                timeout=_LINK_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(
                f"The directories of teams could not be linked in {account.home}."
            ) from error


_LINKING: Final = """
root=$2
cd "$1" || exit
mkdir -m 700 teams 2>/dev/null
[ -d teams ] && [ ! -L teams ] && cd teams || exit 0
shift 2
for link in *; do
    target=$(readlink "./$link") || continue
    case $target in "$root"/*) rm -f "./$link" ;; esac
done
while [ $# -gt 0 ]; do
    ln -sT "$2" "./$1" 2>/dev/null
    shift 2
done
exit 0
"""
"""What stands in the place of a link is left there."""


# ---------------------------------------------------------------------------- access control lists


def _set(gate: Path, uid: int, permissions: int | None, *, only_if: int | None = None) -> bool:
    """Set the entry of an account; None and 0 are for one that is there. Whether it was or is."""
    with _opened(gate) as gate_fd:
        listed = _listed(gate_fd)
        before = listed.pop(uid, None)
        if only_if is not None and before != only_if:
            return False
        if before is None and not permissions:
            return False
        if permissions is not None:
            listed[uid] = permissions
        if before != permissions:
            _write(gate_fd, _ACCESS, _gate_of(listed))
    return True


def _gate_of(listed: Mapping[int, int]) -> tuple[tuple[int, int, int], ...]:
    return (
        (_OWNER, _ALL, _NO_ID),
        *((_USER, permissions, uid) for uid, permissions in sorted(listed.items())),
        (_GROUP, 0, _NO_ID),
        (_MASK, _READ | _ENTER, _NO_ID),
        (_OTHER, 0, _NO_ID),
    )


def _listed(fd: int) -> dict[int, int]:
    try:
        listed = os.getxattr(fd, _ACCESS)
    except OSError as error:
        if error.errno == ENODATA:
            return {}
        raise _unsupported(error) from error
    entries = _ENTRY.iter_unpack(listed[_VERSION.size :])
    return {uid: permissions for tag, permissions, uid in entries if tag == _USER}


def _write(fd: int, name: str, entries: tuple[tuple[int, int, int], ...]) -> None:
    listed = _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)
    try:
        os.setxattr(fd, name, listed)
    except OSError as error:
        raise _unsupported(error) from error


def _unsupported(error: OSError) -> Unavailable:
    if error.errno in {ENOSPC, E2BIG}:
        return Unavailable(
            "The directory of this team has no room for one more person.",
            "The file system limits how many there may be: ext4 to about 500. Use XFS for more.",
        )
    if error.errno == ENOTSUP:
        return Unavailable(
            "The file system of the teams' directories keeps no access control lists.",
            "An administrator sets Element.teams_dir to one that does: ext4, XFS, Btrfs.",
        )
    return Unavailable(f"The rights of a team's directory cannot be set: {error.strerror}.")


def _hand_over(files: Path, uid: int) -> None:
    """Give what an account has made to root: an owner may write, whoever else may."""
    for _, directories, names, within in os.fwalk(files, follow_symlinks=False):
        for name in (*directories, *names):
            with suppress(FileNotFoundError):
                opened = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=within)
                try:
                    status = os.fstat(opened)
                    if status.st_uid == uid and not stat.S_ISLNK(status.st_mode):
                        # the very file that was looked at, whatever has its name by now
                        os.chown(f"/proc/self/fd/{opened}", 0, -1)
                finally:
                    os.close(opened)


# ------------------------------------------------------------------------------------------ groups


def _group_id(name: str) -> int:
    for _ in range(2):
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            program = shutil.which("groupadd", path=_PATH)
        if program is None:
            break
        subprocess.run(
            [program, "--system", "--force", name],
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
    raise Unavailable(
        f"The group '{name}' cannot be made.", "An administrator of the machine looks why."
    )


# --------------------------------------------------------------------------------------- processes


def _end_inside(uid: int, gate: Path) -> None:
    """Kill the person's processes that need not pass the gate any more, being inside."""
    deadline = time.monotonic() + _END_SECONDS
    while inside := [pid for pid in _processes(uid) if _is_inside(pid, gate)]:
        for pid in inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Unavailable(f"Processes of the account {uid} inside {gate} do not end.")
        time.sleep(0.02)


def _has_processes(uid: int, group: int | None) -> bool:
    return group is not None and any(str(group) in _field(pid, "Groups") for pid in _processes(uid))


def _processes(uid: int) -> Iterator[int]:
    for pid in psutil.pids():
        if str(uid) in _field(pid, "Uid") and _field(pid, "State")[:1] not in (["Z"], ["X"]):
            yield pid


def _field(pid: int, name: str) -> list[str]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            field, _, value = line.partition(":")
            if field == name:
                return value.split()
    return []


def _is_inside(pid: int, gate: Path) -> bool:
    """Whether a process stands in a directory, or has a file open, mapped or mounted, in there."""
    process = Path("/proc", str(pid))
    prefix = f"{gate.resolve()}/"
    for thread in _children(process / "task"):  # each may have its own
        for link in (thread / "cwd", thread / "root", *_children(thread / "fd")):
            with suppress(OSError):
                if f"{link.readlink()}/".startswith(prefix):
                    return True
    with suppress(OSError):
        if prefix in (process / "maps").read_text(errors="replace"):
            return True
    with suppress(OSError):
        within = f"{_below_mount(gate.resolve())}/"
        mounts = (process / "mountinfo").read_text(errors="replace").splitlines()
        if any(f"{line.split()[3]}/".startswith(within) for line in mounts):
            return True
    return False


def _below_mount(path: Path) -> str:
    mount = path
    while not mount.is_mount():
        mount = mount.parent
    return f"/{path.relative_to(mount)}"


def _children(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    opened = os.open(directory, _DIRECTORY)
    try:
        yield opened
    finally:
        os.close(opened)
