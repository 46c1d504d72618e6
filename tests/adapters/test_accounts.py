"""Accounts of the operating system, made for real; all are gone afterwards."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import signal
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from element_jupyter.adapters.accounts import OwnAccount, PeopleAccounts, account_name
from element_jupyter.core.errors import Forbidden

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")


class Made:
    """Accounts with names of their own; `name("ada")` is removed at the end."""

    def __init__(self, homes: Path) -> None:
        self.mark = f"t{secrets.token_hex(3)}"
        self.group = f"{self.mark}-people"
        self.homes = homes
        self.accounts = PeopleAccounts(self.group, homes)
        self.names: list[str] = []

    def name(self, name: str) -> str:
        self.names.append(f"{self.mark}{name}")
        return self.names[-1]

    def remove(self) -> None:
        for name in self.names:
            with suppress(KeyError):
                pwd.getpwnam(name)
                subprocess.run(["userdel", "--force", name], capture_output=True)
            subprocess.run(["groupdel", name], capture_output=True)
        subprocess.run(["groupdel", self.group], capture_output=True)


@pytest.fixture
def made(tmp_path):
    made = Made(tmp_path / "homes")
    yield made
    made.remove()


def test_a_name_that_is_too_long_for_the_system_is_shortened_and_stays_one_s_own():
    longest = "team-" + 3 * "sales-and-marketing-"
    names = [account_name(longest + end) for end in ("emea", "apac")]

    assert account_name("team-" + 27 * "x") == "team-" + 27 * "x"
    assert names[0] == account_name(longest + "emea") == "team-sales-and-marketin-1c868c5a"
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 32


@needs_root
def test_somebody_with_a_long_name_has_an_account_that_is_made_and_locked_like_any(made):
    long = f"{made.mark}{4 * '-somebody'}"
    made.names.append(account_name(long))

    account = made.accounts.ensure(long)

    assert account.name == account_name(long)
    assert made.accounts.ensure(long) == account
    assert made.accounts.lock(long)


@needs_root
def test_an_account_is_made_once_with_a_home_that_only_its_person_enters(made):
    ada = made.name("ada")

    account = made.accounts.ensure(ada)

    assert made.accounts.ensure(ada) == account
    assert account.uid >= 1000
    assert account.gid in account.groups
    assert grp.getgrnam(made.group).gr_gid in account.groups
    home = Path(account.home).stat()
    assert (stat.S_IMODE(home.st_mode), home.st_uid) == (0o700, account.uid)
    shadow = subprocess.run(["getent", "shadow", ada], capture_output=True, text=True).stdout
    assert shadow.split(":")[1].startswith("!")


@needs_root
def test_many_accounts_can_be_made_at_once(made):
    names = [made.name(f"-{number}") for number in range(6)]

    with ThreadPoolExecutor() as pool:
        accounts = list(pool.map(made.accounts.ensure, names))

    assert len({account.uid for account in accounts}) == 6


@needs_root
@pytest.mark.parametrize("name", ["root", "daemon", "nobody"])
def test_an_account_that_is_there_already_is_not_used(made, name):
    with pytest.raises(Forbidden, match=f"'{name}' of this machine is not one of Element's"):
        made.accounts.ensure(name)
    with pytest.raises(Forbidden):
        made.accounts.lock(name)


@needs_root
def test_an_ordinary_account_is_used_once_an_administrator_has_put_it_into_the_group(made):
    made.accounts.ensure(made.name("first"))  # which makes the group
    ada = made.name("ada")
    subprocess.run(["useradd", "--create-home", "--base-dir", str(made.homes), ada], check=True)
    with pytest.raises(Forbidden):
        made.accounts.ensure(ada)

    subprocess.run(["usermod", "--append", "--groups", made.group, ada], check=True)

    assert made.accounts.ensure(ada).name == ada


@needs_root
@pytest.mark.parametrize("name", ["shadow", "docker-like", "1234"])
def test_a_name_that_would_give_rights_or_confuse_is_refused(made, name):
    if name == "docker-like":
        name = made.name("disk")
        subprocess.run(["groupadd", name], check=True)

    with pytest.raises(Forbidden):
        made.accounts.ensure(name)

    with pytest.raises(KeyError):
        pwd.getpwnam(name)


@needs_root
def test_a_directory_of_that_name_is_given_to_nobody(made):
    ada = made.name("ada")
    (made.homes / ada).mkdir(parents=True)

    with pytest.raises(Forbidden, match="there already"):
        made.accounts.ensure(ada)


@needs_root
def test_names_may_have_dots_and_begin_with_a_digit(made):
    made.mark = f"7{made.mark}"

    assert made.accounts.ensure(made.name("a.l-x_y")).uid >= 1000


@needs_root
def test_locking_ends_what_runs_and_coming_back_unlocks(made):
    ada = made.name("ada")
    account = made.accounts.ensure(ada)
    running = [
        subprocess.Popen(
            ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            start_new_session=True,
            cwd="/",
        )
        for _ in range(2)
    ]

    assert made.accounts.lock(ada)

    assert [process.wait(10) for process in running] == [-signal.SIGKILL] * 2
    refused = subprocess.run(["su", ada, "-c", "true"], capture_output=True, text=True)
    assert refused.returncode != 0
    made.accounts.ensure(ada)
    assert subprocess.run(["su", ada, "-c", "true"], capture_output=True).returncode == 0
    assert not made.accounts.lock(made.name("nobody-of-this-name"))


@needs_root
def test_what_an_administrator_has_let_expire_stays_so(made):
    ada = made.name("ada")
    made.accounts.ensure(ada)
    subprocess.run(["usermod", "--expiredate", "2001-01-01", ada], check=True)

    with pytest.raises(Forbidden, match="expired"):
        made.accounts.ensure(ada)


def test_an_ordinary_user_serves_themselves_alone():
    accounts = OwnAccount("ada")

    assert accounts.ensure("ada").uid == os.geteuid()
    with pytest.raises(Forbidden, match="serves ada alone, not grace"):
        accounts.ensure("grace")
