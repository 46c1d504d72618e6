"""Runs as servers of the Hub, beside each person's editor: as their owner, at their size.

The control plane asks the Hub for a named server and gives a ticket along, worth one start. The
Hub's spawner takes the ticket to the control plane, gets what the run's process needs, and tells
how that process ended. What the Hub stores of a server's options is therefore worth nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from element_jupyter.adapters.hub.servers import HubSilent
from element_jupyter.core.errors import ElementError, Forbidden, Unavailable
from element_jupyter.core.provisioning import Launch, ProcessExit, ProcessRef
from element_jupyter.core.runs import Artifact, RunSpec

log = logging.getLogger(__name__)

COMMAND: Final = ("python", "-m", "element_jupyter.runner", "--remote")
_LOOK_SECONDS: Final = 10.0
"""How often the Hub is asked about a server of whose end it has not told."""
_FIRST_LOOK_SECONDS: Final = 0.5
_TRIES: Final = 8
"""Of a question to a Hub that is away, with pauses that double: two minutes."""
_REMEMBERED: Final = 10_000
"""How many servers are known to have ended."""


class Servers(Protocol):
    """The Hub's servers; see `adapters.hub.servers`."""

    async def start(self, person: str, server: str, options: dict[str, Any]) -> bool: ...
    async def look(self, person: str, server: str) -> dict[str, Any] | None: ...
    async def stop(self, person: str, server: str) -> None: ...


class Files(Protocol):
    """What a run has left at the control plane; see `adapters.local_runs`."""

    def artifacts(self, directory: Path) -> tuple[Artifact, ...]: ...
    async def clean(self, directory: Path) -> None: ...


