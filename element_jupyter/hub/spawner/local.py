"""Servers as processes of this machine: as the person's account, inside their allowance.

The process enters its limits while it is still root, and is the person before anything of theirs
runs. It inherits no file, no variable and no terminal of the Hub; what it prints is in
`~/.local/state/element/`. Its end is seen at once, not at the Hub's next look.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen, SubprocessError
from typing import TYPE_CHECKING, Any, Final, Protocol

import psutil
from jupyterhub.spawner import SpawnException
from jupyterhub.utils import random_port
from traitlets import Float, default
from traitlets.config import LoggingConfigurable

from element_jupyter.core.confinement import (
    Account,
    Accounts,
    Allowance,
    Confinement,
    Limiter,
    Spent,
)
from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.provisioning import ProcessExit
from element_jupyter.core.sizes import Size
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.hub.spawner.enforcing import with_memory
from element_jupyter.hub.spawner.in_teams import LOOK_SECONDS, Rights, TeamPlaces, shared_by
from element_jupyter.hub.spawner.metering import Metered

_LOGS: Final = Path(".local/state/element")
_UMASK: Final = 0o022
_NEWS_SECONDS: Final = 2.0
"""How long the fork server's news of an end may take."""


class Forked(Protocol):
    """A process that a fork server has started, and watches."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> ProcessExit: ...


Fork = Callable[[Account, Sequence[str], Mapping[str, str], str], Awaitable[Forked]]
"""Forks a run's process: as whom, by which entrances, with which environment, and its log.

