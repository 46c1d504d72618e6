"""Runs: one execution of one notebook, its states, and the events it tells.

    queued ──► starting ──► running ──► succeeded | failed | stopped
       │           │            └─────► lost        (no heartbeat within the lease)
       └───────────┴──────────────────► stopped | failed | lost

A run that ended never changes state again. An idempotency key names one run for ever: posting it
again answers the same run.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, TypeAdapter

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.jobs import NotebookPath, Parameters
from element_jupyter.core.team_servers import account_of
from element_jupyter.core.values import Digest, Name, UtcTime, Value

RunId = Annotated[str, StringConstraints(pattern=r"^r-[0-9a-z]{26}$")]
"""`r-` and a ULID in lower case: sorts by creation time, safe as a path segment."""


class RunState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED, RunState.LOST})

NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.STARTING, *_ENDED} - {RunState.SUCCEEDED}),
    RunState.STARTING: frozenset({RunState.RUNNING, *_ENDED}),
    RunState.RUNNING: _ENDED,
    **{state: frozenset() for state in _ENDED},
}


PLATFORM_STOPPED = "Element was stopped."
"""The reason of runs that ended with the platform: nobody asked for it, so they may be retried."""


class Trigger(StrEnum):
    """Who asked for the run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    BACKFILL = "backfill"
    ASSET = "asset"
    API = "api"


class FailingCell(Value):
    """Where and how a notebook failed; `traceback` has no terminal colours."""

    index: int
    cell_id: str = ""
    first_line: str = ""
    ename: str
    evalue: str = ""
    traceback: str = ""


class Artifact(Value):
    """A file that a run left in its output directory."""

    path: str
    size_bytes: int


class RunRequest(Value):
    """The body of `POST /runs`: a task of a job, or a notebook of a snapshot.

    With `job` (`team/name`) and `task`, everything not given here comes from the job's `version`
    (default: the current one). Without `job`, `notebook` and `snapshot_id` are required.
    """

    job: Annotated[str, StringConstraints(max_length=130)] | None = None
    task: Name = "main"
    version: Annotated[int, Field(ge=1)] | None = None
    notebook: NotebookPath | None = None
    snapshot_id: Digest | None = None
    team: Name | None = None
    parameters: Parameters = Field(default_factory=dict)
    allow_extra_parameters: bool | None = None
    kernel: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    environment: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """A pointer, taken from the project's top, instead of what is found beside the notebook."""
    size: Name | None = None
    time_limit_seconds: Annotated[int, Field(ge=1)] | None = None
    cell_time_limit_seconds: Annotated[int, Field(ge=1)] | None = None
    trigger: Trigger = Trigger.API
    logical_date: UtcTime | None = None
    due_at: UtcTime | None = None
    """The instant of the schedule's fire; only then does the catch-up policy apply."""
    dag_run_id: Annotated[str, StringConstraints(max_length=250)] | None = None
    attempt: Annotated[int, Field(ge=1, le=1000)] = 1
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None


class Run(Value):
    """One run as the record knows it."""

    run_id: RunId
    state: RunState
    reason: str = ""
    """One sentence: why it waits, failed, stopped or was lost."""
    job: str | None = None
    job_version: int | None = None
    task: str = "main"
    team: str
    owner: str
    as_team: bool = False
    """It executes as the account of the team, not as the owner's."""
    notebook: str
    snapshot_id: Digest
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    allow_extra_parameters: bool = False
    kernel: str | None = None
    environment: str | None = None
    """The pointer that it was asked with, or its job has."""
    environment_id: str | None = None
    """None where the kernel is one that is installed here."""
    lock_id: Digest | None = None
    definition: str | None = None
    """What people call the definition that the environment was locked from."""
    python: str | None = None
    """Full version of the environment's Python."""
    size: str | None = None
    time_limit_seconds: int
    cell_time_limit_seconds: int | None = None
    trigger: Trigger
    logical_date: UtcTime | None = None
    dag_run_id: str | None = None
    attempt: int = 1
    created_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    stop_requested_at: UtcTime | None = None
    queue_position: int | None = None
    """1 is next; only while queued."""
    cells_done: int = 0
    cells_total: int | None = None
    failing_cell: FailingCell | None = None
    recorded: dict[str, JsonValue] = Field(default_factory=dict)
    """What the notebook recorded with `element_jupyter.record(name=value)`."""
    artifacts: tuple[Artifact, ...] = ()
    output_path: str | None = None
    """The executed notebook, once one was written; absolute."""
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    gpu_seconds: float | None = None
    """How long GPUs computed while it held memory on them; None where there is no GPU."""
    peak_gpu_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """What it was allowed to use, where that is known."""
    out_of_memory: bool = False
    """Whether it failed because a process of it was killed for want of memory."""

    @property
    def account(self) -> str:
        """As whom it executes."""
        return account_of(self.team) if self.as_team else self.owner


