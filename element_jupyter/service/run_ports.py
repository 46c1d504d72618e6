"""What runs and fires need of the world: stores, streams, jobs, and their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from element_jupyter.core.access import Person
from element_jupyter.core.admission import Admitted, Created, Queue
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.fires import Known
from element_jupyter.core.jobs import StoredJob
from element_jupyter.core.progress import RunRecord, TokenRecord
from element_jupyter.core.quotas.allocations import Claim
from element_jupyter.core.quotas.checking import Refusal
from element_jupyter.core.resources.advice import Need
from element_jupyter.core.runs import Event, FireRecord, Run, RunRequest, RunState, Trigger


@dataclass(frozen=True)
class RunSettings:
    """The knobs of runs; their meaning is in `config.Element`."""

    directory: Path
    """Where each run has a directory of its own."""
    url: Callable[[], str]
    """Where the control plane answers, such as `http://127.0.0.1:8000/api/v1`."""
    capacity: int = 2
    lease_seconds: float = 30.0
    default_time_limit_seconds: int = 7200
    max_time_limit_seconds: int = 7 * 86400
    stop_grace_seconds: float = 10.0
    provision_seconds: float = 600.0
    """How long it may take to restore a snapshot and to start a process."""
    start_seconds: float = 60.0
    """How long a process may take until it is first heard of."""
    kill_after_seconds: float = 10.0
    """How long after its grace a run that was told to stop is killed."""
    overrun_seconds: float = 600.0
    """How long after its time limit a run is ended that has not ended by itself: a runner ends it,
    saves it and hands over what it left, unless the runner itself hangs."""
    blob_url: str | None = None
    """Where runners find locks."""
    data_directory: Path | None = None
    """Where runners read the settings of environments; None: they use the installed kernels."""
    tokens_expire: bool = False
    """Whether a run's token ends with its time limit, though the run may not have ended.

    For runners that this machine does not start. One of its own may be older than its limit, when
    the machine has slept.
    """

    @property
    def overrun(self) -> float | None:
        """How long a run may be over its limit; None where the time itself may have jumped."""
        return self.overrun_seconds if self.tokens_expire else None


class JobSource(Protocol):
    """Where jobs are kept."""

    def get(self, team: str, name: str, version: int | None = None) -> StoredJob | None:
        """Return a job as it is, or was in a version; None when there is none."""
        ...


class RunStore(Protocol):
    """The record of runs; every change is one transaction."""

    async def create(
        self,
        record: RunRecord,
        key: str | None,
        refusal: Callable[[Known], FireRecord | None],
    ) -> Created: ...
    async def change(
        self, run_id: str, change: Callable[[RunRecord], RunRecord]
    ) -> tuple[RunRecord, RunRecord]: ...
    async def candidates(self) -> list[Run]: ...
    async def admit(
        self, capacity: int, until: datetime, claims: Mapping[str, Claim] | None = None
    ) -> Admitted: ...
    async def renew(self, run_id: str, until: datetime, overrun: float | None = None) -> Run: ...
    async def renew_all(self, until: datetime) -> None: ...
    async def get(self, run_id: str) -> RunRecord | None: ...
    async def token(self, run_id: str) -> TokenRecord | None: ...
    async def executing(self) -> list[RunRecord]: ...
    async def expired(self, now: datetime) -> list[RunRecord]: ...
    async def next_deadline(self) -> datetime | None: ...
    async def page(
        self,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
        job: str | None = None,
        state: RunState | None = None,
        trigger: Trigger | None = None,
        logical_date: datetime | None = None,
        teams: frozenset[str] | None = None,
        owner: str | None = None,
    ) -> list[Run]: ...
    async def ended(self, owner: str, since: datetime, limit: int) -> list[Run]: ...
    async def queue(self) -> Queue: ...
    async def recorded(
        self, job: str, dag_run_id: str, tasks: Sequence[str]
    ) -> dict[str, dict[str, JsonValue] | None]: ...
    async def needs(
        self, *, job: str | None, task: str, notebook: str | None, owner: str | None, limit: int
    ) -> list[Need]: ...
    async def recent_states(
        self, jobs: Sequence[str], count: int = 5
    ) -> dict[str, list[RunState]]: ...
    async def counts(self) -> dict[RunState, int]: ...


class RunQuotas(Protocol):
    """What runs may have; see `service.quotas`."""

    async def check(self, run: Run) -> None:
        """Return unless a run never fits.

        Raises:
            Forbidden: it is larger than a limit.
        """
        ...

    async def claim(self, run: Run, at: datetime) -> Claim: ...
    def waits_for(self, refusal: Refusal) -> str: ...


class RunCheck(Protocol):
    """Says whether a run can work, before it is queued."""

    async def __call__(
        self, run: Run, request: RunRequest, who: Person, now: datetime, /
    ) -> Pin | None:
        """Return the environment of a run that its job does not pin, if it gets one."""
        ...


class FireStore(Protocol):
    """The ledger of due fires."""

    async def add(self, records: Sequence[FireRecord]) -> None: ...
    async def settle(self, record: FireRecord) -> bool: ...
    async def due(self) -> list[FireRecord]: ...
    async def last(self) -> dict[str, datetime]: ...
    async def page(self, job: str, before: datetime | None, limit: int) -> list[FireRecord]: ...
    async def begin_uptime(self, instance: str, now: datetime) -> datetime | None: ...
    async def seen(self, instance: str, now: datetime) -> None: ...


class Stream(Protocol):
    """One run's stream of events."""

    @property
    def last_id(self) -> int: ...
    @property
    def reported(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def over(self) -> bool: ...
    def report(self, events: Sequence[Event]) -> None: ...
    def add(self, event: Event) -> None: ...
    def announce(self) -> None: ...
    def read(self, after: int, limit: int = 1000) -> list[tuple[int, bytes]]: ...
    async def wait(self, after: int, timeout_seconds: float) -> bool: ...
    def compact(self, *, drop_large: bool) -> None: ...


class Streams(Protocol):
    """The streams of all runs."""

    def stream(self, run_id: str) -> Stream: ...
    def told(self, run_id: str, after: int) -> Iterator[list[Event]]: ...
