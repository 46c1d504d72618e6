"""Runs in PostgreSQL: every change is one transaction that checks what it changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    column,
    distinct,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import Text

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.fire_store import fire_ran, fire_refused, fire_state
from element_jupyter.adapters.sql.quota_book import Book, close, with_time
from element_jupyter.adapters.sql.run_rows import (
    document_values,
    over_limit,
    record_of,
    run_values,
    select_records,
)
from element_jupyter.adapters.sql.schema import (
    executing,
    group,
    live,
    run_documents,
    run_keys,
    runs,
)
from element_jupyter.core.admission import Admitted, Created, Queue, Waiting, admit, unknown_run
from element_jupyter.core.errors import Conflict
from element_jupyter.core.fires import Known
from element_jupyter.core.progress import RunRecord, TokenRecord
from element_jupyter.core.quotas.allocations import Claim
from element_jupyter.core.quotas.checking import Refusal
from element_jupyter.core.resources.advice import Need
from element_jupyter.core.runs import NEXT, FireRecord, Run, RunState, Trigger

_ADMISSION_LOCK: Final = 0x61646D69  # any number, the same for every control plane
_QUEUE_WINDOW: Final = 500
"""Queued runs that one admission looks at; those whose job is busy are not among them."""


class SqlRunStore:
    """The record of runs; safe for several control planes on one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    # ------------------------------------------------------------------------------- creating

    async def create(
        self,
        record: RunRecord,
        key: str | None,
        refusal: Callable[[Known], FireRecord | None],
    ) -> Created:
        """Add a queued run, or return the one that this request means already.

        That is the run with the same key, else the live one of the same job, DAG run and task
        (which then has this key too), unless it was told to stop. `refusal` is asked when the run
        is of a job, and its answer is written instead of the run; what it raises is raised.
        """
        run = record.run
        async with transaction(self._engine) as connection:
            # in this order everywhere, so that two requests never wait for one another
            given = (("job", run.job), ("key", key))
            if names := [f"{kind} {name}" for kind, name in given if name is not None]:
                hashes = [func.hashtextextended(name, 0) for name in names]
                await connection.execute(select(*map(func.pg_advisory_xact_lock, hashes)))
            if found := await self._same(connection, run, key):
                return Created(found)
            if run.job is not None:
                due_at = record.due_at
                known = await self._known(connection, run, due_at) if due_at else Known()
                if refused := refusal(known):
                    await fire_refused(connection, refused)
                    return Created(None, refused=refused)
            await connection.execute(insert(runs).values(run_values(record)))
            await connection.execute(
                insert(run_documents).values(run_id=run.run_id, **document_values(run))
            )
            if key is not None:
                await connection.execute(insert(run_keys).values(key=key, run_id=run.run_id))
            if run.job is not None and record.due_at is not None:
                await fire_ran(connection, run.job, record.due_at, run.run_id)
        return Created(record, created=True)

    async def _same(
        self, connection: AsyncConnection, run: Run, key: str | None
    ) -> RunRecord | None:
        if key is not None:
            row = (
                await connection.execute(
                    select_records()
                    .join(run_keys, run_keys.c.run_id == runs.c.run_id)
                    .where(run_keys.c.key == key)
                )
            ).one_or_none()
            if row is not None:
                return record_of(row)
        if run.job is None or run.dag_run_id is None:
            return None
        row = (
            await connection.execute(
                select_records()
                .where(live, runs.c.stop_requested_at.is_(None))
                .where(runs.c.job == run.job, runs.c.dag_run_id == run.dag_run_id)
                .where(runs.c.task == run.task)
            )
        ).one_or_none()
        if row is None:
            return None
        if key is not None:
            await connection.execute(insert(run_keys).values(key=key, run_id=row.run_id))
        return record_of(row)

    async def _known(self, connection: AsyncConnection, run: Run, due_at: datetime) -> Known:
        active = await connection.scalars(
            select(group)
            .distinct()
            .where(runs.c.job == run.job, live)
            .where(group != (run.dag_run_id or run.run_id))
        )
        overlapping = await connection.scalar(
            select(runs.c.run_id)
            .where(runs.c.job == run.job, runs.c.due_at < due_at, runs.c.created_at <= due_at)
            .where(or_(runs.c.finished_at.is_(None), runs.c.finished_at > due_at))
            .order_by(runs.c.created_at.desc())
            .limit(1)
        )
        return Known(
            state=await fire_state(connection, run.job or "", due_at),
            active=tuple(active),
            overlapping=overlapping,
        )

    # ------------------------------------------------------------------------------- changing

    async def change(
        self, run_id: str, change: Callable[[RunRecord], RunRecord]
    ) -> tuple[RunRecord, RunRecord]:
        """Replace a record by what `change` makes of it; returns it before and after.

        Raises:
            NotFound: there is no such run.
            Conflict: no run goes from the one state to the other.
        """
        async with transaction(self._engine) as connection:
            row = (
                await connection.execute(
                    select_records().where(runs.c.run_id == run_id).with_for_update(of=runs)
                )
            ).one_or_none()
            if row is None:
                raise unknown_run(run_id)
            before = record_of(row)
            after = change(before)
            old, new = before.run.state, after.run.state
            if new is not old and new not in NEXT[old]:
                raise Conflict(f"The run {run_id} is {old}: it cannot become {new}.")
            await self._write(connection, before, after)
            if new.ended and not old.ended:
                run = after.run
                await close(
                    connection,
                    run_id,
                    run.finished_at or datetime.now(UTC),
                    new,
                    cpu_seconds=run.cpu_seconds,
                    peak_memory_bytes=run.peak_memory_bytes,
                    gpu_seconds=run.gpu_seconds,
                )
        return before, after

    async def _write(
        self, connection: AsyncConnection, before: RunRecord, after: RunRecord
    ) -> None:
        old, new = run_values(before), run_values(after)
        if changed := {name: value for name, value in new.items() if value != old[name]}:
            await connection.execute(
                update(runs)
                .where(runs.c.run_id == after.run.run_id, runs.c.state == before.run.state)
                .values(changed)
            )
        old, new = document_values(before.run), document_values(after.run)
        if changed := {name: value for name, value in new.items() if value != old[name]}:
            await connection.execute(
                update(run_documents)
                .where(run_documents.c.run_id == after.run.run_id)
                .values(changed)
            )

    async def candidates(self) -> list[Run]:
        """List the queued runs that may start next, as far as their jobs let them."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select_records()
                .where(runs.c.state == RunState.QUEUED, ~_held())
                .order_by(runs.c.created_at, runs.c.run_id)
                .limit(_QUEUE_WINDOW)
            )
            return [record_of(row).run for row in rows]

    async def admit(
        self, capacity: int, until: datetime, claims: Mapping[str, Claim] | None = None
    ) -> Admitted:
        """Let the oldest runs start for which there is a place; `until` is their deadline.

        With `claims`, by run, only those that fit within their limits; what each gets is written
        down in the same transaction, and its end by the `change` that ends the run.
        """
        now, given = datetime.now(UTC), claims or {}
        refused: dict[str, Refusal] = {}
        async with transaction(self._engine) as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(_ADMISSION_LOCK)))
            active, taken = await self._executing(connection)
            if taken >= capacity:
                return Admitted()
            rows = await connection.execute(
                select(runs.c.run_id, runs.c.job, group.label("group"), runs.c.max_active)
                .where(runs.c.state == RunState.QUEUED, ~_held())
                .order_by(runs.c.created_at, runs.c.run_id)
                .limit(_QUEUE_WINDOW)
                .with_for_update(skip_locked=True, of=runs)
            )
            waiting = [Waiting(*row) for row in rows]
            asked = [given[each.run_id] for each in waiting if each.run_id in given]
            book = await Book.opened(connection, asked, now, locked=True)

            def fits(run_id: str) -> bool:
                if claims is None:
                    return True
                if run_id not in given:
                    return False  # it was queued since
                refusal = book.take(given[run_id])
                if refusal is not None:
                    refused[run_id] = refusal
                return refusal is None

            chosen = admit(waiting, capacity - taken, active, fits)
            refused = {
                run_id: await with_time(connection, refusal, now)
                for run_id, refusal in refused.items()
            }
            if not chosen:
                return Admitted(refused=refused)
            await book.write(connection)
            await connection.execute(
                update(runs)
                .where(runs.c.run_id.in_(chosen), runs.c.state == RunState.QUEUED)
                .values(state=RunState.STARTING, reason="", lease_until=until)
            )
            found = await connection.execute(
                select_records()
                .where(runs.c.run_id.in_(chosen))
                .order_by(runs.c.created_at, runs.c.run_id)
            )
            return Admitted([record_of(row) for row in found], refused)

    async def renew(self, run_id: str, until: datetime, overrun: float | None = None) -> Run:
        """Renew a live run's lease, no further than so many seconds over its limit; return it.

        Raises:
            NotFound: there is no such run.
        """
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id, executing)
                .values(lease_until=func.least(until, over_limit(overrun)))
            )
            row = (
                await connection.execute(select_records().where(runs.c.run_id == run_id))
            ).one_or_none()
        if row is None:
            raise unknown_run(run_id)
        return record_of(row).run

    async def renew_all(self, until: datetime) -> None:
        """Give every lease a fresh term: while nobody listened, nobody could be heard."""
        async with transaction(self._engine) as connection:
            await connection.execute(
                update(runs).where(executing, runs.c.lease_until < until).values(lease_until=until)
            )

    # -------------------------------------------------------------------------------- reading

    async def get(self, run_id: str) -> RunRecord | None:
        found = await self._records(runs.c.run_id == run_id)
        return found[0] if found else None

    async def executing(self) -> list[RunRecord]:
        """List the runs that start or run."""
        return await self._records(executing)

    async def expired(self, now: datetime) -> list[RunRecord]:
        """List the runs whose lease has ended."""
        return await self._records(and_(executing, runs.c.lease_until < now))

    async def next_deadline(self) -> datetime | None:
        """Return when the next lease ends."""
        async with reading(self._engine) as connection:
            found: datetime | None = await connection.scalar(
                select(func.min(runs.c.lease_until)).where(executing)
            )
            return found

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
    ) -> list[Run]:
        """List runs, newest first, from after a creation time and run id; None filters nothing."""
        given: dict[str, Any] = {
            "job": job,
            "state": state,
            "trigger": trigger,
            "logical_date": logical_date,
            "owner": owner,
        }
        wanted = [runs.c[name] == value for name, value in given.items() if value is not None]
        if teams is not None:
            wanted.append(runs.c.team.in_(teams))
        if after is not None:
            wanted.append(tuple_(runs.c.created_at, runs.c.run_id) < tuple_(*after))
        newest = (runs.c.created_at.desc(), runs.c.run_id.desc())
        found = select_records().where(*wanted).order_by(*newest).limit(limit)
        async with reading(self._engine) as connection:
            rows = await connection.execute(found)
            return [record_of(row).run for row in rows]

    async def ended(self, owner: str, since: datetime, limit: int) -> list[Run]:
        """List what of an owner's has ended after a moment, the latest first."""
        wanted = select_records().where(runs.c.owner == owner, runs.c.finished_at > since)
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.order_by(runs.c.finished_at.desc()).limit(limit))
            return [record_of(row).run for row in rows]

    async def queue(self) -> Queue:
        """Read the whole queue."""
        async with reading(self._engine) as connection:
            active, taken = await self._executing(connection)
            rows = await connection.execute(
                select(runs.c.run_id, runs.c.job, group.label("group"), runs.c.max_active)
                .where(runs.c.state == RunState.QUEUED)
                .order_by(runs.c.created_at, runs.c.run_id)
            )
            return Queue(tuple(Waiting(*row) for row in rows), taken, active)

    async def recorded(
        self, job: str, dag_run_id: str, tasks: Sequence[str]
    ) -> dict[str, dict[str, JsonValue] | None]:
        """Return what each task's last success in a DAG run recorded; None where there is none."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(runs.c.task, run_documents.c.recorded)
                .join_from(runs, run_documents)
                .where(runs.c.job == job, runs.c.dag_run_id == dag_run_id)
                .where(runs.c.task.in_(tasks), runs.c.state == RunState.SUCCEEDED)
                .order_by(runs.c.created_at)
            )
            return dict.fromkeys(tasks) | {row.task: row.recorded for row in rows}

    async def needs(
        self, *, job: str | None, task: str, notebook: str | None, owner: str | None, limit: int
    ) -> list[Need]:
        """Return what the last runs used that show what one needs, newest first.

        Those of a job's task; without a job, those of an owner's notebook.
        """
        of_notebook = and_(runs.c.job.is_(None), runs.c.notebook == notebook, runs.c.owner == owner)
        of_task = and_(runs.c.job == job, runs.c.task == task)
        seconds = func.extract("epoch", runs.c.finished_at - runs.c.started_at)
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(
                    runs.c.finished_at.label("at"),
                    runs.c.peak_memory_bytes,
                    (runs.c.cpu_seconds / func.nullif(seconds, 0)).label("cpu_cores"),
                    runs.c.out_of_memory,
                    runs.c.memory_limit_bytes,
                )
                .where(of_notebook if job is None else of_task)
                .where(or_(runs.c.state == RunState.SUCCEEDED, runs.c.out_of_memory))
                .where(runs.c.peak_memory_bytes.is_not(None), runs.c.finished_at.is_not(None))
                .order_by(runs.c.created_at.desc())
                .limit(limit)
            )
            return [Need.model_validate(dict(row._mapping)) for row in rows]  # noqa: SLF001

    async def recent_states(self, jobs: Sequence[str], count: int = 5) -> dict[str, list[RunState]]:
        """Return the states of each job's last runs, newest first, in one query."""
        wanted = (
            func.unnest(bindparam("jobs", list(jobs), ARRAY(Text)))
            .table_valued(column("job", Text), name="wanted")
            .render_derived()
        )
        last = (
            select(runs.c.state, runs.c.created_at, runs.c.run_id)
            .where(runs.c.job == wanted.c.job)
            .order_by(runs.c.created_at.desc(), runs.c.run_id.desc())
            .limit(count)
            .lateral("last")
        )
        found: dict[str, list[RunState]] = {job: [] for job in jobs}
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(wanted.c.job, last.c.state)
                .select_from(wanted.join(last, true()))
                .order_by(last.c.created_at.desc(), last.c.run_id.desc())
            )
            for job, state in rows:
                found[job].append(RunState(state))
        return found

    async def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(runs.c.state, func.count()).group_by(runs.c.state)
            )
            return dict.fromkeys(RunState, 0) | {RunState(state): count for state, count in rows}

    async def token(self, run_id: str) -> TokenRecord | None:
        """Return what is known of a run's token; None without a run."""
        wanted = select(
            runs.c.token_sha256, runs.c.started_at, runs.c.finished_at, runs.c.time_limit_seconds
        ).where(runs.c.run_id == run_id)
        async with reading(self._engine) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        return TokenRecord(
            sha256=row[0], started_at=row[1], finished_at=row[2], time_limit_seconds=row[3]
        )

    async def snapshots(self) -> set[str]:
        """Name the snapshots that live runs need."""
        async with reading(self._engine) as connection:
            return set(await connection.scalars(select(runs.c.snapshot_id).distinct().where(live)))

    async def locks(self) -> set[str]:
        """Name the locks of all runs: with one, a run can be repeated after years."""
        async with reading(self._engine) as connection:
            found = await connection.scalars(
                select(runs.c.lock_id).distinct().where(runs.c.lock_id.is_not(None))
            )
            return set(found)

    async def _records(self, wanted: ColumnElement[bool]) -> list[RunRecord]:
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select_records().where(wanted).order_by(runs.c.created_at, runs.c.run_id)
            )
            return [record_of(row) for row in rows]

    async def _executing(self, connection: AsyncConnection) -> tuple[dict[str, set[str]], int]:
        rows = (await connection.execute(select(runs.c.job, group).where(executing))).all()
        active: dict[str, set[str]] = defaultdict(set)
        for job, name in rows:
            if job is not None:
                active[job].add(name)
        return active, len(rows)


def _held() -> ColumnElement[bool]:
    """Tell of a queued run whether its job is busy enough; the SQL of `core.admission.held`."""
    other = runs.alias("other")
    others = func.coalesce(other.c.dag_run_id, other.c.run_id)
    of_job = and_(other.c.job == runs.c.job, other.c.state.in_(["starting", "running"]))
    busy = select(func.count(distinct(others))).where(of_job).scalar_subquery()
    own = exists().where(of_job, others == group)
    return func.coalesce(and_(runs.c.max_active <= busy, ~own), False)
