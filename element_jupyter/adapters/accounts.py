"""People as accounts of the operating system: made, locked and unlocked, never anybody else's.

As root, each person has an account of their own name in one group (`accounts_group`); an account
outside of it is never used or touched. Otherwise there is one person: who runs this.

A name that is too long for the system, as that of a team may be, is shortened; see `account_name`.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

import psutil

from element_jupyter.core.confinement import Account
from element_jupyter.core.errors import Forbidden, Unavailable

_LOWEST_UID: Final = 1000
_LONGEST_NAME: Final = 32
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_LOCKED: Final = "1"
"""The day (since 1970) on which an account that we have locked has expired: shadow(5)."""
_END_SECONDS: Final = 10.0


def account_name(person: str) -> str:
    """Return what an account is called; a name of more than 32 characters ends in its hash.

    Nobody brings a name along that ends so (`core.teams.person_name`), and no team's account is
    called like a person, so two names never have one account.
    """
    if len(person) <= _LONGEST_NAME:
        return person
    digits = hashlib.sha256(person.encode()).hexdigest()[:8]
    return f"{person[: _LONGEST_NAME - 9].rstrip('-._')}-{digits}"


_changing = threading.Lock()
"""Two programs that change /etc/passwd at once wait for each other for seconds, and may give up."""


class PeopleAccounts:
    """The `Accounts` of a platform that is root's: one for each person."""

    def __init__(self, group: str, homes: Path) -> None:
        self._group = group
        self._homes = homes

    def ensure(self, person: str) -> Account:
        """Return the person's account, which is made or unlocked where it must be.

        Raises:
            Forbidden: the name is another's, or no account can have it; says what to do.
            Unavailable: the system makes none; says why.
        """
        person = account_name(person)
        with _changing:
            if (found := _entry(person)) is None:
                self._make(person)
                found = _entry(person)
                if found is None:
                    raise Unavailable(f"The account {person} was made, and is not there.")
            self._check(found)
            self._unlock(person)
            _make_home(found)
        return _account(found)

    def lock(self, person: str) -> bool:
        """Let nothing be started as this person, and end what runs; False: they have no account.

        Raises:
            Forbidden: the account of that name is not one of ours; it is left alone.
            Unavailable: the system does not lock it, or its processes do not end.
        """
        person = account_name(person)
        with _changing:
            if (found := _entry(person)) is None:
                return False
            self._check(found)
            _call("usermod", "--lock", "--expiredate", _LOCKED, person)
        _end_all(found.pw_uid)
        return True

    def _make(self, person: str) -> None:
        if person.isdecimal() or person.startswith("-"):
            raise Forbidden(
                f"No account of this machine can be called '{person}'.",
                "An administrator gives you a name that is not of digits alone.",
            )
        try:
            grp.getgrnam(self._group)
        except KeyError:
            _call("groupadd", "--system", self._group)
        try:
            grp.getgrnam(person)
        except KeyError:
            pass
        else:
            # an account of its own group's name would be given what that group may
            raise Forbidden(
                f"This machine has a group '{person}', so nobody can be called that.",
                "An administrator gives you another name.",
            )
        self._homes.mkdir(parents=True, exist_ok=True)
        home = self._homes / person
        if home.is_symlink() or home.exists():
            raise Forbidden(
                f"{home} is there already, and may be somebody else's.",
                "An administrator moves it away, or makes the account by hand and adds it to the "
                f"group '{self._group}'.",
            )
        _call(
            "useradd",
            *("--badname",),  # what is bad to it is a dot or a digit at the beginning
            *("--key", f"UID_MIN={_LOWEST_UID}", "--key", "HOME_MODE=0700"),
            *("--user-group", "--groups", self._group),
            *("--create-home", "--home-dir", str(home)),
            *("--shell", "/bin/bash", "--comment", "Element"),
            person,
        )

    def _check(self, found: pwd.struct_passwd) -> None:
        try:
            group = grp.getgrnam(self._group)
        except KeyError:
            members: set[str] = set()
        else:
            members = {*group.gr_mem} | ({found.pw_name} if found.pw_gid == group.gr_gid else set())
        if found.pw_uid < _LOWEST_UID or found.pw_gid == 0 or found.pw_name not in members:
            raise Forbidden(
                f"The account '{found.pw_name}' of this machine is not one of Element's.",
                f"If it is yours, an administrator adds it to the group '{self._group}': "
                f"usermod --append --groups {self._group} {found.pw_name}",
            )

    def _unlock(self, person: str) -> None:
        expired = _expiry(person)
        if expired == _LOCKED:
            _call("usermod", "--expiredate", "", person)
        elif expired and int(expired) * 86400 <= time.time():
            raise Forbidden(
                f"The account '{person}' of this machine has expired.",
                "Ask an administrator of the machine.",
            )


class OwnAccount:
    """The `Accounts` of a platform that is not root's: its one person is who runs it."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def ensure(self, person: str) -> Account:
        """Return the account that this process runs as.

        Raises:
            Forbidden: it is another person's.
        """
        if person != self._owner:
            raise Forbidden(
                f"This platform runs as an ordinary user and serves {self._owner} alone, "
                f"not {person}.",
                "Started as root it serves many, each as an account of their own.",
            )
        return _account(pwd.getpwuid(os.geteuid()))

    def lock(self, person: str) -> bool:
        """Return False: an ordinary user locks nobody, and people have no other account."""
        return False


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _account(found: pwd.struct_passwd) -> Account:
    return Account(
        name=found.pw_name,
        uid=found.pw_uid,
        gid=found.pw_gid,
        groups=tuple(sorted(os.getgrouplist(found.pw_name, found.pw_gid))),
        home=found.pw_dir,
        shell=found.pw_shell or "/bin/sh",
    )


def _make_home(found: pwd.struct_passwd) -> None:
    """See that the home is there and the person's own.

    Raises:
        Forbidden: it is somebody else's.
    """
    home = Path(found.pw_dir)
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        status = home.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != found.pw_uid:
            raise Forbidden(
                f"{home} does not belong to {found.pw_name}.",
                "An administrator of the machine looks whose it is.",
            ) from None
    except OSError as error:
        raise Unavailable(f"{home} cannot be made: {error.strerror}.") from error
    else:
        os.chown(home, found.pw_uid, found.pw_gid)


def _expiry(person: str) -> str:
    for line in Path("/etc/shadow").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == person and len(fields) > 7:
            return fields[7]
    return ""


def _call(program: str, *arguments: str) -> None:
    path = shutil.which(program, path=_ENVIRONMENT["PATH"])
    if path is None:
        raise Unavailable(
            f"There is no {program}, which makes accounts.", "Install it: apt install passwd."
        )
    try:
        done = subprocess.run(
            [path, *arguments],
            check=False,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{program} does not run: {error}.") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unavailable(f"{program} refused: {lines[-1].rstrip('.')}.")


def _end_all(uid: int) -> None:
    """Kill every process of an account, also those that start others meanwhile."""
    deadline = time.monotonic() + _END_SECONDS
    while _has_processes(uid):
        # -1 is every process that may be signalled: as this account, its own
        subprocess.run(
            ["/bin/sh", "-c", "kill -KILL -1"],
            check=False,
            env=_ENVIRONMENT,
            user=uid,
            group=uid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_END_SECONDS,
        )
        if time.monotonic() > deadline:
            raise Unavailable(f"Processes of the account {uid} do not end.")
        time.sleep(0.02)


def _has_processes(uid: int) -> bool:
    for process in psutil.process_iter():
        try:
            if uid in set(process.uids()) and process.status() != psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            continue
    return False