Raises `Unavailable` when there is no fork server.
"""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """How processes are started here; `fork` is for runs, whose command it knows."""

    accounts: Accounts
    limiter: Limiter
    fork: Fork | None = None
    processes: int = 4096
    """How many a server may have, threads included."""
    teams: TeamPlaces | None = None
    """Where there are directories of teams."""


if TYPE_CHECKING:
    from element_jupyter.hub.spawner.enforcing import EnforcingMixin as Beneath
else:
    Beneath = LoggingConfigurable  # what has traits must be made for it


class LocalMixin(Beneath):
    """Over `EnforcingMixin`, `LaunchMixin` and a `LocalProcessSpawner`."""

    machine: LocalMachine
    ip: str
    port: int
    pid: int
    proc: Popen[bytes] | None

    stop_run_seconds = Float(
        15.0,
        config=True,
        help="How long a server or run that is told to stop may take, until it is killed.",
    )

    _account: Account | None = None
    _rights: Rights | None = None
    _room: Confinement | None = None
    _exit: ProcessExit | None = None
    _ticks: int | None = None
    _forked: Forked | None = None
    _ending: asyncio.Task[None] | None = None
    _watching: asyncio.Task[None] | None = None
    _stage = ""

    @default("poll_interval")
    def _poll_interval(self) -> int:
        return LOOK_SECONDS

    @default("cmd")
    def _cmd(self) -> list[str]:
        return [sys.executable, "-P", "-m", "jupyterhub.singleuser"]

    # --------------------------------------------------------------------------------- starting

    def give(self, size: Size) -> None:
        super().give(size)
        gpus = self._free_gpus(size)
        self.held = self.given.model_copy(update={"gpus": gpus})
        _gpus_of[self._room_name] = gpus

    def _free_gpus(self, size: Size) -> tuple[str, ...]:
        if not size.gpu:
            return ()
        mine = self._room_name
        taken = {gpu for name, gpus in _gpus_of.items() if name != mine for gpu in gpus}
        free = [gpu for gpu in self.services.gpus if gpu not in taken]
        if len(free) < size.gpu:
            raise Unavailable(
                f"'{size.called}' needs {size.gpu} GPUs, and {len(free)} are free here.",
                "Choose a size without, or try again when somebody has stopped their server.",
            )
        return tuple(free[: size.gpu])

    async def start(self) -> Any:
        self._exit = self._account = self._forked = self._ending = self._watching = None
        self.proc = None
        return await super().start()

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        held = self.held
        # none is visible to who has been given none
        env["CUDA_VISIBLE_DEVICES"] = ",".join(held.gpus) if held is not None else ""
        return env

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        account = self._account
        if account is not None:
            env |= {
                "USER": account.name,
                "LOGNAME": account.name,
                "HOME": account.home,
                "SHELL": account.shell,
            }
        return env

    async def launch(self) -> tuple[str, int]:
        """Start the process, once it was decided that it may be.

        Raises:
            Forbidden: the person cannot have an account here.
            Unavailable: the system does not start it.
        """
        held = self.given
        self._stage = "Preparing the account"
        self._account = account = await asyncio.to_thread(
            self.machine.accounts.ensure, self.user.name
        )
        if (places := self.machine.teams) is not None:
            self._account = account = await asyncio.to_thread(
                places.enter, account, shared_by(self.user)
            )
            self._rights = Rights(places, self, account.uid)
            if (team := team_of_account(self.user.name)) is not None:
                self.notebook_dir = str(places.path_of(team))
        self._room = room = await asyncio.to_thread(
            self.machine.limiter.confine, self._room_name, self._allowance(held.size)
        )
        self._stage = "Starting the process"
        if not self.port:
            self.port = random_port()
        if held.run_id is None or not await self._forked_run(account, room):
            await self._execute(account, room)
        self._ticks = _started_ticks(self.pid)
        room.entered(self.pid)
        self._watch()
        self._end_the_wait_when_it_ends()
        self._stage = "Waiting until it answers"
        return (self.ip or "127.0.0.1", self.port)

    async def _forked_run(self, account: Account, room: Confinement) -> bool:
        if self.machine.fork is None:
            return False
        try:
            forked = await self.machine.fork(
                account, room.entrances, self.get_env(), self._log_file()
            )
        except Unavailable as error:
            self.log.warning("a run is executed, not forked: %s", error.message)
            return False
        self._forked = forked
        self.pid = forked.pid
        return True

    async def _execute(self, account: Account, room: Confinement) -> None:
        command = [*self.cmd, *self.get_args()]
        if command[0] == "python":
            command[:1] = [sys.executable, "-P"]
        become = _becomes(account, room.entrances, self._log_file())
        try:
            # which waits for the new process to have entered and executed
            self.proc = await asyncio.to_thread(_executed, command, self.get_env(), become)
        except PermissionError as error:
            raise Unavailable(
                f"The account {account.name} may not run {command[0]}.",
                "An administrator installs Element where every account can read it, not below "
                "/root.",
            ) from error
        except (OSError, SubprocessError) as error:
            raise Unavailable(f"No process could be started: {error}.") from error
        self.pid = self.proc.pid

    def _allowance(self, size: Size) -> Allowance:
        return Allowance(
            memory_bytes=size.memory_bytes, cpu=size.cpu, processes=self.machine.processes
        )

    def _log_file(self) -> str:
        name = self.name or "server"
        return str(Path(self._account.home if self._account else "~") / _LOGS / f"{name}.log")

    @property
    def _room_name(self) -> str:
        return f"{self.user.name}~{self.name}"

    async def stages(self) -> AsyncIterator[str]:
        said = ""
        while self.pending == "spawn":
            if self._stage != said:
                said = self._stage
                yield said
            await asyncio.sleep(0.1)

    # --------------------------------------------------------------------------------- watching

    def _watch(self) -> None:
        """Have the Hub look as soon as the process has ended."""
        self._watching = asyncio.ensure_future(self._watched())

    async def _watched(self) -> None:
        pid = self.pid
        self._ending = asyncio.ensure_future(self._learn_end())
        await asyncio.shield(self._ending)
        if self.pid not in {pid, 0}:
            return  # it was stopped, and another has begun
        if (held := self.held) is not None and held.run_id is not None:
            room = self._room or self.machine.limiter.find(self._room_name)
            spent = await asyncio.to_thread(room.spent) if room is not None else Spent()
            self.tell_end(held.run_id, with_memory(await self.how_it_ended(), spent))
        if not self.pending:
            await self.release()
            await self.poll_and_notify()

    async def _learn_end(self) -> None:
        if self._forked is not None:
            self._exit = await self._forked.wait()
        else:
            await _gone(self.pid)
            self._note_exit()

    def _note_exit(self) -> None:
        if self.proc is not None and (status := self.proc.poll()) is not None:
            self._exit = ProcessExit(code=status) if status >= 0 else ProcessExit(signal=-status)

    async def how_it_ended(self) -> ProcessExit:
        self._note_exit()
        if self._exit is None and self._ending is not None:
            await asyncio.wait({self._ending}, timeout=_NEWS_SECONDS)
        return self._exit or ProcessExit()

    def _end_the_wait_when_it_ends(self) -> None:
        """Have the Hub not wait for an answer of a process that has ended."""
        server = self.server
        wait_up = server.wait_up

        async def wait_up_or_end(*arguments: Any, **options: Any) -> Any:
            answering = asyncio.ensure_future(wait_up(*arguments, **options))
            ending = asyncio.ensure_future(_gone(self.pid))
            try:
                await asyncio.wait({answering, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    raise _ended_early(await self.how_it_ended(), self._log_file())
                return answering.result()
            finally:
                answering.cancel()
                ending.cancel()

        server.wait_up = wait_up_or_end

    async def poll(self) -> int | None:
        self._note_exit()
        if self.proc is None and self.pid and not self._is_ours():
            self.clear_state()
            return self._status
        status = await super().poll()
        if status is None and self._watching is None:  # after a restart of the Hub
            await self._take_up_again()
        if status is None:
            await self._follow_teams()
        return self._status if status == 0 else status

    async def _take_up_again(self) -> None:
        held = self.held
        self._room = room = await asyncio.to_thread(self.machine.limiter.find, self._room_name)
        if room is None and held is not None:
            # a watchdog has forgotten whom it watched
            self._room = room = await asyncio.to_thread(
                self.machine.limiter.confine, self._room_name, self._allowance(held.size)
            )
            room.entered(self.pid)
        self._watch()

    async def _follow_teams(self) -> None:
        if self._rights is None and self.machine.teams is not None:  # after a restart of the Hub
            with suppress(psutil.NoSuchProcess):
                uid = psutil.Process(self.pid).uids().real
                self._rights = Rights(self.machine.teams, self, uid)
        if self._rights is not None:
            await self._rights.follow()

    @property
    def _status(self) -> int:
        """The exit code, as a shell would tell it; 0 when nobody saw the end."""
        if self._exit is None:
            return 0
        return self._exit.code if self._exit.code is not None else -(self._exit.signal or 0)

    def _is_ours(self) -> bool:
        """Whether the process that was started still runs, and not another with its pid."""
        pid = self.pid
        ticks = _started_ticks(pid)
        return ticks is not None and self._ticks in {None, ticks}

    async def _signal(self, sig: int) -> bool:
        if self.proc is None and not self._is_ours():
            return False
        return bool(await super()._signal(sig))

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if "pid" in state and self._ticks is not None:
            state["started_ticks"] = self._ticks
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._ticks = state.get("started_ticks")
        held = self.held
        if held is not None and held.gpus:
            _gpus_of[self._room_name] = held.gpus

    # ----------------------------------------------------------------------------------- ending

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - the Hub's own
        if self.held is None or now:
            await super().stop(now)
            return
        # not by the Hub's SIGINT, which ends the loop of a Jupyter server and nothing else: kernels
        # and documents are left as they are, and threads that wait for the loop keep it for ever
        if await self.poll() is None:
            await self._signal(signal.SIGTERM)
            await self.wait_for_death(self.stop_run_seconds)
        if await self.poll() is None:
            await self._signal(signal.SIGKILL)
            await self.wait_for_death(5)
        await self.release()

    async def bar(self) -> None:
        await asyncio.to_thread(self.machine.accounts.lock, self.user.name)

    def metered(self) -> Metered | None:
        held = self.held
        if held is None or not self.pid:
            return None
        room = self._room or self.machine.limiter.find(self._room_name)
        return None if room is None else Metered(held.allocation_id, room, held.gpus)

    async def leave(self) -> Spent:
        room = self._room or self.machine.limiter.find(self._room_name)
        _gpus_of.pop(self._room_name, None)
        self._room = None
        if room is None:
            return Spent()
        try:
            return await asyncio.to_thread(room.end)
        except ElementError as error:
            self.log.warning("What a server left stays: %s", error.message)
            return room.spent()


_gpus_of: dict[str, tuple[str, ...]] = {}
"""The GPUs that are given out, by the server that has them."""


class LaunchMixin(Beneath):
    """What `EnforcingMixin` starts once it has decided; in place of the backend's own way."""

    async def start(self) -> Any:
        return await self.launch()


