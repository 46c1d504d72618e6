"""Runs as processes of this machine, in sessions of their own so that they outlive the service.

A run's process has `runner.log` of its directory as standard output, from its first moment on:
that is how a service that died between starting a process and writing down its pid finds it again.
What the run's kernel starts has `ELEMENT_RUN_ID` in its environment, and is found by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import psutil

from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from element_jupyter.core.provisioning import ProcessExit, ProcessRef
from element_jupyter.core.runs import Artifact, RunSpec

TARGET: Final = "element_jupyter.platform.runner:run_file"
RUN_ID_VARIABLE: Final = "ELEMENT_RUN_ID"
_RUN_ID: Final = re.compile(r"r-[a-z0-9]+").fullmatch
_LOG: Final = "runner.log"
_KILL_SECONDS: Final = 5.0


class _Started(Protocol):
    @property
    def pid(self) -> int: ...
    @property
    def started_ticks(self) -> int: ...


class _Exit(Protocol):
    @property
    def code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...


class Forked(Protocol):
    """A process that a fork server has started, and watches."""

    @property
    def process(self) -> _Started: ...
    async def wait(self) -> _Exit: ...
    def forget(self) -> None: ...


Fork = Callable[[str, Sequence[str], Path], Awaitable[Forked]]
"""Forks a process: target, its arguments, its log. Raises `Unavailable` when it cannot."""


class LocalRuns:
    """A `Provisioner` of local processes: forked where a fork server answers, else started anew."""

    def __init__(
        self,
        restore: Callable[[str, Path], object],
        environment: Mapping[str, str],
        fork: Fork | None = None,
    ) -> None:
        self._restore = restore
        self._environment = environment
        self._fork = fork
        self._forked: dict[ProcessRef, Forked] = {}
        self._children: set[int] = set()

    # ------------------------------------------------------------------------------- starting

    async def start(self, spec: RunSpec, directory: Path) -> ProcessRef:
        """Start the run's process in its directory, or find the one that was started there already.

        Raises:
            NotFound: the snapshot is not stored.
            Conflict: another service is starting this very run.
            Invalid: the snapshot has no such notebook.
            Unavailable: the machine starts no process.
        """
        with await _locked(directory):
            found = await asyncio.to_thread(self._prepare, spec, directory)
            return found or await self._spawn(str(directory / "run.json"), directory / _LOG)

    def _prepare(self, spec: RunSpec, directory: Path) -> ProcessRef | None:
        if (found := _started_in(directory)) is not None:
            return found
        project = Path(spec.project_directory)
        if spec.snapshot_id is not None and not project.exists():
            self._restore(spec.snapshot_id, project)
        if not (project / spec.notebook).is_file():
            raise Invalid(
                f"The snapshot has no notebook '{spec.notebook}'.",
                "Save the job again, or correct the path.",
                field="notebook",
            )
        _write_private(directory / "run.json", spec.model_dump_json(indent=2))
        return None

    async def _spawn(self, path: str, log: Path) -> ProcessRef:
        if self._fork is not None:
            with contextlib.suppress(Unavailable):
                forked = await self._fork(TARGET, [path], log)
                process = ProcessRef(
                    pid=forked.process.pid, started_ticks=forked.process.started_ticks
                )
                self._forked[process] = forked
                return process
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        command = [sys.executable, "-m", "element_jupyter.runner", path]
        try:
            pid = os.posix_spawn(  # noqa: ASYNC221 - returns at once
                command[0], command, self._environment, file_actions=actions, setsid=True
            )
        except OSError as error:
            raise Unavailable(f"No process could be started: {error.strerror}.") from error
        self._children.add(pid)
        return ProcessRef(pid=pid, started_ticks=_ticks(pid) or 0)

    # ------------------------------------------------------------------------------- watching

    def alive(self, process: ProcessRef) -> bool:
        return _is_alive(process)

    async def wait(self, process: ProcessRef) -> ProcessExit:
        if (forked := self._forked.get(process)) is not None:
            told = await forked.wait()
            self._forked.pop(process, None)
            return ProcessExit(code=told.code, signal=told.signal)
        await _gone(process, own=process.pid in self._children)
        if process.pid not in self._children:
            return ProcessExit()
        self._children.discard(process.pid)
        _, status = os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it has ended
        code = os.waitstatus_to_exitcode(status)
        return ProcessExit(code=code) if code >= 0 else ProcessExit(signal=-code)

    def close(self) -> None:
        """Stop watching; the processes go on."""
        for forked in self._forked.values():
            forked.forget()
        self._forked.clear()

    # --------------------------------------------------------------------------------- ending

    def stop(self, process: ProcessRef) -> bool:
        if not _is_alive(process):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
            return True
        return False

    def kill(self, process: ProcessRef | None, run_id: str) -> None:
        kill(process, run_id)

    # ------------------------------------------------------------------------------ afterwards

    def artifacts(self, directory: Path) -> tuple[Artifact, ...]:
        root = directory / "artifacts"
        found = []
        for parent, _, names in os.walk(root):
            for path in (Path(parent, name) for name in names):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    name = path.relative_to(root).as_posix()
                    found.append(Artifact(path=name, size_bytes=status.st_size))
        return tuple(sorted(found, key=lambda artifact: artifact.path))

    async def clean(self, directory: Path) -> None:
        (directory / "start.lock").unlink(missing_ok=True)
        if (directory / "project").exists():
            await asyncio.to_thread(remove_tree, directory / "project")


# ----------------------------------------------------------------------------- what runs, and ends


def living(runs: Path) -> dict[str, ProcessRef | None]:
    """Find the runs of a directory of runs that have a process; None where its runner is gone."""
    found: dict[str, ProcessRef | None] = {}
    root = runs.resolve()
    for pid in _pids():
        fields = _stat(pid)
        if not fields or fields[0] in "ZX":
            continue
        with contextlib.suppress(OSError):
            log = Path(f"/proc/{pid}/fd/1").readlink()
            if log.name == _LOG and log.parent.parent == root and int(fields[3]) == pid:
                found[log.parent.name] = ProcessRef(pid=pid, started_ticks=int(fields[19]))
                continue
        with contextlib.suppress(OSError):
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                name, _, run_id = os.fsdecode(variable).partition("=")
                if name == RUN_ID_VARIABLE and _RUN_ID(run_id) and (root / run_id).is_dir():
                    found.setdefault(run_id, None)
    return found


def kill(process: ProcessRef | None, run_id: str) -> None:
    """End the process, its group, and everything else that the run started.

    Looks again until nothing is left, since what is being killed may fork meanwhile.
    """
    until = time.monotonic() + _KILL_SECONDS
    while (alive := _members(process, run_id)) and time.monotonic() < until:
        # the leader first: it must not tell of its kernel's death as an outcome
        leader = process.pid if process is not None else 0
        for pid in sorted(alive, key=lambda pid: pid != leader):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


# ------------------------------------------------------------------------------------- processes


def _ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; a zombie has a start too."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name: state, parent, group, session…."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def _is_alive(process: ProcessRef) -> bool:
    fields = _stat(process.pid)
    return bool(fields) and fields[0] not in "ZX" and int(fields[19]) == process.started_ticks


async def _gone(process: ProcessRef, *, own: bool) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        if own or _is_alive(process):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - much faster


def _started_in(directory: Path) -> ProcessRef | None:
    """Find the session leader that writes the directory's log."""
    log = str((directory / _LOG).resolve())
    if not (directory / _LOG).exists():
        return None
    for pid in _pids():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/1") == log:  # noqa: PTH115 - not resolved further
                fields = _stat(pid)
                if fields and fields[0] not in "ZX" and int(fields[3]) == pid:
                    return ProcessRef(pid=pid, started_ticks=int(fields[19]))
    return None


