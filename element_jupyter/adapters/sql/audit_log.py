"""The audit in PostgreSQL: a chain of rows, written one at a time."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, RowMapping, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.database import reading, transaction
from element_jupyter.adapters.sql.schema import audit
from element_jupyter.core.audit import NOTHING_BEFORE, Act, AuditEntry, AuditFilter, chained

_LOCK: Final = 0x61756469  # any number of our own: whoever appends holds it until the commit


class SqlAuditLog:
    """A `core.audit.AuditLog`; several processes may append to it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, act: Act) -> AuditEntry:
        """Put an act at the end of the chain, unless it is in it.

        Raises:
            Unavailable: the database does not answer; nothing was added.
        """
        async with transaction(self._engine) as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            same = await connection.execute(select(audit).where(audit.c.act_id == act.act_id))
            if known := same.mappings().first():
                return _entry(known)
            last = (
                await connection.execute(
                    select(audit.c.sequence, audit.c.digest)
                    .order_by(audit.c.sequence.desc())
                    .limit(1)
                )
            ).first()
            entry = chained(
                act,
                last.sequence + 1 if last else 1,
                last.digest.hex() if last else NOTHING_BEFORE,
            )
            row = {name: getattr(entry, name) for name in AuditEntry.model_fields}
            row |= {name: bytes.fromhex(row[name]) for name in ("previous", "digest")}
            await connection.execute(insert(audit).values(row))
            return entry

    async def after(self, sequence: int, limit: int) -> list[AuditEntry]:
        """List entries in their order, beginning behind a sequence number."""
        wanted = select(audit).where(audit.c.sequence > sequence).order_by(audit.c.sequence)
        async with reading(self._engine) as connection:
            found = await connection.execute(wanted.limit(limit))
            return [_entry(row) for row in found.mappings()]

    async def newest(self) -> int:
        """Return the sequence number of the last entry; 0 without any."""
        async with reading(self._engine) as connection:
            return await connection.scalar(select(func.max(audit.c.sequence))) or 0

    async def before(
        self, sequence: int | None, limit: int, wanted: AuditFilter
    ) -> list[AuditEntry]:
        """List entries, the newest first, older than a sequence number."""
        columns = audit.c
        conditions = [columns.sequence < sequence] if sequence is not None else []
        conditions += _of(wanted)
        newest = select(audit).where(*conditions).order_by(columns.sequence.desc()).limit(limit)
        async with reading(self._engine) as connection:
            found = await connection.execute(newest)
            return [_entry(row) for row in found.mappings()]


def _of(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    columns = audit.c
    found: list[ColumnElement[bool]] = []
    if wanted.actor is not None:
        found.append(columns.actor == wanted.actor)
    if wanted.subject is not None:
        found.append(columns.subject == wanted.subject)
    if wanted.action:
        found.append(columns.action.startswith(wanted.action, autoescape=True))
    if wanted.since is not None:
        found.append(columns.at >= wanted.since)
    if wanted.until is not None:
        found.append(columns.at < wanted.until)
    if wanted.as_admin is not None:
        found.append(columns.as_admin == wanted.as_admin)
    return found


def _entry(row: RowMapping) -> AuditEntry:
    digests = {name: row[name].hex() for name in ("previous", "digest")}
    return AuditEntry.model_validate({**row, **digests})
