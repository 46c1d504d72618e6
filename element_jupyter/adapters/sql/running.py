"""What runs and what waits in PostgreSQL, read for those who look after it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading
from element_jupyter.adapters.sql.schema import activity, allocations, runs
from element_jupyter.core.admission import Turn
from element_jupyter.core.pages import key_of_moment, moment_of_key
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.running import (
    QueueFilter,
    RunningFilter,
    RunningOrder,
    RunningThing,
    RunningTotals,
    Seen,
    WaitingRun,
)
from element_jupyter.core.runs import RunState

_DESCENDING: Final = frozenset({RunningOrder.NEWEST, RunningOrder.COST})

_HEARD: Final = timedelta(minutes=10)
"""How long what a server has told of itself is believed."""

Key = tuple[str | int | float, str]
"""By what a page goes on: what it is ordered by, and the id."""


class SqlRunning:
    """What is open and what is queued."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        wanted: RunningFilter,
        seen: Seen,
        at: datetime,
        *,
        limit: int,
        after: Key | None = None,
    ) -> list[tuple[RunningThing, Key]]:
        """List what is open, each with the key behind which a next page begins."""
        columns = allocations.c
        order, descending = _ordered(wanted.order, at), wanted.order in _DESCENDING
        found = _open(at, order.label("ordered_by")).where(*_of(wanted, seen, at))
        if after is not None:
            here, there = tuple_(order, columns.id), tuple_(_value(wanted.order, after), after[1])
            found = found.where(here < there if descending else here > there)
        ordered = (order.desc(), columns.id.desc()) if descending else (order, columns.id)
        async with reading(self._engine) as connection:
            rows = await connection.execute(found.order_by(*ordered).limit(limit))
            return [_thing(row) for row in rows.mappings()]

    async def totals(self, wanted: RunningFilter, seen: Seen, at: datetime) -> RunningTotals:
        """Add up all that the filters let through."""
        columns = allocations.c

        def count(kind: AllocationKind) -> ColumnElement[int]:
            return func.count().filter(columns.kind == kind)

        added = select(
            count(AllocationKind.EDITOR).label("editors"),
            count(AllocationKind.TEAM_SERVER).label("team_servers"),
            count(AllocationKind.RUN).label("runs"),
            func.coalesce(func.sum(columns.cpu), 0).label("cpu"),
            func.coalesce(func.sum(columns.memory_bytes), 0).label("memory_bytes"),
            func.coalesce(func.sum(columns.gpu), 0).label("gpu"),
            func.coalesce(func.sum(_cost(at)), 0).label("cost"),
        ).where(*_of(wanted, seen, at))
        async with reading(self._engine) as connection:
            row = (await connection.execute(added)).mappings().one()
        return RunningTotals.model_validate({**row, "cost": _money(row["cost"])})

    async def get(self, id_: str, at: datetime) -> tuple[RunningThing, bool] | None:
        """Return what has or had an allocation, and whether it is still open."""
        ended = allocations.c.ended_at
        found = _open(at, literal("").label("ordered_by"), ended).where(allocations.c.id == id_)
        async with reading(self._engine) as connection:
            row = (await connection.execute(found)).mappings().first()
        return None if row is None else (_thing(row)[0], row["ended_at"] is None)

    # ------------------------------------------------------------------------------- the queue

    async def waiting(
        self,
        wanted: QueueFilter,
        seen: Seen,
        turns: Mapping[str, Turn],
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
    ) -> list[WaitingRun]:
        """List queued runs, the next first; what has no turn any more is left out."""
        columns = runs.c
        found = select(runs).where(*_queued(wanted, seen))
        if after is not None:
            found = found.where(tuple_(columns.created_at, columns.run_id) > tuple_(*after))
        found = found.order_by(columns.created_at, columns.run_id).limit(limit)
        async with reading(self._engine) as connection:
            rows = await connection.execute(found)
            return [_waiting(row, turns[row.run_id]) for row in rows if row.run_id in turns]

    async def waits(
        self, wanted: QueueFilter, seen: Seen, at: datetime
    ) -> tuple[int, float, float]:
        """Return how many wait, how long together, and the longest of them, in seconds."""
        waited = func.extract("epoch", at - runs.c.created_at)
        together, longest = (func.coalesce(of(waited), 0) for of in (func.sum, func.max))
        async with reading(self._engine) as connection:
            row = (
                await connection.execute(
                    select(func.count(), together, longest).where(*_queued(wanted, seen))
                )
            ).one()
        return int(row[0]), max(0.0, float(row[1])), max(0.0, float(row[2]))


