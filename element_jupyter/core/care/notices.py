"""Notices: what the platform tells a person about what is theirs, mostly before it does something.

A notice is written down once, however many control planes come to it: its id is made of whose it
is and what it is about. It is over when what it says is not so any more.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import Field, StringConstraints

from element_jupyter.core.values import Name, UtcTime, Value

NoticeId = Annotated[str, StringConstraints(pattern=r"^n-[0-9a-f]{26}$")]

SHOWN: Final = timedelta(days=3)
"""How long what has no deadline is shown."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    IDLE = "idle"
    """An editor that nobody uses will be stopped."""
    MAX_AGE = "max_age"
    """An editor has run for as long as one may."""
    GPU_IDLE = "gpu_idle"
    """A GPU is held and not used."""
    STORAGE = "storage"
    """Nearly as much is kept as may be, or more."""
    BUDGET_NEAR = "budget_near"
    """A budget is nearly used up."""
    BUDGET_SPENT = "budget_spent"
    """A budget is used up."""
    BUDGET_STOP = "budget_stop"
    """Something will be stopped since a budget is used up."""
    STOPPED = "stopped"
    """Something was stopped, and why."""
    DECIDED = "decided"
    """Somebody has decided what one asked for."""


class Notice(Value):
    """One notice, as its person is told it."""

    id: NoticeId
    kind: NoticeKind
    sentence: str
    hint: str = ""
    at: UtcTime
    deadline: UtcTime | None = None
    """When something is done; null where nothing will be."""
    keep_until_allowed: UtcTime | None = None
    """Until when `POST /notices/{id}/keep` holds it off, asked now; null where it does not."""
    kept_until: UtcTime | None = None
    """Until when it was held off."""


class NoticeList(Value):
    """What somebody is to be told now, the most urgent first."""

    items: tuple[Notice, ...] = ()


class Told(Value):
    """A notice as it is kept."""

    id: NoticeId
    person: Name
    """Of what concerns the server of a team, the Hub's user that the team has."""
    kind: NoticeKind
    about: str
    """What it is about, such as the id of an allocation."""
    sentence: str
    hint: str = ""
    at: UtcTime
    deadline: UtcTime | None = None
    keep_seconds: Annotated[int, Field(ge=0)] | None = None
    """How long it can be held off; None: it cannot."""
    keep_limit: UtcTime | None = None
    """Beyond which it cannot be held off."""
    kept_until: UtcTime | None = None
    over_at: UtcTime | None = None
    """Since when it is not so any more."""

    def may_be_kept_until(self, now: datetime) -> datetime | None:
        """Return until when it would be held off if that were asked now."""
        if self.keep_seconds is None or self.deadline is None or self.over_at is not None:
            return None
        wanted = max(self.deadline, now + timedelta(seconds=self.keep_seconds))
        if self.keep_limit is not None:
            wanted = min(wanted, self.keep_limit)
        return wanted if wanted > self.deadline else None

    def shown(self, now: datetime) -> Notice:
        """Return it as its person is told."""
        return Notice(
            id=self.id,
            kind=self.kind,
            sentence=self.sentence,
            hint=self.hint,
            at=self.at,
            deadline=self.deadline,
            keep_until_allowed=self.may_be_kept_until(now),
            kept_until=self.kept_until,
        )


def notice_id(person: str, kind: NoticeKind, about: str, which: str = "") -> str:
    """Make the id of a notice; `which` tells apart those about the same thing at other times."""
    said = f"{person}\n{kind.value}\n{about}\n{which}"
    return f"n-{hashlib.blake2b(said.encode(), digest_size=13).hexdigest()}"


def in_order(notices: list[Told], now: datetime) -> tuple[Notice, ...]:
    """Return what is shown now: what has a deadline first, by it, then the newest."""
    shown = [
        each
        for each in notices
        if each.over_at is None and (each.deadline is not None or now - each.at < SHOWN)
    ]
    far = now + timedelta(days=36_500)
    shown.sort(key=lambda each: (each.deadline or far, -each.at.timestamp()))
    return tuple(each.shown(now) for each in shown)


class NoticeStore(Protocol):
    """Where notices are; see `adapters.sql.notice_store`."""

    async def tell(self, told: Told) -> bool:
        """Write a notice down; False when it was."""
        ...

    async def of(self, person: str) -> list[Told]:
        """List what somebody has been told and is not over."""
        ...

    async def find(self, id_: str) -> Told | None: ...

    async def keep(self, id_: str, until: datetime, at: datetime) -> bool:
        """Hold off what a notice is about, and end the notice; False when it was over."""
        ...

    async def end(self, about: str, at: datetime, *kinds: NoticeKind) -> None:
        """End the notices about something that is not so any more; without kinds, all."""
        ...

    async def forget(self, before: datetime) -> None:
        """Remove what was over before a moment."""
        ...
