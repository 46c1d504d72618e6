"""Requests for more quota: asked by a person, decided by a lead of the team or an administrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import date, datetime, timedelta
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

from element_jupyter.core.access import Action, Person, may, of_team
from element_jupyter.core.audit import note_change, note_power
from element_jupyter.core.care.decisions import decision
from element_jupyter.core.care.notices import Told
from element_jupyter.core.errors import Conflict, Forbidden, Invalid, NotFound
from element_jupyter.core.pages import Page, decode_cursor, encode_cursor
from element_jupyter.core.quotas.policies import Origin, QuotasVersion
from element_jupyter.core.quotas.requests import (
    QuotaRequest,
    RequestState,
    Wanted,
    with_exception,
)
from element_jupyter.core.values import Name
from element_jupyter.service.policies import Policies

_OPEN_AT_ONCE: Final = 20
_LONGEST: Final = timedelta(days=366)
_TRIES: Final = 10

Grant = Literal["member", "person"]


class RequestStore(Protocol):
    """Where requests are; see `adapters.sql.request_store`."""

    async def ask(self, person: str, wanted: Wanted, at: datetime) -> QuotaRequest: ...
    async def count_open(self, person: str) -> int: ...
    async def get(self, id_: int) -> QuotaRequest | None: ...
    async def page(
        self,
        *,
        limit: int,
        before: int | None,
        state: RequestState | None,
        person: str | None,
        teams: Collection[str] | None,
    ) -> list[QuotaRequest]: ...
    async def decide(
        self,
        id_: int,
        state: RequestState,
        *,
        by: str,
        at: datetime,
        answer: str,
        granted_to: str | None = None,
        version: QuotasVersion | None = None,
    ) -> bool: ...


class QuotaRequests:
    """Takes requests, and makes of those that are approved exceptions of the quotas."""

    def __init__(
        self,
        store: RequestStore,
        policies: Policies,
        now: Callable[[], datetime],
        tell: Callable[[Told], Awaitable[bool]],
    ) -> None:
        """`tell` tells whoever has asked; the same twice is told once."""
        self._store = store
        self._policies = policies
        self._now = now
        self._tell = tell

    async def ask(self, who: Person, wanted: Wanted) -> QuotaRequest:
        """Write down what somebody asks for.

        Raises:
            Forbidden: they start nothing for that team.
            Invalid: its last day is over, or more than a year away.
            Conflict: too many of their requests are open.
        """
        may(who, Action.RUN, of_team(wanted.team))
        last = self._today() + _LONGEST
        if not self._today() <= wanted.until <= last:
            raise Invalid(
                f"until: it must be a day from today to {last}.",
                "Ask again when it is over.",
                field="until",
            )
        if await self._store.count_open(who.name) >= _OPEN_AT_ONCE:
            raise Conflict(
                f"{_OPEN_AT_ONCE} of your requests are not decided yet.",
                "Wait for an answer, or ask whoever decides.",
            )
        found = await self._store.ask(who.name, wanted, self._now())
        note_change(None, {"id": found.id, "asks": found.sentence})
        return found

    async def page(
        self,
        who: Person,
        *,
        teams: Collection[Name] | None,
        state: RequestState | None,
        mine: bool,
        cursor: str | None,
        limit: int,
    ) -> Page[QuotaRequest]:
        """List one's own requests, and those for the `teams` that one leads; None: all."""
        if teams is None and not mine:
            note_power()
        found = await self._store.page(
            limit=limit + 1,
            before=decode_cursor(cursor, int)[0] if cursor else None,
            state=state,
            person=who.name if mine or teams is not None else None,
            teams=None if mine else teams,
        )
        more = len(found) > limit
        return Page[QuotaRequest](
            items=tuple(found[:limit]),
            next_cursor=encode_cursor(found[limit - 1].id) if more else None,
        )

    async def approve(
        self, who: Person, id_: int, *, to: Grant | None, answer: str
    ) -> QuotaRequest:
        """Grant what is asked, as an exception with its end; the same twice is granted once.

        Raises:
            NotFound: there is no such request, or not for the one who decides.
            Forbidden: it is their own, or more than a lead may grant.
            Conflict: it was declined, or others change the quotas all the time.
        """
        found = await self._decidable(who, id_)
        to = to or ("person" if found.team == found.person else "member")
        if to == "person" and not who.admin:
            raise Forbidden(
                "A lead grants what counts in their team alone.",
                "Approve it for the team, or ask an administrator.",
            )
        granted_to = f"person:{found.person}"
        if to == "member":
            granted_to = f"member:{found.team}/{found.person}"
        for _ in range(_TRIES):
            if found.state is not RequestState.OPEN:
                break
            version = await self._next_version(who, found, granted_to)
            try:
                decided = await self._store.decide(
                    id_,
                    RequestState.APPROVED,
                    by=who.name,
                    at=self._now(),
                    answer=answer,
                    granted_to=granted_to,
                    version=version,
                )
            except Conflict:
                continue  # somebody else has changed the quotas; their change stays
            if decided:
                await self._policies.took(version)
                note_change(
                    {"state": "open"},
                    {
                        "state": "approved",
                        "asks": found.sentence,
                        "to": granted_to,
                        "version": version.number,
                        "changes": list(version.changes),
                    },
                )
                return await self._told(await self._found(id_))
            found = await self._found(id_)
        return await self._told(self._decided_as(found, RequestState.APPROVED))

    async def decline(self, who: Person, id_: int, *, answer: str) -> QuotaRequest:
        """Refuse what is asked, with a word to it.

        Raises:
            NotFound, Forbidden: as `approve`.
            Conflict: it was approved.
        """
        found = await self._decidable(who, id_)
        declined = await self._store.decide(
            id_, RequestState.DECLINED, by=who.name, at=self._now(), answer=answer
        )
        if declined:
            note_change({"state": "open"}, {"state": "declined", "asks": found.sentence})
        found = self._decided_as(await self._found(id_), RequestState.DECLINED, new=declined)
        return await self._told(found)

    async def _next_version(
        self, who: Person, request: QuotaRequest, granted_to: str
    ) -> QuotasVersion:
        reason = f"request {request.id} of {request.person}: {request.reason}"[:500]
        exception = request.exception(granted_to, reason)
        return await self._policies.prepared(
            lambda quotas: with_exception(quotas, exception, self._today()),
            by=who.name,
            origin=Origin.PAGE,
            reason=reason,
            expected=None,
        )

    async def _decidable(self, who: Person, id_: int) -> QuotaRequest:
        found = await self._store.get(id_)
        if found is None or not (who.admin or who.is_in(found.team)):
            raise NotFound(
                f"There is no request {id_}.", "`element quota requests` lists those there are."
            )
        may(who, Action.MANAGE, of_team(found.team))
        if found.person == who.name and not who.admin:
            raise Forbidden(
                "Nobody decides what they have asked for themselves.",
                "Ask another lead of the team, or an administrator.",
            )
        return found

    def _decided_as(
        self, found: QuotaRequest, state: RequestState, *, new: bool = False
    ) -> QuotaRequest:
        if found.state is not state:
            raise Conflict(
                f"The request {found.id} was {found.state} by {found.decided_by}."
                if found.state is not RequestState.OPEN
                else "The quotas are being changed by others again and again.",
                "Try again." if found.state is RequestState.OPEN else "",
            )
        if not new:
            note_change(found.state, found.state)
        return found

    async def _told(self, found: QuotaRequest) -> QuotaRequest:
        """Tell whoever asked, unless they were told or have decided it themselves."""
        if found.decided_by != found.person:
            await self._tell(decision(found, self._now()))
        return found

    async def _found(self, id_: int) -> QuotaRequest:
        found = await self._store.get(id_)
        if found is None:
            raise NotFound(f"There is no request {id_}.")
        return found

    def _today(self) -> date:
        return self._now().astimezone(ZoneInfo(self._policies.in_force().timezone)).date()