@dataclass
class _Waiting:
    """A run whose server has been asked for."""

    ticket_sha256: bytes
    launch: Launch
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class HubRuns:
    """A `Provisioner` of the Hub's servers; also what redeems their tickets."""

    def __init__(self, servers: Servers, files: Files, default_size: Callable[[], str]) -> None:
        self._servers = servers
        self._files = files
        self._default_size = default_size
        self._waiting: dict[str, _Waiting] = {}
        self._ends: dict[str, asyncio.Future[ProcessExit]] = {}
        self._gone: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------------------- starting

    async def start(self, spec: RunSpec, directory: Path) -> ProcessRef:
        """Start the run's server, or find the one that was started already.

        Raises:
            Forbidden, OverQuota, Invalid, NotFound: the Hub refuses, with its sentence.
            Unavailable: the Hub could not start it.
        """
        name = f"{spec.owner}/{spec.run_id}"
        self._end_of(name)
        if await self._asked("look for it", lambda: self._servers.look(spec.owner, spec.run_id)):
            return ProcessRef(server=name)
        ticket = secrets.token_urlsafe(32)
        token = await asyncio.to_thread(Path(spec.token_file or "").read_text)
        waiting = self._waiting[spec.run_id] = _Waiting(
            _digest(ticket),
            Launch(
                owner=spec.owner,
                team=spec.team,
                size=spec.size or self._default_size(),
                environment={
                    "ELEMENT_RUN_URL": spec.report_url or "",
                    "ELEMENT_RUN_TOKEN": token.strip(),
                },
                command=COMMAND,
            ),
        )
        options = {"run": spec.run_id, "ticket": ticket, "team": spec.team}
        if spec.size is not None:
            options["size"] = spec.size
        try:
            await self._begun(spec, options, waiting)
        finally:
            self._waiting.pop(spec.run_id, None)
        return ProcessRef(server=name)

    async def _begun(self, spec: RunSpec, options: dict[str, Any], waiting: _Waiting) -> None:
        """Return once the ticket has been taken: then the process is there, or was."""
        asked = asyncio.create_task(
            self._asked("start it", lambda: self._servers.start(spec.owner, spec.run_id, options))
        )
        taken = asyncio.create_task(waiting.taken.wait())
        try:
            await asyncio.wait({asked, taken}, return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                asked.result()
                await self._until_taken(spec, waiting)
            elif not asked.done():
                # the Hub answers when it has seen the server, which a run does not wait for
                self._later(asked)
        finally:
            taken.cancel()

    async def _until_taken(self, spec: RunSpec, waiting: _Waiting) -> None:
        while not waiting.taken.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                    await waiting.taken.wait()
                    return
            if await self._servers.look(spec.owner, spec.run_id) is None:
                raise Unavailable(
                    "The Hub did not start the run's server.", "See the Hub's log for the reason."
                )

    async def _asked(self, what: str, question: Callable[[], Awaitable[Any]]) -> Any:
        """Ask the Hub, again while it is away: it will be started again, and its runs go on."""
        pause_seconds = _FIRST_LOOK_SECONDS
        for _ in range(_TRIES):
            try:
                return await question()
            except HubSilent:
                log.warning("the Hub was asked to %s and does not answer", what)
                await asyncio.sleep(pause_seconds)
                pause_seconds *= 2
        return await question()

    # ---------------------------------------------------------------------------- the Hub's part

    async def redeem(self, run_id: str, ticket: str, person: str) -> Launch:
        """Take a ticket, which is worth nothing from then on.

        Raises:
            Forbidden: it is none of this run, is used up, or the run is not this person's.
        """
        waiting = self._waiting.get(run_id)
        fits = waiting is not None and hmac.compare_digest(waiting.ticket_sha256, _digest(ticket))
        if waiting is None or not fits or waiting.launch.owner != person or waiting.taken.is_set():
            raise Forbidden("This run does not wait to be started with that ticket.")
        waiting.taken.set()
        return waiting.launch

    async def ended(self, run_id: str, owner: str, how: ProcessExit) -> None:
        """Be told how the process of a run ended."""
        end = self._end_of(f"{owner}/{run_id}")
        if not end.done():
            end.set_result(how)

    # ------------------------------------------------------------------------------- watching

    def alive(self, process: ProcessRef) -> bool:
        return process.server not in self._gone

    async def wait(self, process: ProcessRef) -> ProcessExit:
        person, server = _parts(process)
        end = self._end_of(f"{person}/{server}")
        while not end.done():
            await asyncio.wait({end}, timeout=_LOOK_SECONDS)
            if end.done():
                break
            with suppress(ElementError):
                if await self._servers.look(person, server) is None:
                    # it may have ended while nobody listened
                    end.set_result(ProcessExit())
        self._gone[f"{person}/{server}"] = None
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self._later(self._forget(person, server))
        return end.result()

    def close(self) -> None:
        """Stop watching; the servers go on."""
        for task in self._tasks:
            task.cancel()

    # --------------------------------------------------------------------------------- ending

    def stop(self, process: ProcessRef) -> bool:
        if not self.alive(process):
            return False
        self._later(self._stop(*_parts(process)))
        return True

    def kill(self, process: ProcessRef | None, run_id: str) -> None:
        """End the server; called from a thread."""
        if process is None or process.server is None or not self.alive(process):
            return
        stopping = asyncio.run_coroutine_threadsafe(self._stop(*_parts(process)), self._loop)
        stopping.result()

    async def _stop(self, person: str, server: str) -> None:
        await self._asked("stop it", lambda: self._servers.stop(person, server))

    async def _forget(self, person: str, server: str) -> None:
        """Have the Hub forget a server that has ended, or its list would grow for ever."""
        try:
            await self._stop(person, server)
        except ElementError as error:
            log.warning("the Hub still lists %s/%s: %s", person, server, error.message)
        self._ends.pop(f"{person}/{server}", None)

    # ------------------------------------------------------------------------------ afterwards

    def artifacts(self, directory: Path) -> tuple[Artifact, ...]:
        return self._files.artifacts(directory)

    async def clean(self, directory: Path) -> None:
        await self._files.clean(directory)

    def _end_of(self, name: str) -> asyncio.Future[ProcessExit]:
        return self._ends.setdefault(name, self._loop.create_future())

    def _later(self, work: Awaitable[Any]) -> None:
        task = self._loop.create_task(_told(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _told(work: Awaitable[Any]) -> None:
    try:
        await work
    except ElementError as error:
        log.warning("%s", error.message)


def _parts(process: ProcessRef) -> tuple[str, str]:
    person, _, server = (process.server or "").partition("/")
    return person, server


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
