"""Accounts of the operating system that parts of the platform run as, where root starts it.

Nobody signs in to one, it has no home, and nothing but its own directory is readable by it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from element_jupyter.core.errors import Conflict, Unavailable

LOW_PORTS: Final = 10  # CAP_NET_BIND_SERVICE
_FIRST_OF_PEOPLE: Final = 1000
_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITIES_VERSION: Final = 0x20080522


@dataclass(frozen=True)
class ServiceAccount:
    """An account that exists."""

    name: str
    uid: int
    gid: int

    @property
    def owner(self) -> tuple[int, int]:
        return self.uid, self.gid


def service_account(name: str) -> ServiceAccount:
    """Return the account, which is made when it is not there.

    Raises:
        Conflict: an account of that name is a person's, or root's.
        Unavailable: the system makes none, with its reason.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        _make(name)
        found = pwd.getpwnam(name)
    if not 0 < found.pw_uid < _FIRST_OF_PEOPLE:
        raise Conflict(
            f"The account '{name}' of this machine is not one of a service.",
            "Rename it: the platform runs a service as that account.",
        )
    return ServiceAccount(name, found.pw_uid, found.pw_gid)


def _make(name: str) -> None:
    command = [
        *("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"),
        *("--shell", "/usr/sbin/nologin", "--comment", "Element", name),
    ]
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={"PATH": path}
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "There is no useradd, which makes accounts.", "Install it: apt install passwd."
        ) from error
    if done.returncode != 0:
        raise Unavailable(f"The account {name} cannot be made: {done.stderr.strip()}")


def own(directory: Path, account: ServiceAccount) -> None:
    """Make the account the owner of a directory, and of all in it that is the caller's.

    Nothing happens when it is the owner already. What is in there may be links that the account has
    put there in the meantime, to files that are not its own: none is followed, and what has a
    second name is left alone where the account could have given it.
    """
    if directory.lstat().st_uid == account.uid:
        return
    # from the leaves up: interrupted, it begins anew, and a directory that is still the caller's
    # has in it only what the caller has put there
    for _, directories, files, descriptor in os.fwalk(directory, topdown=False):
        is_ours = os.fstat(descriptor).st_uid == os.geteuid()
        for name in (*directories, *files):
            _hand_over(descriptor, name, account, linked=is_ours)
    os.chown(directory, *account.owner, follow_symlinks=False)


def take_back(directory: Path) -> None:
    """Make the caller the owner of a directory that was an account's; `own` then looks into it."""
    with suppress(FileNotFoundError):
        if directory.lstat().st_uid != os.geteuid():
            os.chown(directory, os.geteuid(), os.getegid(), follow_symlinks=False)


def _hand_over(parent: int, name: str, account: ServiceAccount, *, linked: bool) -> None:
    try:
        opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return  # somebody has removed it just now
    try:
        found = os.fstat(opened)
        is_single = found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)
        if found.st_uid == os.geteuid() and (is_single or linked):
            os.chown(f"/proc/self/fd/{opened}", *account.owner)
    finally:
        os.close(opened)


def become(account: ServiceAccount, capability: int) -> None:
    """Take on the account between fork and exec, keeping one capability (capabilities(7)).

    Raises:
        OSError: this process may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)  # of this thread
    mask = 1 << capability
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    for done in (
        libc.capset(header, sets),
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0),
    ):
        if done != 0:
            raise OSError(ctypes.get_errno(), "a capability cannot be kept")


def cannot_use(
    account: ServiceAccount, *, reads: Iterable[Path] = (), writes: Iterable[Path] = ()
) -> Path | None:
    """Return the first of these that exists and that the account cannot read, or write."""
    for option, paths in (("-r", reads), ("-w", writes)):
        for path in paths:
            if path.exists() and not _tested(account, option, path):
                return path
    return None


def _tested(account: ServiceAccount, option: str, path: Path) -> bool:
    """Ask a process of the account, whose word is the kernel's."""
    enters = ["-a", "-x", str(path)] if path.is_dir() else []
    done = subprocess.run(
        ["/usr/bin/test", option, str(path), *enters],
        check=False,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        env={},
    )
    return done.returncode == 0


def closed_directory(path: Path) -> Path | None:
    """Return the first directory on the way to a path that other accounts may not pass."""
    resolved = path.resolve()
    return next(
        (
            parent
            for parent in reversed(resolved.parents)
            if not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH
        ),
        None,
    )