class RunSpec(Value):
    """Everything that a runner is told: `run.json`, or `GET /runs/{id}/spec`. No secrets in it.

    What a runner is told by REST names no path of the control plane: its directories are relative,
    and below one that the runner chooses.
    """

    run_id: str
    owner: str = ""
    """As whom it runs."""
    team: str = ""
    size: str | None = None
    notebook: str
    """Path of the notebook inside `project_directory`."""
    project_directory: str
    """The restored snapshot; the kernel starts in the notebook's directory inside it."""
    output_directory: str
    """Gets `output.ipynb`, `events.jsonl` and `artifacts/`."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    allow_extra_parameters: bool = False
    kernel: str | None = None
    time_limit_seconds: float | None = None
    cell_time_limit_seconds: float | None = None
    stop_grace_seconds: float = 10.0
    snapshot_id: Digest | None = None
    blob_url: str | None = None
    """Where to restore the snapshot from, when `project_directory` is not there yet.

    Locks are there, too.
    """
    report_url: str | None = None
    """The run's URL at the control plane: events go to `/events`, heartbeats to `/heartbeat`."""
    token_file: str | None = None
    """File (0600) with the token that may report this run and nothing else."""
    heartbeat_seconds: float = 5.0
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables added for the kernel."""
    data_directory: str | None = None
    """Where Element's settings are read; None: the kernels that are installed here are used."""
    environment_id: str | None = None
    """What the run is pinned to, with the three below; None: it is found in the project."""
    lock_id: Digest | None = None
    definition: str = ""
    python: str = ""
    environment_pointer: str | None = None
    """What to take instead of what is found beside the notebook, when there is no pin."""

    @property
    def pin(self) -> Pin | None:
        if self.environment_id is None or self.lock_id is None:
            return None
        return Pin(
            environment_id=self.environment_id,
            lock_id=self.lock_id,
            definition=self.definition,
            python=self.python,
        )


# ---------------------------------------------------------------------------------------- events


class _Event(Value):
    sequence: int = 0
    """1, 2, 3 … without gaps, per writer.

    The runner numbers what it tells. The control plane drops what it has already (by that number),
    adds events of its own, and numbers its stream anew: that number is the id of the server-sent
    event.
    """
    at: UtcTime


class RunStarted(_Event):
    kind: Literal["run_started"] = "run_started"
    run_id: str
    cells_total: int
    kernel: str
    pid: int
    pin: Pin | None = None
    """The environment that the kernel has."""


class CellStarted(_Event):
    kind: Literal["cell_started"] = "cell_started"
    index: int
    cell_id: str = ""
    first_line: str = ""


class Output(_Event):
    """One output as it came (nbformat 4.5 JSON), or what a later message did to an earlier one."""

    kind: Literal["output"] = "output"
    index: int
    cell_id: str = ""
    output: dict[str, JsonValue]
    """nbformat 4.5 JSON; `output_type` may be clear_output and update_display_data, too."""
    truncated: bool = False
    """Larger than the live limit: the whole is in the executed notebook."""


class CellFinished(_Event):
    kind: Literal["cell_finished"] = "cell_finished"
    index: int
    cell_id: str = ""
    ok: bool
    duration_seconds: float
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    gpu_seconds: float | None = None
    peak_gpu_memory_bytes: int | None = None


class Usage(_Event):
    """What the kernel and all it started used since the last of these."""

    kind: Literal["usage"] = "usage"
    index: int | None = None
    """The cell that is being executed; None before the first."""
    cpu_cores: float
    """The average."""
    memory_bytes: int
    """The highest that was seen."""
    gpu_memory_bytes: int | None = None


RECORD_TYPES = (
    "application/vnd.element.record+json",
    "application/scrapbook.scrap.json+json",
)
"""Media types of a display that records values: `record()`'s, and scrapbook's."""


class Recorded(_Event):
    kind: Literal["recorded"] = "recorded"
    name: str
    value: JsonValue


class NotebookSaved(_Event):
    kind: Literal["notebook_saved"] = "notebook_saved"
    path: str
    size_bytes: int


class Note(_Event):
    """A sentence for the log: what the platform did or noticed."""

    kind: Literal["note"] = "note"
    level: Literal["info", "warning"] = "info"
    message: str


class StateChanged(_Event):
    """Told by the control plane, not by the runner: queued, starting, stopping, lost."""

    kind: Literal["state_changed"] = "state_changed"
    state: RunState
    reason: str = ""
    queue_position: int | None = None


class RunFinished(_Event):
    kind: Literal["run_finished"] = "run_finished"
    state: RunState
    reason: str = ""
    failing_cell: FailingCell | None = None
    duration_seconds: float
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    gpu_seconds: float | None = None
    peak_gpu_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    out_of_memory: bool = False
    output_path: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    recorded: dict[str, JsonValue] = Field(default_factory=dict)


Event = Annotated[
    RunStarted
    | CellStarted
    | Output
    | CellFinished
    | Usage
    | Recorded
    | NotebookSaved
    | Note
    | StateChanged
    | RunFinished,
    Field(discriminator="kind"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


# ---------------------------------------------------------------------- the ledger of due fires


class FireState(StrEnum):
    """What became of a fire that came due."""

    DUE = "due"
    RAN = "ran"
    SKIPPED = "skipped"
    MISSED = "missed"


class FireRecord(Value):
    """One due fire of a job: exactly one row, whatever happened."""

    job: str
    at: UtcTime
    state: FireState
    reason: str = ""
    run_ids: tuple[str, ...] = ()
