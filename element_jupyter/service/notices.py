"""Notices: what people are told of what is theirs, and how they hold it off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from element_jupyter.core.access import Person
from element_jupyter.core.care.notices import Notice, NoticeList, NoticeStore, in_order
from element_jupyter.core.errors import Conflict, NotFound


class Notices:
    """Shows each person their own; in the server of a team, its members those of the team."""

    def __init__(self, store: NoticeStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def mine(self, who: Person) -> NoticeList:
        """Return what somebody is to be told now."""
        return NoticeList(items=in_order(await self._store.of(who.holder), self._now()))

    async def keep(self, who: Person, id_: str) -> Notice:
        """Hold off what a notice says; what was held off already stays so.

        Raises:
            NotFound: nobody has told this person that.
            Conflict: it is over, or cannot be held off.
        """
        told = await self._store.find(id_)
        if told is None or told.person != who.holder:
            raise NotFound(f"There is no notice '{id_}' for {who.name}.")
        now = self._now()
        if told.kept_until is not None:
            return told.shown(now)
        until = told.may_be_kept_until(now)
        if until is None or not await self._store.keep(id_, until, now):
            raise Conflict(
                "That cannot be held off."
                if told.over_at is None
                else "That is over: there is nothing to hold off."
            )
        return told.model_copy(update={"kept_until": until, "over_at": now}).shown(now)
