"""Airflow as an account of its own, which can read what is its own and nothing else."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from element_jupyter.adapters.forkserver import ForkServer, Spawn
from element_jupyter.adapters.service_accounts import (
    ServiceAccount,
    cannot_use,
    closed_directory,
    own,
    service_account,
    take_back,
)
from element_jupyter.core.errors import Conflict
from element_jupyter.core.orchestration import HubAddress
from element_jupyter.platform.airflow_home import AirflowSetup, write_home
from element_jupyter.platform.data import Data, write_private
from element_jupyter.platform.ports import is_free
from element_jupyter.platform.processes import execute_program, fork_server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has accounts made")

NAME = "element-tests"


@pytest.fixture
def account() -> Iterator[ServiceAccount]:
    made = service_account(NAME)
    yield made
    subprocess.run(["/usr/sbin/userdel", NAME], check=True)


@pytest.fixture
def data() -> Iterator[Data]:
    """A data directory as root's platform has it, where other accounts can come to."""
    root = Path(tempfile.mkdtemp(prefix="element-data-", dir="/tmp"))
    made = Data(root)
    made.create()
    yield made
    shutil.rmtree(root)


def write(data: Data, account: ServiceAccount) -> None:
    token = data.secrets / "hub-airflow-token"
    write_private(token, "the Hub's\n")
    setup = AirflowSetup(
        port=1,
        service_url="http://127.0.0.1:1",
        database_url="postgresql+psycopg2://airflow_service:secret@/airflow",
        async_database_url="postgresql+asyncpg://airflow_service:secret@/airflow",
        parallelism=1,
        hub=HubAddress(
            api_url="http://127.0.0.1:1/hub/api", public_url="https://a.example", token_file=token
        ),
    )
    write_home(data, setup, account)
    data.let_accounts_pass()


def test_the_account_is_nobodys_to_sign_in_to_and_is_made_once(account):
    entry = pwd.getpwnam(NAME)
    assert (entry.pw_shell, entry.pw_dir) == ("/usr/sbin/nologin", "/nonexistent")
    assert 0 < entry.pw_uid < 1000
    assert service_account(NAME) == account


def test_an_account_that_is_somebodys_is_not_used():
    with pytest.raises(Conflict, match="not one of a service"):
        service_account("root")


def test_airflows_processes_read_their_own_and_nothing_of_others(account, data, tmp_path):
    write(data, account)
    home = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))  # 0700, as people's are
    try:
        (home / "diary").write_text("dear diary")
        (data.dags / "by_hand.py").write_text("# an admin's DAG")
        job, blob = data.root / "jobs" / "ml", data.root / "blobs" / "aa"
        for directory in (job, blob):
            directory.mkdir()
        for file in (job / "job.yaml", blob / "blob"):
            file.write_text("not Airflow's")
        allowed = [data.airflow / "airflow.cfg", data.dags / "by_hand.py"]
        refused = [
            *(home / "diary", job / "job.yaml", blob / "blob", data.token_file),
            *(data.secrets / "hub-airflow-token", data.secrets / "airflow-jwt-secret"),
            *(data.root, data.secrets, data.run, data.logs),
        ]

        readable = asyncio.run(_readable(data, account, [*allowed, *refused]))

        assert readable == {str(path) for path in allowed}
    finally:
        shutil.rmtree(home)


async def _readable(data: Data, account: ServiceAccount, paths: list[Path]) -> set[str]:
    """Ask a child of a fork server of Airflow's account which of the paths it can read."""
    sockets = data.airflow / "run"
    component = fork_server(data, "airflow", "Airflow", [], {}, account=account, directory=sockets)
    process = await component.launch()
    try:
        for _ in range(600):
            if await component.ready():
                break
            await asyncio.sleep(0.1)
        log = data.open_log("child", account.owner)
        child = await ForkServer(sockets / "airflow.sock").spawn(
            Spawn(
                target="subprocess:call",
                arguments=[["find", *map(str, paths), "-maxdepth", "0", "-readable", "-print"]],
                log=str(log),
            )
        )
        await child.wait()
        # besides, it says what it was refused
        return {line for line in log.read_text().splitlines() if line.startswith("/")}
    finally:
        process.signal(component.stop_signal)
        await process.wait()


def test_what_airflow_is_told_belongs_to_its_account(account, data):
    write(data, account)
    write(data, account)  # as at every start
    for name in ("airflow.cfg", "control-plane-token", "hub-token"):
        found = (data.airflow / name).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (account.uid, 0o600), name
    assert data.airflow.stat().st_uid == account.uid
    assert data.dags.stat().st_uid == 0
    copy = (data.airflow / "control-plane-token").read_text()
    assert copy.strip() == data.airflows_token.read_text().strip()


def test_a_home_from_before_is_handed_over_without_following_its_links(account, data, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("root's")
    (data.airflow / "logs").mkdir(parents=True)
    (data.airflow / "logs" / "old.log").write_text("old")
    (data.airflow / "link").symlink_to(outside)
    own(data.airflow, account)
    assert (data.airflow / "logs" / "old.log").stat().st_uid == account.uid
    assert outside.stat().st_uid == 0


def test_what_root_adds_later_is_handed_over_but_no_file_that_has_another_name(
    account, data, tmp_path
):
    foreign = tmp_path / "shadow"
    foreign.write_text("root's")
    (data.airflow / "logs").mkdir(parents=True)
    own(data.airflow, account)
    # a platform without accounts writes in there, and the account has made a name of its own
    take_back(data.airflow)
    (data.airflow / "logs" / "new.log").write_text("new")
    (data.airflow / "logs" / "shadow").hardlink_to(foreign)

    own(data.airflow, account)

    assert (data.airflow / "logs" / "new.log").stat().st_uid == account.uid
    assert foreign.stat().st_uid == 0


def test_what_an_account_cannot_use_is_named(account, data):
    data.let_accounts_pass()
    theirs, closed = data.root / "theirs", data.root / "closed"
    theirs.mkdir(mode=0o755)
    closed.mkdir(mode=0o700)

    assert cannot_use(account, reads=[theirs]) is None
    assert cannot_use(account, reads=[theirs], writes=[theirs]) == theirs
    assert cannot_use(account, reads=[closed, theirs]) == closed
    own(closed, account)
    assert cannot_use(account, reads=[closed], writes=[closed]) is None


def test_an_account_listens_on_low_ports_where_it_is_let_and_does_nothing_else_of_root_s(
    account, data
):
    port = next(number for number in range(1023, 600, -1) if is_free("127.0.0.1", number))
    code = (
        "import os, socket\n"
        f"socket.socket().bind(('127.0.0.1', {port}))\n"
        "print('bound', os.getuid(), os.access('/etc/shadow', os.R_OK), os.getgroups())"
    )
    command = [sys.executable, "-c", code]
    said = {}
    for ports in (True, False):
        process = execute_program(data, f"low-{ports}", command, {}, account=account, ports=ports)
        asyncio.run(process.wait())
        said[ports] = (data.logs / f"low-{ports}.log").read_text()

    assert said[True] == f"bound {account.uid} False []\n"
    assert "Permission denied" in said[False] or _lets_everybody(port)


def _lets_everybody(port: int) -> bool:
    """Whether this machine lets every account listen there."""
    return port >= int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


def test_a_directory_that_accounts_cannot_pass_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    inside = closed / "data"
    inside.mkdir()
    assert closed_directory(inside) is not None
    assert closed_directory(Path("/tmp")) is None


def test_starting_again_does_not_shut_out_what_runs(data):
    data.let_accounts_pass()
    data.create()
    assert data.root.stat().st_mode & 0o777 == 0o711