def _executed(
    command: Sequence[str], environment: Mapping[str, str], become: Callable[[], None]
) -> Popen[bytes]:
    return Popen(
        command,
        env=environment,
        preexec_fn=become,  # noqa: PLW1509
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
        close_fds=True,
    )


def _becomes(account: Account, entrances: Sequence[str], log: str) -> Callable[[], None]:
    """Return what a new process does before it executes: it enters, and is then the person.

    It runs in a copy of the Hub that other threads may have left locks in, so it only asks the
    system.
    """
    switch = os.geteuid() == 0

    def become() -> None:
        for entrance in entrances:
            opened = os.open(entrance, os.O_WRONLY)
            os.write(opened, b"0")
            os.close(opened)
        if switch:
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
        os.umask(_UMASK)
        os.chdir(account.home)
        # as the person, so that a link of theirs leads where they may write anyway
        with suppress(OSError):
            os.makedirs(os.path.dirname(log), 0o700, exist_ok=True)  # noqa: PTH103, PTH120
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            os.dup2(opened, 1)
            os.dup2(opened, 2)
            os.close(opened)

    return become


def _ended_early(how: ProcessExit, log: str) -> SpawnException:
    if how.signal is not None:
        said = f"was killed by signal {how.signal}"
    else:
        said = "ended" if how.code is None else f"ended with exit code {how.code}"
    return SpawnException(
        f"The server {said} before it answered. What it said is in {log}.",
        reason="element_ended",
        status_code=500,
    )


async def _gone(pid: int) -> None:
    """Return when a process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _started_ticks(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
