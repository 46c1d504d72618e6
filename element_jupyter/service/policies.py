"""The quotas that count: versions in the database, or `quotas.yaml` until somebody changes them.

The file counts, and each new content of it becomes a version, until quotas are changed by a page,
REST or `element quota`. From then on the database counts, and that the file differs is said, but
the file is not applied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Final, Protocol

from pydantic import Field, JsonValue

from element_jupyter.core.audit import note_change
from element_jupyter.core.errors import Conflict, ElementError, Invalid, NotFound
from element_jupyter.core.pages import Page, decode_cursor, encode_cursor
from element_jupyter.core.quotas.policies import (
    THE_FILE,
    Origin,
    PastVersion,
    QuotasVersion,
    Reason,
    changes,
)
from element_jupyter.core.quotas.rules import RULE, Quotas
from element_jupyter.core.quotas.use import Effects, Levels, Use, beginnings, effects
from element_jupyter.core.values import UtcTime, Value

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
"""How often the file, and what other control planes have changed, is looked at."""
_TOLD: Final = 20
"""Sentences in the audit, and in a refusal; the history has all."""


class PolicyStore(Protocol):
    """Where versions are; see `adapters.sql.policy_store`."""

    async def last_number(self) -> int: ...
    async def version(self, number: int) -> QuotasVersion | None: ...
    async def add(self, version: QuotasVersion) -> None: ...
    async def history(self, *, before: int | None, limit: int) -> list[PastVersion]: ...


class ShownQuotas(Value):
    """A version of the quotas, and whether `quotas.yaml` says the same."""

    version: Annotated[int, Field(ge=0)]
    """0 while there is none."""
    changed_by: str
    changed_at: UtcTime | None
    source: Origin
    reason: str
    rule: str
    file_differs: bool
    """Whether `quotas.yaml` says something else, and does not count."""
    hint: str
    """What to do about that."""
    quotas: Quotas


class Policies:
    """Knows what counts now, and changes it."""

    def __init__(
        self,
        store: PolicyStore,
        file: Callable[[], Quotas],
        publish: Callable[[QuotasVersion | None], None],
        now: Callable[[], datetime],
        *,
        use: Callable[[Collection[datetime], datetime], Awaitable[Use]],
        people: Callable[[], Awaitable[Mapping[str, Levels]]],
    ) -> None:
        """`publish` is handed the version that counts instead of the file, or None.

        `use` reads what everybody uses, by the beginnings of windows and now; `people` lists
        everybody who may sign in.
        """
        self._store = store
        self._file = file
        self._publish = publish
        self._now = now
        self._use = use
        self._people = people
        self._last: QuotasVersion | None = None
        self._published: int | None = None
        self._seen: Quotas | None = None
        self._compared: tuple[Quotas, int, bool] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.changed: Callable[[], None] = lambda: None
        """Called when something else counts than before."""

    # ------------------------------------------------------------------------- what counts now

    def in_force(self) -> Quotas:
        """Return the quotas that count.

        Raises:
            Invalid: it is the file that counts, and it has never been right.
        """
        if self._last is None or self._last.origin is Origin.FILE:
            return self._file()
        return self._last.document

    async def follow(self) -> None:
        """Look at the file, and at what others have changed.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._one_at_a_time:
            number = await self._store.last_number()
            before = self._last
            if number and (before is None or number != before.number):
                self._last = await self._store.version(number)
            if self._last is None or self._last.origin is Origin.FILE:
                await self._take_file()
            await self._tell(before)

    async def keep_following(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.follow()
            except ElementError as error:
                log.warning("the quotas are looked at later: %s", error.message)
            except Exception:
                # one bad round must not be the last
                log.exception("the quotas were not looked at")

    async def _take_file(self) -> None:
        try:
            said = self._file()
        except Invalid:
            return  # what reads it says so
        if said is self._seen:
            return
        last = self._last
        told = await asyncio.to_thread(changes, last.document if last else Quotas(), said)
        if told or last is None:
            version = QuotasVersion(
                number=last.number + 1 if last else 1,
                document=said,
                by=THE_FILE,
                at=self._now(),
                origin=Origin.FILE,
                changes=told,
            )
            try:
                await self._store.add(version)
            except Conflict:
                return  # the next look finds out whether the file still counts
            self._last = version
        self._seen = said

    async def _tell(self, before: QuotasVersion | None) -> None:
        last = self._last
        counts = last if last is not None and last.origin is not Origin.FILE else None
        if self._published != (number := counts.number if counts else 0):
            await asyncio.to_thread(self._publish, counts)
            self._published = number
        if last is not before:
            self.changed()

    # ------------------------------------------------------------------------------- reading

    async def show(self, number: int | None = None) -> ShownQuotas:
        """Return what counts, or a version.

        Raises:
            NotFound: there is no such version.
            Invalid: it is the file that counts, and it has never been right.
        """
        await self.follow()
        last = self._last
        if number is not None and (last is None or number != last.number):
            return self._shown(await self._version(number))
        if last is None:
            return ShownQuotas(
                version=0,
                changed_by=THE_FILE,
                changed_at=None,
                source=Origin.FILE,
                reason="",
                rule=RULE,
                file_differs=False,
                hint="",
                quotas=self._file(),
            )
        return self._shown(last)

    async def _version(self, number: int) -> QuotasVersion:
        found = await self._store.version(number)
        if found is None:
            raise NotFound(
                f"There is no version {number} of the quotas.",
                "`element quota history` lists them.",
                field="version",
            )
        return found

    def _shown(self, version: QuotasVersion) -> ShownQuotas:
        differs = self.file_differs
        return ShownQuotas(
            version=version.number,
            changed_by=version.by,
            changed_at=version.at,
            source=version.origin,
            reason=version.reason,
            rule=RULE,
            file_differs=differs,
            hint=DIFFERS_HINT if differs else "",
            quotas=version.document,
        )

    @property
    def file_differs(self) -> bool:
        """Whether the file says something else than counts; a file that is wrong says nothing."""
        last = self._last
        if last is None or last.origin is Origin.FILE:
            return False
        try:
            said = self._file()
        except Invalid:
            return False
        known = self._compared
        if known is None or known[0] is not said or known[1] != last.number:
            known = self._compared = (said, last.number, bool(changes(last.document, said)))
        return known[2]

    async def history(self, cursor: str | None, limit: int) -> Page[PastVersion]:
        """List versions, the newest first.

        Raises:
            Invalid: the cursor is not one of these.
        """
        before = decode_cursor(cursor, int)[0] if cursor else None
        found = await self._store.history(before=before, limit=limit + 1)
        more = len(found) > limit
        return Page[PastVersion](
            items=tuple(found[:limit]),
            next_cursor=encode_cursor(found[limit - 1].version) if more else None,
        )

    # ------------------------------------------------------------------------------- changing

    async def prepared(
        self,
        change: Callable[[Quotas], Quotas],
        *,
        by: str,
        origin: Origin,
        reason: Reason,
        expected: int | None,
    ) -> QuotasVersion:
        """Return the version that would follow what counts now.

        Raises:
            Conflict: what counts now is not the `expected` version; says who changed it.
        """
        await self.follow()
        last = self._last
        number = last.number if last else 0
        if expected is not None and expected != number:
            raise await self._conflict(expected)
        before = last.document if last else Quotas()
        document = change(before)
        return QuotasVersion(
            number=number + 1,
            document=document,
            by=by,
            at=self._now(),
            origin=origin,
            reason=reason,
            changes=await asyncio.to_thread(changes, before, document),
        )

    async def put(
        self, document: Quotas, *, by: str, origin: Origin, reason: Reason, expected: int
    ) -> ShownQuotas:
        """Make a new version, unless it means the same as the one that counts.

        Raises:
            Conflict: what counts now is not the `expected` version; says who changed it.
        """
        version = await self.prepared(
            lambda _: document, by=by, origin=origin, reason=reason, expected=expected
        )
        return await self._added(version)

    async def undo(
        self, number: int, *, by: str, origin: Origin, reason: Reason, expected: int | None
    ) -> ShownQuotas:
        """Go back to a version, as a new one.

        Raises:
            NotFound: there is no such version.
            Conflict: as `put`.
        """
        past = await self._version(number)
        said = reason or f"back to version {number}"
        version = await self.prepared(
            lambda _: past.document, by=by, origin=origin, reason=said, expected=expected
        )
        return await self._added(version)

    async def effects(self, document: Quotas, expected: int | None) -> Effects:
        """Say what a change would do, and change nothing.

        Raises:
            Conflict: as `put`.
            Unavailable: the database or the Hub does not answer.
        """
        await self.follow()
        last = self._last
        if expected is not None and expected != (last.number if last else 0):
            raise await self._conflict(expected)
        before = last.document if last else Quotas()
        now = self._now()
        people = await self._people()
        use = await self._use(beginnings([before, document], now), now)
        return await asyncio.to_thread(effects, before, document, people, use)

    async def past(self, number: int) -> Quotas:
        """Return what a version says.

        Raises:
            NotFound: there is none of this number.
        """
        return (await self._version(number)).document

    async def _added(self, version: QuotasVersion) -> ShownQuotas:
        before: JsonValue = {"version": version.number - 1}
        if not version.changes:
            note_change(before, before)
            return await self.show()
        try:
            await self._store.add(version)
        except Conflict:
            await self.follow()
            raise await self._conflict(version.number - 1) from None
        await self.took(version)
        return await self.show()

    async def took(self, version: QuotasVersion) -> None:
        """Take note of a version that was added, for the audit as well."""
        note_change(
            {"version": version.number - 1},
            {"version": version.number, "changes": list(version.changes[:_TOLD])},
        )
        await self.follow()

    async def _conflict(self, expected: int) -> Conflict:
        last = self._last
        if last is None or expected > last.number:
            there = last.number if last else 0
            return Conflict(
                f"There is no version {expected} of the quotas yet; {there} is the newest.",
                "Look at what is there now, and change that.",
            )
        theirs = await self._store.version(expected) if expected else None
        said = changes(theirs.document if theirs else Quotas(), last.document)
        return Conflict(
            f"{last.by} has changed the quotas at {last.at:%Y-%m-%d %H:%M} UTC: they are at version"
            f" {last.number}, and your change is of version {expected}.",
            "Look at what is there now, and make your change to that.",
            details="\n".join(said[:_TOLD]),
        )


DIFFERS_HINT: Final = (
    "quotas.yaml says something else, and does not count since quotas were changed in another way:"
    " `element quota apply -f quotas.yaml` makes what it says count, `element quota export >"
    " quotas.yaml` writes down what counts."
)