def _members(process: ProcessRef | None, run_id: str) -> set[int]:
    """Find the processes of a run: its leader, the leader's session and children, its kernel's."""
    found: set[int] = set()
    if process is not None and _is_alive(process):
        found.add(process.pid)
        with contextlib.suppress(psutil.Error):
            found |= {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    mark = f"{RUN_ID_VARIABLE}={run_id}".encode()
    for pid in _pids():
        fields = _stat(pid)
        if not fields or fields[0] in "ZX":
            continue
        if process is not None and int(fields[3]) == process.pid and pid != process.pid:
            found.add(pid)
            continue
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return {pid for pid in found if (fields := _stat(pid)) and fields[0] not in "ZX"}


# ----------------------------------------------------------------------------------------- files


async def _locked(directory: Path) -> BinaryIO:
    opening = asyncio.ensure_future(asyncio.to_thread(_lock, directory))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_let_go)  # the thread goes on, and nobody else would
        raise


def _let_go(opened: asyncio.Future[BinaryIO]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()


def _lock(directory: Path) -> BinaryIO:
    """Hold the right to start a run; it ends with the file, and with this process."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (directory / "start.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Conflict("Another service is starting this run.") from None
    return file


def _write_private(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def remove_tree(directory: Path) -> None:
    """Remove a directory in which a notebook was executed."""
    # a notebook may have taken its own directories' permissions away
    directory.chmod(0o700)
    for parent, names, _ in os.walk(directory):
        for name in names:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(0o700)
    shutil.rmtree(directory)
