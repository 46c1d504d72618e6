"""The embedded PostgreSQL as a real server, and a given one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from element_jupyter.adapters.postgres import EmbeddedPostgres, ensure_database, parse_url
from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from tests.platform_fixture import ROOT, wait_until


@contextmanager
def running(
    directory: Path, *, shared: bool = False
) -> Iterator[tuple[EmbeddedPostgres, subprocess.Popen[bytes]]]:
    directory.mkdir(mode=0o700, exist_ok=True)
    log = directory / "postgres.log"
    server = EmbeddedPostgres(directory / "postgres", log, shared=shared)
    server.prepare()
    process = server.start()
    try:
        wait_until(server.is_ready, 30, (directory / "postgres.log").read_text)
        yield server, process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        server.close()


def answer(url: str, statement: str = "SELECT 42") -> object:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar()
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[tuple[EmbeddedPostgres, Path]]:
    directory = tmp_path_factory.mktemp("with spaces") / "data"
    with running(directory) as (server, _):
        server.ensure_database("element")
        yield server, directory


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_drivers_reach_a_database_in_a_directory_with_spaces(cluster, driver):
    server, _ = cluster
    assert answer(server.url("element", driver)) == 42


def test_the_asynchronous_driver_does_too(cluster):
    async def ask() -> object:
        engine = create_async_engine(cluster[0].url("element", "asyncpg"))
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT 42"))).scalar()
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == 42


def test_a_database_is_created_once_whatever_its_name(cluster):
    server, _ = cluster
    for _ in range(2):
        server.ensure_database('odd "name"; DROP')
        ensure_database(server.url("element", "psycopg"), "second")
    names = "SELECT count(*) FROM pg_database WHERE datname IN ('odd \"name\"; DROP', 'second')"
    assert answer(server.url("element", "psycopg"), names) == 2


def test_it_listens_on_a_private_socket_only(cluster):
    server, directory = cluster
    assert answer(server.url("element", "psycopg"), "SHOW listen_addresses") == ""
    assert (directory / "postgres").stat().st_mode & 0o777 == 0o700
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name", [("long " * 30).strip(), "with, comma", "qu\"ote'd", "ünï \\ code"]
)
def test_a_path_that_suits_no_socket_address_works(tmp_path, name):
    directory = tmp_path / name
    with running(directory) as (server, _):
        assert answer(server.url("postgres", "psycopg")) == 42


def test_data_survive_a_kill_of_the_server(tmp_path):
    with running(tmp_path / "data") as (server, process):
        server.ensure_database("kept")
        process.kill()
        process.wait()
    assert (tmp_path / "data" / "postgres" / "postmaster.pid").exists()
    with running(tmp_path / "data") as (server, _):
        assert answer(server.url("kept", "psycopg")) == 42


def test_a_lock_file_whose_pid_is_someone_elses_now_is_no_obstacle(tmp_path):
    with running(tmp_path / "data"):
        pass
    lock = tmp_path / "data" / "postgres" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n1\n5432\n{lock.parent}\n\n0 0\nready\n")
    with running(tmp_path / "data") as (server, _):
        assert answer(server.url("postgres", "psycopg")) == 42


STARTER = """
import sys, time
from pathlib import Path
from element_jupyter.adapters.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]) / "postgres", Path(sys.argv[1]) / "postgres.log")
server.prepare()
print(server.start().pid, flush=True)
time.sleep(600)
"""


def test_it_shuts_down_when_who_started_it_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        wait_until(EmbeddedPostgres(tmp_path / "postgres", tmp_path / "x").is_ready)
        starter.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert "database system is shut down" in (tmp_path / "postgres.log").read_text()


def test_a_server_left_behind_is_ended_before_a_new_one_starts(tmp_path):
    left = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "log")
    left.prepare()
    process = left.start()
    wait_until(left.is_ready)
    EmbeddedPostgres(tmp_path / "postgres", tmp_path / "log").prepare()
    assert process.wait(30) == 0


def test_a_half_made_cluster_is_made_anew(tmp_path):
    half = tmp_path / "data" / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with running(tmp_path / "data") as (server, _):
        assert answer(server.url("postgres", "psycopg")) == 42


def test_a_cluster_of_another_version_is_refused_with_what_to_do(tmp_path):
    directory = tmp_path / "postgres"
    directory.mkdir(mode=0o700)
    (directory / "PG_VERSION").write_text("16\n")
    with pytest.raises(Conflict, match="PostgreSQL 16") as refused:
        EmbeddedPostgres(directory, tmp_path / "log").prepare()
    assert "pg_dump" in refused.value.hint


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/element", "postgresql://host"])
def test_a_url_that_is_not_of_a_postgresql_database_is_invalid(url):
    with pytest.raises(Invalid) as refused:
        parse_url(url, "database_url")
    assert refused.value.field == "database_url"


def test_a_server_that_does_not_answer_is_unavailable_without_its_password():
    with pytest.raises(Unavailable) as refused:
        ensure_database("postgresql+psycopg://me:geheim@127.0.0.1:1/element", "element")
    assert "geheim" not in refused.value.message + refused.value.hint


def test_a_database_that_may_not_be_created_comes_with_the_statement_for_its_administrator(
    any_postgres,
):
    any_postgres.execute("DROP ROLE IF EXISTS humble")
    any_postgres.execute("CREATE ROLE humble LOGIN")
    url = any_postgres.url("postgres").replace("element@", "humble@")
    with pytest.raises(Unavailable) as refused:
        ensure_database(url, "wanted")
    assert 'CREATE DATABASE "wanted" OWNER "humble";' in refused.value.hint


# --------------------------------------------------------------------- a role for each service


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[EmbeddedPostgres]:
    """A server with the databases of two services, in a directory that accounts may pass."""
    directory = Path(tempfile.mkdtemp(prefix="element-pg-", dir="/tmp"))
    try:
        with running(directory, shared=True) as (server, _):
            directory.chmod(0o711)
            for name in ("element", "airflow"):
                server.ensure_own_database(name, f"{name}'s % pass/word")
            yield server
    finally:
        shutil.rmtree(directory)


def own(server: EmbeddedPostgres, database: str, driver: str = "psycopg") -> str:
    return server.url(database, driver, f"{database}'s % pass/word")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_service_owns_its_own_database(shared, driver):
    change(own(shared, "airflow", driver), "CREATE TABLE IF NOT EXISTS t ()")
    assert answer(own(shared, "airflow", driver), "SELECT current_user") == "airflow_service"
    superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    assert answer(own(shared, "airflow", driver), superuser) is False


@pytest.mark.parametrize("other", ["element", "postgres", "template1"])
def test_a_service_is_refused_every_other_database(shared, other):
    url = make_url(own(shared, "airflow")).set(database=other)
    with pytest.raises(OperationalError, match=r"no pg_hba.conf entry|permission denied"):
        answer(url.render_as_string(hide_password=False))


def test_a_role_is_not_taken_on_without_its_password(shared):
    for password in ("", "wrong", "element's % pass/word"):
        url = make_url(own(shared, "airflow")).set(password=password)
        with pytest.raises(OperationalError, match="password"):
            answer(url.render_as_string(hide_password=False))


def change(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


AS_ANOTHER = """
import os, sys
account, url = sys.argv[1:]
os.setgroups([]); os.setgid(int(account)); os.setuid(int(account))
import psycopg
from element_jupyter.adapters.postgres import connect_arguments
try:
    with psycopg.connect(**connect_arguments(url)) as connection:
        print(connection.execute("SELECT current_user").fetchone()[0])
