"""The audit: who did what to what, when and from where, as a chain that nobody can mend unseen.

Every entry holds the digest of the one before it, so that a change, a removal or an insertion
anywhere breaks all that follows. What a chain cannot show by itself is that its end was cut off, or
that all of it was written anew: for that, the digest of its last entry is kept elsewhere (an
export, a mail) and compared.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from pydantic import Field, JsonValue

from element_jupyter.core.values import Digest, UtcTime, Value

NOTHING_BEFORE: Final = "0" * 64
"""What the first entry names as the one before it."""


class Act(Value):
    """Something that somebody did."""

    act_id: str = Field(default_factory=lambda: secrets.token_hex(16))
    """Of its own, so that what is put on record twice is there once."""
    at: UtcTime
    actor: str
    action: str
    """What was done, such as `job.paused`; `admin.read` where nothing was changed."""
    subject: str
    """What it was done to, such as `sales/daily`."""
    before: JsonValue = None
    after: JsonValue = None
    origin: str = ""
    """The address that the request came from."""
    as_admin: bool = False
    """Whether only being an administrator allowed it."""


class AuditEntry(Act):
    """An act on record, in its place in the chain."""

    sequence: int = Field(ge=1)
    previous: Digest
    digest: Digest


class AuditBreak(Value):
    """The first place where the chain does not hold."""

    sequence: int
    reason: str


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are asked for; None and an empty text filter nothing."""

    actor: str | None = None
    subject: str | None = None
    action: str = ""
    """How the action begins: `job.` is all that is done to jobs."""
    since: datetime | None = None
    until: datetime | None = None
    as_admin: bool | None = None


class AuditLog(Protocol):
    """Where entries are kept, which are added and never changed."""

    async def append(self, act: Act) -> AuditEntry:
        """Put an act at the end of the chain, unless it is in it.

        Raises:
            Unavailable: it does not answer; nothing was added.
        """
        ...

    async def after(self, sequence: int, limit: int) -> list[AuditEntry]:
        """List entries in their order, beginning behind a sequence number."""
        ...

    async def before(
        self, sequence: int | None, limit: int, wanted: AuditFilter
    ) -> list[AuditEntry]:
        """List entries, the newest first, older than a sequence number."""
        ...

    async def newest(self) -> int:
        """Return the sequence number of the last entry; 0 without any."""
        ...


def chained(act: Act, sequence: int, previous: str) -> AuditEntry:
    """Give an act its place in the chain, behind the entry whose digest is `previous`."""
    said = {name: getattr(act, name) for name in Act.model_fields}
    return AuditEntry(
        **said,
        sequence=sequence,
        previous=previous,
        digest=_digest(act, sequence, previous),
    )


def first_break(
    entries: Iterable[AuditEntry], *, sequence: int = 0, previous: str = NOTHING_BEFORE
) -> AuditBreak | None:
    """Return where a chain that goes on behind an entry stops to hold; None when it all does."""
    for entry in entries:
        if entry.sequence != sequence + 1:
            return AuditBreak(
                sequence=sequence + 1,
                reason=f"entry {sequence + 1} is missing; {entry.sequence} follows {sequence}",
            )
        if entry.previous != previous:
            return AuditBreak(
                sequence=entry.sequence, reason="it names another entry before it than there is"
            )
        if entry.digest != _digest(entry, entry.sequence, entry.previous):
            return AuditBreak(
                sequence=entry.sequence, reason="it is not what was written: its digest differs"
            )
        sequence, previous = entry.sequence, entry.digest
    return None


def _digest(act: Act, sequence: int, previous: str) -> str:
    said = act.model_dump(mode="json", include=set(Act.model_fields))
    text = json.dumps([sequence, previous, said], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------- what a request tells


@dataclass
class Noted:
    """What the code that answers a request tells for the audit."""

    before: JsonValue = None
    after: JsonValue = None
    power: bool = False
    unchanged: bool = False


_noted: ContextVar[Noted | None] = ContextVar("noted", default=None)


@contextmanager
def noting(into: Noted) -> Iterator[None]:
    """Collect what is noted inside, in this task and in those that it starts."""
    token = _noted.set(into)
    try:
        yield
    finally:
        _noted.reset(token)


def note_change(before: JsonValue, after: JsonValue) -> None:
    """Tell what something was and has become; the same twice means that nothing was changed."""
    if (noted := _noted.get()) is not None:
        noted.before, noted.after, noted.unchanged = before, after, before == after


def note_power() -> None:
    """Tell that somebody may do this as an administrator only."""
    if (noted := _noted.get()) is not None:
        noted.power = True
