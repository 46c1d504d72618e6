"""The tables of the control plane, as migrations leave them.

Rows that change with every heartbeat are narrow; what may be large (parameters, tracebacks,
recorded values) lies beside them. Documents are `json`, not `jsonb`: they are read back as they
were written, and may hold an escaped NUL, which `jsonb` refuses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    column,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.policies import Origin
from element_jupyter.core.quotas.requests import RequestState
from element_jupyter.core.runs import FireState, RunState
from element_jupyter.core.storage import Place

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

_TIME: Final = DateTime(timezone=True)


def _one_of(name: str, states: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(column(name).in_([state.value for state in states]), name=name)


runs: Final = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("job", Text),
    Column("job_version", Integer),
    Column("task", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("as_team", Boolean, nullable=False, server_default=false()),
    Column("notebook", Text, nullable=False),
    Column("snapshot_id", Text, nullable=False),
    Column("allow_extra_parameters", Boolean, nullable=False),
    Column("kernel", Text),
    Column("environment_id", Text),
    Column("environment", Text),
    Column("lock_id", Text),
    Column("definition", Text),
    Column("python", Text),
    Column("size", Text),
    Column("time_limit_seconds", Integer, nullable=False),
    Column("cell_time_limit_seconds", Integer),
    Column("trigger", Text, nullable=False),
    Column("logical_date", _TIME),
    Column("due_at", _TIME),
    Column("dag_run_id", Text),
    Column("attempt", Integer, nullable=False),
    Column("max_active", Integer),
    Column("created_at", _TIME, nullable=False),
    Column("started_at", _TIME),
    Column("finished_at", _TIME),
    Column("stop_requested_at", _TIME),
    Column("lease_until", _TIME),
    Column("token_sha256", Text),
    Column("process_pid", Integer),
    Column("process_started_ticks", BigInteger),
    Column("process_server", Text),
    Column("reported", BigInteger, nullable=False),
    Column("cells_done", Integer, nullable=False),
    Column("cells_total", Integer),
    Column("output_path", Text),
    Column("cpu_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    Column("gpu_seconds", Double),
    Column("peak_gpu_memory_bytes", BigInteger),
    Column("memory_limit_bytes", BigInteger),
    Column("out_of_memory", Boolean, nullable=False, server_default=false()),
    _one_of("state", RunState),
)

live: Final = runs.c.state.in_(["queued", "starting", "running"])
executing: Final = runs.c.state.in_(["starting", "running"])
group: Final = func.coalesce(runs.c.dag_run_id, runs.c.run_id)
"""What of its job a run belongs to: all tasks of a DAG run are one activity."""

Index("runs_newest", runs.c.created_at, runs.c.run_id)
Index("runs_of_job", runs.c.job, runs.c.created_at, runs.c.run_id)
Index("runs_of_team", runs.c.team, runs.c.created_at, runs.c.run_id)
Index("runs_of_owner", runs.c.owner, runs.c.finished_at)
Index("runs_of_snapshot", runs.c.snapshot_id, runs.c.team)
Index("runs_in_state", runs.c.state, runs.c.created_at, runs.c.run_id)
Index("runs_of_date", runs.c.logical_date, runs.c.created_at, runs.c.run_id)
Index("runs_of_dag_run", runs.c.dag_run_id, runs.c.job, runs.c.task)
Index(
    "runs_of_notebook",
    runs.c.notebook,
    runs.c.owner,
    runs.c.created_at,
    postgresql_where=runs.c.job.is_(None),
)
Index("runs_alive", runs.c.created_at, runs.c.run_id, postgresql_where=live)
Index(
    "runs_one_alive",
    runs.c.job,
    runs.c.dag_run_id,
    runs.c.task,
    unique=True,
    postgresql_where=live & runs.c.stop_requested_at.is_(None),
)

run_documents: Final = Table(
    "run_documents",
    metadata,
    Column("run_id", ForeignKey(runs.c.run_id, ondelete="CASCADE"), primary_key=True),
    Column("parameters", JSON, nullable=False),
    Column("recorded", JSON, nullable=False),
    Column("artifacts", JSON, nullable=False),
    Column("failing_cell", JSON(none_as_null=True)),
)

run_keys: Final = Table(
    "run_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("run_id", ForeignKey(runs.c.run_id, ondelete="CASCADE"), nullable=False),
)
"""Idempotency keys; a run that was taken over by a later try has several."""

Index("run_keys_of_run", run_keys.c.run_id)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("person", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("at", _TIME, nullable=False),
)
"""Who has sent which blob, and when that was last asked for."""

Index("uploads_oldest", uploads.c.at)

fires: Final = Table(
    "fires",
    metadata,
    Column("job", Text, primary_key=True),
    Column("at", _TIME, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_ids", ARRAY(Text), nullable=False),
    _one_of("state", FireState),
)

Index("fires_due", fires.c.at, postgresql_where=fires.c.state == "due")

uptimes: Final = Table(
    "uptimes",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("started_at", _TIME, nullable=False),
    Column("seen_at", _TIME, nullable=False),
)
"""When a control plane watched the schedules: one row per process."""

Index("uptimes_seen", uptimes.c.seen_at)

audit: Final = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("act_id", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("origin", Text, nullable=False),
    Column("as_admin", Boolean, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
"""The chain of what was done; a trigger of the database refuses to change or remove a row."""

Index("audit_acts", audit.c.act_id, unique=True)
Index("audit_of_actor", audit.c.actor, audit.c.sequence)
Index("audit_of_subject", audit.c.subject, audit.c.sequence)

allocations: Final = Table(
    "allocations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("run_id", Text),
    Column("job", Text),
    Column("notebook", Text),
    Column("team", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("cpu", Double, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("gpu", Integer, nullable=False),
    Column("price_per_hour", Numeric(12, 6)),
    Column("begun_at", _TIME, nullable=False),
    Column("ended_at", _TIME),
    Column("ended_how", Text, nullable=False),
    Column("cpu_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    Column("gpu_seconds", Double),
    _one_of("kind", AllocationKind),
    CheckConstraint("ended_at >= begun_at", name="time"),
)
"""What was given to whom; a row is added, and closed once, and nothing else of it changes."""

_open: Final = allocations.c.ended_at.is_(None)
Index("allocations_open", allocations.c.person, allocations.c.server, postgresql_where=_open)
Index("allocations_open_of_team", allocations.c.team, postgresql_where=_open)
Index("allocations_of_person", allocations.c.person, allocations.c.ended_at)
Index("allocations_of_team", allocations.c.team, allocations.c.ended_at)
Index("allocations_newest", allocations.c.begun_at, allocations.c.id)

notices: Final = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("deadline", _TIME),
    Column("keep_seconds", Integer),
    Column("keep_limit", _TIME),
    Column("kept_until", _TIME),
    Column("over_at", _TIME),
)
"""What people are told."""

Index("notices_of_person", notices.c.person, postgresql_where=notices.c.over_at.is_(None))
Index("notices_about", notices.c.about)

activity: Final = Table(
    "activity",
    metadata,
    Column("allocation_id", Text, primary_key=True),
    Column("reported_at", _TIME),
    Column("active_at", _TIME, nullable=False),
    Column("working", Boolean, nullable=False),
    Column("busy", Boolean, nullable=False),
    Column("connections", Integer, nullable=False),
    Column("gpu_active_at", _TIME),
    Column("kept_until", _TIME),
    Column("warned_at", _TIME),
    Column("deadline", _TIME),
    Column("ending", Text, nullable=False),
)
"""What the servers that run do: a row each, updated by their reports."""

put_away: Final = Table(
    "put_away",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("at", _TIME, nullable=False),
    Column("until", _TIME, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("restored_at", _TIME),
    Column("removed_at", _TIME),
)
"""Runs whose outputs are in the trash, or were removed from it."""

Index("put_away_until", put_away.c.until, postgresql_where=put_away.c.removed_at.is_(None))

Index(
    "allocations_of_subject",
    allocations.c.team,
    allocations.c.kind,
    func.coalesce(allocations.c.job, allocations.c.person),
    func.coalesce(allocations.c.notebook, text("''")),
    allocations.c.ended_at,
    postgresql_where=allocations.c.ended_at.is_not(None),
)

storage: Final = Table(
    "storage",
    metadata,
    Column("place", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("team", Text, primary_key=True),
    Column("used_bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("measured_at", _TIME, nullable=False),
    _one_of("place", Place),
)
"""What is kept, and whose it is: neither a person's nor a team's where that is empty."""

Index("storage_of_person", storage.c.person)
Index("storage_of_team", storage.c.team)
quota_versions: Final = Table(
    "quota_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("document", JSON, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changes", JSON, nullable=False),
    _one_of("origin", Origin),
)
"""What the quotas were, one after the other; a trigger refuses to change or remove a row."""

quota_requests: Final = Table(
    "quota_requests",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("person", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("amount", Double, nullable=False),
    Column("per", Text),
    Column("until", Date, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", _TIME),
    Column("answer", Text, nullable=False),
    Column("granted_to", Text),
    Column("version", ForeignKey(quota_versions.c.number)),
    _one_of("state", RequestState),
)
"""What people have asked for; decided once."""

Index(
    "quota_requests_open",
    quota_requests.c.team,
    postgresql_where=quota_requests.c.state == "open",
)
Index("quota_requests_of_person", quota_requests.c.person, quota_requests.c.id)

ledger_marks: Final = Table(
    "ledger_marks",
    metadata,
    Column("allocation_id", Text, primary_key=True),
    Column("given_until", _TIME, nullable=False),
    Column("read_at", _TIME),
    Column("meter", Text, nullable=False, server_default=""),
    Column("cpu_us", BigInteger),
    Column("memory_bytes", BigInteger),
    Column("gpu_us", BigInteger),
    Column("settled", Boolean, nullable=False, server_default=false()),
)
"""How far each allocation is counted; a trigger adds one with each allocation."""

Index("ledger_marks_open", ledger_marks.c.allocation_id, postgresql_where=~ledger_marks.c.settled)

_COUNTED: Final = ("given_us", "cpu_us", "memory_kib_s", "gpu_us")
ledger_hours: Final = Table(
    "ledger_hours",
    metadata,
    Column("allocation_id", Text, primary_key=True),
    Column("hour", _TIME, primary_key=True),
    *(Column(name, BigInteger, nullable=name != "given_us") for name in _COUNTED),
    *(
        Column(f"corrected_{name}", BigInteger, nullable=False, server_default="0")
        for name in _COUNTED
    ),
)
"""What was given and used in an hour of UTC: what was counted only rises; then corrections."""

ledger_corrections: Final = Table(
    "ledger_corrections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("allocation_id", Text, nullable=False),
    Column("hour", _TIME, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTED),
    Column("reason", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("at", _TIME, nullable=False),
)
"""What was added to hours, or taken from them, by whom and why; rows are only added."""

Index("ledger_corrections_of", ledger_corrections.c.allocation_id, ledger_corrections.c.hour)

_SUMMED: Final = (
    "begun",
    "metered_us",
    *(
        f"{measure}_{thing}"
        for measure in ("allocated", "used", "largest", "idle")
        for thing in ("time_us", "cpu_us", "memory_kib_s", "gpu_us")
    ),
)


def _days(name: str, *by: str) -> Table:
    return Table(
        name,
        metadata,
        Column("day", Date, primary_key=True),
        *(Column(each, Text, primary_key=True) for each in by),
        Column("price_per_hour", Numeric(12, 6), primary_key=True),
        *(Column(each, BigInteger, nullable=False) for each in _SUMMED),
    )


ledger_days: Final = _days("ledger_days", "person", "team", "kind", "size", "job", "notebook")
"""The hours added up by triggers, in the transactions that change them; no price is -1."""

Index("ledger_days_of_person", ledger_days.c.person, ledger_days.c.day)

ledger_team_days: Final = _days("ledger_team_days", "team", "kind", "size")
"""The same, of all persons, jobs and notebooks of a team together."""

ledger_zone: Final = Table("ledger_zone", metadata, Column("zone", Text, primary_key=True))
"""The time zone of the days, in one row."""
