"""The audit of requests: who changed what, and each use of an administrator's power.

What was done is on record before it is answered. While the database does not answer, acts are kept
in a file and put into the chain by the next one, or at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from tornado.httputil import HTTPServerRequest

from element_jupyter.core.access import Person
from element_jupyter.core.audit import (
    NOTHING_BEFORE,
    Act,
    AuditBreak,
    AuditEntry,
    AuditFilter,
    AuditLog,
    Noted,
    first_break,
)
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.pages import Page, decode_cursor, encode_cursor
from element_jupyter.core.values import UtcTime, Value
from element_jupyter.service.http import Route

log = logging.getLogger(__name__)

LOOKED_AGAIN: Final = timedelta(hours=1)
"""An administrator who goes on looking at the same thing is on record once in this time."""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_AT_ONCE: Final = 1000
_CHECKED_EVERY: Final = timedelta(days=1)
_CHECK_DUE_SECONDS: Final = 600.0
_REMEMBERED: Final = 10_000


class AuditReport(Value):
    """Whether the chain holds, and how it ends."""

    entries: int
    head: str
    """The digest of the last entry: kept elsewhere, it shows whether the end was cut off."""
    broken: AuditBreak | None = None


class AuditCheck(Value):
    """A look through the whole chain."""

    report: AuditReport
    at: UtcTime


class AuditState(Value):
    """What is known of the chain without reading all of it."""

    last: AuditCheck | None
    newest: int
    """How many entries there are."""
    followed: int = 0
    """Up to which entry the chain was followed now, from where the last look ended."""
    broken: AuditBreak | None = None
    """Where what has come since the last look does not hold."""


class Audit:
    """Puts acts on record, lists them, and looks whether the record is whole."""

    def __init__(self, audit_log: AuditLog, pending: Path, now: Callable[[], datetime]) -> None:
        """`pending` is a file for what is done while the log does not answer."""
        self._log = audit_log
        self._pending = pending
        self._checked = pending.with_name("audit-checked.json")
        self._now = now
        self._looked: dict[tuple[str, str], datetime] = {}
        self._one_at_a_time = asyncio.Lock()

    async def answered(
        self,
        who: Person,
        route: Route,
        request: HTTPServerRequest,
        path: Mapping[str, str],
        noted: Noted,
    ) -> None:
        """Put on record what a request did, if it is to be there."""
        reads = route.method == "GET"
        if noted.unchanged or not (route.audited or noted.power):
            return
        said = "/".join(path[name] for name in route.path_names) or route.path
        # which no database takes, or which would steer the terminal that lists it
        subject = _CONTROLS.sub(lambda each: f"\\x{ord(each[0]):02x}", said)
        now = self._now()
        if reads and self._looked_lately((who.name, f"{route.path} {subject}"), now):
            return
        await self.record(
            Act(
                at=now,
                actor=who.name,
                action=route.audited or f"admin.{'read' if reads else route.function.__name__}",
                subject=subject,
                before=noted.before,
                after=noted.after,
                origin=_origin(request),
                as_admin=noted.power,
            )
        )

    def _looked_lately(self, look: tuple[str, str], now: datetime) -> bool:
        before = self._looked.pop(look, None)
        fresh = before is not None and now - before < LOOKED_AGAIN
        self._looked[look] = before if fresh and before is not None else now
        if len(self._looked) > _REMEMBERED:
            del self._looked[next(iter(self._looked))]
        return fresh

    async def record(self, act: Act) -> None:
        """Put an act at the end of the chain, or aside while the log does not answer.

        Raises:
            OSError: it could be written nowhere.
        """
        async with self._one_at_a_time:
            try:
                await self._catch_up()
                await self._log.append(act)
            except Unavailable as error:
                log.warning("an act is on record later: %s", error.message)
                await asyncio.to_thread(_add_line, self._pending, act.model_dump_json())

    async def catch_up(self) -> None:
        """Put into the chain what was done while the log did not answer."""
        async with self._one_at_a_time:
            await self._catch_up()

    async def _catch_up(self) -> None:
        if not await asyncio.to_thread(self._pending.exists):
            return
        lines = (await asyncio.to_thread(self._pending.read_text, "utf-8")).splitlines()
        for done, line in enumerate(lines):
            try:
                act = Act.model_validate_json(line)
            except ValidationError:
                # a line that a crash cut off: its request was never answered
                log.warning("a line of %s cannot be read: %s", self._pending, line[:200])
                continue
            try:
                await self._log.append(act)
            except Unavailable:
                await asyncio.to_thread(_replace, self._pending, lines[done:])
                raise
        await asyncio.to_thread(self._pending.unlink)

    async def page(
        self, wanted: AuditFilter, *, cursor: str | None, limit: int
    ) -> Page[AuditEntry]:
        """List what is on record, the newest first."""
        before = decode_cursor(cursor, int)[0] if cursor else None
        found = await self._log.before(before, limit + 1, wanted)
        more = len(found) > limit
        return Page[AuditEntry](
            items=tuple(found[:limit]),
            next_cursor=encode_cursor(found[limit - 1].sequence) if more else None,
        )

    async def every(self, wanted: AuditFilter) -> AsyncIterator[AuditEntry]:
        """Yield all that is on record and asked for, the newest first."""
        before: int | None = None
        while found := await self._log.before(before, _AT_ONCE, wanted):
            for entry in found:
                yield entry
            before = found[-1].sequence

    async def chain(self, after: int, limit: int) -> Page[AuditEntry]:
        """List what is on record in its order, as an export does."""
        found = await self._log.after(after, limit + 1)
        more = len(found) > limit
        return Page[AuditEntry](
            items=tuple(found[:limit]), next_cursor=str(found[limit - 1].sequence) if more else None
        )

    async def verify(self) -> AuditReport:
        """Look through the whole chain; stops at the first place where it does not hold."""
        sequence, head = 0, NOTHING_BEFORE
        while entries := await self._log.after(sequence, _AT_ONCE):
            broken = await asyncio.to_thread(first_break, entries, sequence=sequence, previous=head)
            if broken is not None:
                return await self._found(AuditReport(entries=sequence, head=head, broken=broken))
            sequence, head = entries[-1].sequence, entries[-1].digest
        return await self._found(AuditReport(entries=sequence, head=head))

    async def _found(self, report: AuditReport) -> AuditReport:
        checked = AuditCheck(report=report, at=self._now())
        text = checked.model_dump_json()
        async with self._one_at_a_time:
            await asyncio.to_thread(_replace, self._checked, [text])
        return report

    async def last_check(self) -> AuditCheck | None:
        """Return what the last look through the whole chain found; None: nobody has looked."""
        try:
            text = await asyncio.to_thread(self._checked.read_text, "utf-8")
            return AuditCheck.model_validate_json(text)
        except (FileNotFoundError, ValidationError):
            return None

    async def state(self) -> AuditState:
        """Return the last look, and a look at what has come since, if that is little."""
        last, newest = await self.last_check(), await self._log.newest()
        if last is None or last.report.broken is not None:
            return AuditState(last=last, newest=newest)
        if newest < last.report.entries:
            cut = f"its end was cut off: there were {last.report.entries} entries before"
            gone = AuditBreak(sequence=newest + 1, reason=cut)
            return AuditState(last=last, newest=newest, followed=newest, broken=gone)
        since = await self._log.after(last.report.entries, _AT_ONCE)
        sequence, head = last.report.entries, last.report.head
        return AuditState(
            last=last,
            newest=newest,
            followed=since[-1].sequence if since else sequence,
            broken=await asyncio.to_thread(first_break, since, sequence=sequence, previous=head),
        )

    async def keep_checking(self) -> None:
        """Look through the whole chain once a day, from the last look on."""
        while True:
            try:
                last = await self.last_check()
                due = last.at + _CHECKED_EVERY if last is not None else self._now()
                if due <= self._now() and (broken := (await self.verify()).broken):
                    log.error("the audit was tampered with: %s", broken.reason)
            except (Unavailable, OSError) as error:
                log.warning("the audit is verified later: %s", error)
            await asyncio.sleep(_CHECK_DUE_SECONDS)


def _origin(request: HTTPServerRequest) -> str:
    """Return the address of who asks; what a proxy says of it stands beside the proxy's own."""
    asker = request.remote_ip or "unknown"
    passed_on = request.headers.get("X-Forwarded-For", "")
    return f"{passed_on[:200]} by {asker}" if passed_on else asker


def _add_line(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, lines: list[str]) -> None:
    rest = path.with_suffix(".rest")
    rest.unlink(missing_ok=True)
    for line in lines:
        _add_line(rest, line)
    rest.replace(path)
