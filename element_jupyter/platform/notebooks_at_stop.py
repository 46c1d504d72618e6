"""The notebooks that run when the platform stops: told to stop, waited for, at last killed.

Their processes are in sessions of their own and outlive the platform; with `stop` none does. The
control plane stops them, so that the record says why; where it does not answer, the runners are
told directly, and the next control plane reads in their events what became of them.

With a Hub, a run is one of its servers, which the Hub alone tells of and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import TypeAdapter, ValidationError

from element_jupyter.adapters.hub.servers import HubServers
from element_jupyter.adapters.local_runs import kill, living
from element_jupyter.core.errors import ElementError
from element_jupyter.core.provisioning import ProcessRef
from element_jupyter.core.runs import RunId
from element_jupyter.platform.data import Data

_MARGIN_SECONDS: Final = 5.0
"""Beyond the grace of a stopped run, to write its notebook and to tell its end."""
_RECORD_SECONDS: Final = 3.0
"""How long the control plane has to write down that a run was killed."""
_LOOK_SECONDS: Final = 0.2
_RUN_ID: Final = TypeAdapter[str](RunId)


@dataclass(frozen=True)
class Waiting:
    """What a stop waits for."""

    notebooks: int
    at_most_seconds: float
    killed: bool = False


class Notebooks:
    """The runs of one data directory that have a process."""

    def __init__(
        self,
        data: Data,
        http: httpx.AsyncClient,
        service_url: str,
        wind_down: Callable[[], object],
        servers: HubServers | None = None,
    ) -> None:
        """Name the runs; `wind_down` has the control plane stop them, and admit no others.

        Where they are `servers` of a Hub, nothing else is looked at.
        """
        self._runs = data.root / "runs"
        self._token_file = data.token_file
        self._http = http
        self._url = f"{service_url}/api/v1/runs"
        self._wind_down = wind_down
        self._servers = servers
        self._asked: set[str] = set()

    async def count(self) -> int:
        """Return how many there are."""
        return len(await self._of_hub() if self._servers else await self._living())

    async def stop(
        self, grace_seconds: float, hurry: asyncio.Event, told: Callable[[Waiting], None]
    ) -> None:
        """End all; once `hurry` is set, or they had time enough, by killing them.

        `told` is called when what is waited for changes.
        """
        self._wind_down()
        until = time.monotonic() + grace_seconds + _MARGIN_SECONDS
        shown = 0
        while left := await self._left():
            late = hurry.is_set() or time.monotonic() > until
            if len(left) != shown or late:
                shown = len(left)
                told(Waiting(shown, max(0.0, until - time.monotonic()), late))
            if late:
                break
            await _pause(hurry)
        if left:
            await self.kill()
            await self._recorded()

    async def kill(self) -> None:
        """Kill every process of every run."""
        for run_id, process in (await self._living()).items():
            await asyncio.to_thread(kill, process, run_id)
        if self._servers is not None:
            stopping = [self._servers.stop(*server) for server in await self._of_hub()]
            await asyncio.gather(*stopping, return_exceptions=True)

    async def _living(self) -> Mapping[str, ProcessRef | None]:
        """Find those that are processes of this platform's own."""
        return {} if self._servers else await asyncio.to_thread(living, self._runs)

    async def _of_hub(self) -> set[tuple[str, str]]:
        """Name those that are servers of the Hub; none while it does not answer."""
        found: set[tuple[str, str]] = set()
        if self._servers is not None:
            with contextlib.suppress(ElementError):
                found = await self._servers.running()
        return {(person, name) for person, name in found if _is_run(name)}

    async def _left(self) -> set[str]:
        """Have each run asked once to stop; return those that go on."""
        executing = await self._executing()
        processes = await self._living()
        if executing is not None:
            if not executing <= self._asked:  # one more may have been admitted meanwhile
                self._asked |= executing
                self._wind_down()
            return executing | set(processes)
        for run_id, process in processes.items():
            if run_id not in self._asked and process is not None:
                self._asked.add(run_id)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
        return set(processes)

    async def _executing(self) -> set[str] | None:
        """Name the runs that start or run; None when the control plane does not answer."""
        found: set[str] = set()
        with contextlib.suppress(OSError, httpx.HTTPError):
            for state in ("starting", "running"):
                token = self._token_file.read_text().strip()
                answer = await self._http.get(
                    self._url,
                    params={"state": state, "limit": 200},
                    headers={"Authorization": f"Bearer {token}"},
                )
                answer.raise_for_status()
                found.update(str(run["run_id"]) for run in answer.json()["items"])
            return found
        return None

    async def _recorded(self) -> None:
        """Wait a moment until the record knows that nothing runs any more."""
        until = time.monotonic() + _RECORD_SECONDS
        while await self._executing() and time.monotonic() < until:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(_LOOK_SECONDS)


def _is_run(server: str) -> bool:
    try:
        _RUN_ID.validate_python(server)
    except ValidationError:
        return False
    return True


async def _pause(unless: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await unless.wait()