except psycopg.OperationalError as error:
    print("refused", error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_an_account_reaches_the_server_with_a_password_and_not_as_superuser(shared):
    def as_another(url: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER, "64123", url],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        return done.stdout

    assert as_another(own(shared, "airflow")).strip() == "airflow_service"
    assert as_another(shared.url("element", "psycopg")).startswith("refused")


def test_what_is_from_before_there_were_roles_is_handed_over(tmp_path):
    with running(tmp_path / "data") as (server, _):
        server.ensure_database("airflow")
        change(
            server.url("airflow", "psycopg"),
            "CREATE TYPE mood AS ENUM ('well'); CREATE TABLE t (id serial PRIMARY KEY, m mood);"
            "CREATE VIEW v AS SELECT * FROM t; CREATE SEQUENCE s; INSERT INTO t (m) VALUES "
            "('well'); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        )
        for _ in range(2):  # as at every start
            server.ensure_own_database("airflow", "secret")
        url = server.url("airflow", "psycopg", "secret")
        change(
            url,
            "ALTER TABLE t ADD more int",
            "DROP VIEW v",
            "DROP SEQUENCE s",
            "DROP FUNCTION f()",
            "ALTER TYPE mood ADD VALUE 'ill'",
        )
        assert answer(url, "SELECT count(*) FROM t") == 1


def test_a_cluster_that_trusted_its_socket_asks_for_passwords_from_the_next_start(tmp_path):
    with running(tmp_path / "data") as (server, _):
        server.ensure_database("airflow")
    (tmp_path / "data" / "postgres" / "pg_hba.conf").write_text("local all all trust\n")
    with running(tmp_path / "data") as (server, _):
        server.ensure_own_database("airflow", "secret")
        with pytest.raises(OperationalError, match="password"):
            answer(server.url("airflow", "psycopg", "wrong"))