def _open(at: datetime, *more: ColumnElement[Any]) -> Select[Any]:
    columns = allocations.c
    fields = (
        columns.id,
        columns.kind,
        columns.person,
        columns.team,
        columns.server,
        columns.run_id,
        columns.job,
        columns.notebook,
        columns.size,
        columns.cpu,
        columns.memory_bytes,
        columns.gpu,
        columns.begun_at.label("since"),
        _cost(at).label("cost"),
        runs.c.stop_requested_at.is_not(None).label("stopping"),
        activity.c.working,
        case((activity.c.working.is_(False), activity.c.active_at)).label("idle_since"),
        case((activity.c.working.is_(False), activity.c.deadline)).label("stops_at"),
    )
    joined = allocations.outerjoin(runs, runs.c.run_id == columns.run_id)
    return select(*fields, *more).select_from(joined.outerjoin(activity, _told_lately(at)))


def _told_lately(at: datetime) -> ColumnElement[bool]:
    of_it = activity.c.allocation_id == allocations.c.id
    return and_(of_it, activity.c.reported_at > at - _HEARD)


def _of(wanted: RunningFilter, seen: Seen, at: datetime) -> list[ColumnElement[bool]]:
    columns = allocations.c
    conditions: list[ColumnElement[bool]] = [columns.ended_at.is_(None)]
    conditions += _visible(seen, columns.person, columns.team)
    for column, value in (
        (columns.team, wanted.team),
        (columns.person, wanted.person),
        (columns.kind, wanted.kind),
        (columns.size, wanted.size),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.idle:
        told = activity.alias().c
        idle = select(told.allocation_id).where(
            told.reported_at > at - _HEARD, told.working.is_(False)
        )
        conditions.append(columns.id.in_(idle))
    if wanted.search:
        said = (columns.person, columns.team, columns.size, columns.job, columns.notebook)
        conditions.append(_holds(wanted.search, *said, columns.server, columns.run_id))
    return conditions


def _queued(wanted: QueueFilter, seen: Seen) -> list[ColumnElement[bool]]:
    columns = runs.c
    conditions: list[ColumnElement[bool]] = [columns.state == RunState.QUEUED]
    conditions += _visible(seen, columns.owner, columns.team)
    if wanted.team is not None:
        conditions.append(columns.team == wanted.team)
    if wanted.person is not None:
        conditions.append(columns.owner == wanted.person)
    if wanted.search:
        said = (columns.owner, columns.team, columns.size, columns.job, columns.notebook)
        conditions.append(_holds(wanted.search, *said, columns.run_id))
    return conditions


def _visible(
    seen: Seen, person: ColumnElement[str], team: ColumnElement[str]
) -> list[ColumnElement[bool]]:
    if seen.everything:
        return []
    return [or_(person == seen.person, team.in_(sorted(seen.teams)))]


def _holds(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.strpos(func.lower(func.concat_ws(" ", *columns)), text.lower()) > 0


def _cost(at: datetime) -> ColumnElement[Any]:
    columns = allocations.c
    hours = func.greatest(0, func.extract("epoch", at - columns.begun_at)) / 3600
    return columns.price_per_hour * hours


def _ordered(order: RunningOrder, at: datetime) -> ColumnElement[Any]:
    columns = allocations.c
    match order:
        case RunningOrder.SINCE | RunningOrder.NEWEST:
            return columns.begun_at
        case RunningOrder.COST:
            return cast(func.coalesce(_cost(at), 0), Double)
    return {
        RunningOrder.PERSON: columns.person,
        RunningOrder.TEAM: columns.team,
        RunningOrder.SIZE: columns.size,
    }[order]


def _value(order: RunningOrder, after: Key) -> Any:
    if order in {RunningOrder.SINCE, RunningOrder.NEWEST}:
        return moment_of_key(int(after[0]))
    return after[0]


def _thing(row: Mapping[Any, Any]) -> tuple[RunningThing, Key]:
    said = {name: row[name] for name in RunningThing.model_fields if name in row}
    cost = row["cost"]
    thing = RunningThing.model_validate(
        {**said, "cost": None if cost is None else _money(cost), "stopping": bool(row["stopping"])}
    )
    value = row["ordered_by"]
    if isinstance(value, datetime):
        value = key_of_moment(value)
    return thing, (value, thing.id)


def _waiting(row: Any, turn: Turn) -> WaitingRun:
    return WaitingRun(
        run_id=row.run_id,
        place=turn.place,
        reason=turn.reason,
        fits=turn.fits,
        starts_about=turn.frees_at,
        job=row.job,
        task=row.task,
        notebook=row.notebook,
        person=row.owner,
        team=row.team,
        size=row.size,
        since=row.created_at,
    )


def _money(amount: Decimal | float) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.0001"))
