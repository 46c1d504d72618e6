"""Accounts of the operating system that parts of the platform run as, where root starts it.

Nobody signs in to one, it has no home, and nothing but its own directory is readable by it.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from element_jupyter.core.errors import Conflict, Unavailable

_FIRST_OF_PEOPLE: Final = 1000


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
    """Make the account the owner of a directory, and of all in it when it was another's before.

    Later on what is in it may be links that the account has put there.
    """
    if directory.lstat().st_uid == account.uid:
        return
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.chown(Path(parent, name), *account.owner, follow_symlinks=False)
    os.chown(directory, *account.owner, follow_symlinks=False)


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
