"""Rows of runs as records, and records as rows."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, func, null, select

from element_jupyter.adapters.sql.schema import run_documents, runs
from element_jupyter.core.progress import RunRecord
from element_jupyter.core.provisioning import ProcessRef
from element_jupyter.core.runs import Run

_DOCUMENTS: Final = ("parameters", "recorded", "artifacts", "failing_cell")
_OWN: Final = (
    "due_at",
    "max_active",
    "token_sha256",
    "lease_until",
    "reported",
)
"""Columns that are the record's, not the run's."""

_RUN: Final = tuple(name for name in Run.model_fields if name in runs.c)


def over_limit(seconds: float | None) -> ColumnElement[Any]:
    """Return the moment so long after a run's time limit; NULL before it runs, and for None."""
    if seconds is None:
        return null()
    allowed = func.make_interval(0, 0, 0, 0, 0, 0, runs.c.time_limit_seconds + seconds)
    return runs.c.started_at + allowed


def select_records() -> Select[Any]:
    """Select whole records; join and filter it further."""
    documents = [run_documents.c[name] for name in _DOCUMENTS]
    return select(*runs.c, *documents).join_from(runs, run_documents)


def record_of(row: Row[Any]) -> RunRecord:
    """Read one row of `select_records`."""
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    process = None
    if found["process_pid"] is not None:
        process = ProcessRef(
            pid=found["process_pid"],
            started_ticks=found["process_started_ticks"],
            server=found["process_server"],
        )
    run = Run.model_validate({name: found[name] for name in (*_RUN, *_DOCUMENTS)})
    return RunRecord(run=run, process=process, **{name: found[name] for name in _OWN})


def run_values(record: RunRecord) -> dict[str, Any]:
    """Return a record as columns of `runs`."""
    process = record.process
    return {
        **{name: _storable(getattr(record.run, name)) for name in _RUN},
        **{name: getattr(record, name) for name in _OWN},
        "process_pid": process.pid if process else None,
        "process_started_ticks": process.started_ticks if process else None,
        "process_server": process.server if process else None,
    }


def document_values(run: Run) -> dict[str, Any]:
    """Return a run's documents as columns of `run_documents`."""
    return {
        "parameters": run.parameters,
        "recorded": run.recorded,
        "artifacts": [artifact.model_dump() for artifact in run.artifacts],
        "failing_cell": run.failing_cell.model_dump() if run.failing_cell else None,
    }


def _storable(value: Any) -> Any:
    # PostgreSQL's text cannot hold NUL, and an exception's message may
    return value.replace("\0", "�") if isinstance(value, str) else value
