"""What the Hub itself tells the audit: who may what since when, and administrators' doings there.

Rights are read off what the Hub writes into its database, whoever had it written: a page, its REST
interface, or a sign-in that brought other groups along.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from jupyterhub import orm
from jupyterhub.log import log_request
from pydantic import JsonValue
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from element_jupyter.core.audit import Act

HUB: Final = "element-hub"
"""Who did what nobody asked for: rights follow from what the identity provider says."""
_PEOPLE: Final = "people"
_KEPT: Final = "element changes of rights"
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REFUSED: Final = 400


@dataclass
class _Change:
    """What was taken from somebody, and what was given to them."""

    taken: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    given: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, later: _Change) -> None:
        """Add what came later; what was given and taken again in between has not changed."""
        for what in {*later.taken, *later.given}:
            again, back = (
                later.given[what] & self.taken[what],
                later.taken[what] & self.given[what],
            )
            self.taken[what] = (self.taken[what] - again) | (later.taken[what] - back)
            self.given[what] = (self.given[what] - back) | (later.given[what] - again)


@dataclass
class _Doing:
    """What one task of the Hub has changed, and for whom."""

    actor: str
    origin: str
    changes: dict[str, _Change] = field(default_factory=lambda: defaultdict(_Change))
    over: bool = False


class RightsWatch:
    """Notices changes of rights in the Hub's database, and who was asking when they were made."""

    def __init__(self, record: Callable[[Act], None]) -> None:
        self._record = record
        self._source = ""
        self._by_task: dict[asyncio.Task[Any], _Doing] = {}

    def listen(self) -> None:
        """Notice what every session of this process writes, from now on."""
        event.listen(Session, "after_flush", self._flushed)
        event.listen(Session, "after_commit", self._committed)
        event.listen(Session, "after_rollback", self._rolled_back)

    def answered(self, handler: Any) -> None:
        """Log a request as the Hub does, and put on record what it has changed."""
        log_request(handler)
        user, path = _user_of(handler), _path(handler)
        self._source = str(getattr(getattr(handler, "authenticator", None), "source", self._source))
        asked = user is not None and path is not None and handler.request.method in _CHANGING
        actor = str(user.name) if asked else HUB
        origin = str(handler.request.remote_ip or "") if asked else self._source
        if asked:
            doing = self._doing(_task())
            doing.actor, doing.origin = actor, origin
        if not asked or path is None or handler.get_status() >= _REFUSED or _is_own(path, actor):
            return
        self._record(
            Act(
                at=datetime.now(UTC),
                actor=actor,
                action=f"hub.{handler.request.method.lower()}",
                subject=path,
                after=_said(handler) if path == _PEOPLE else None,
                origin=origin,
                as_admin=path.split("/")[:2] != ["users", actor],
            )
        )

    # -------------------------------------------------------------------- what the database says

    def _flushed(self, session: Session, _: Any) -> None:
        # the Hub's tasks share one session: whoever commits need not be who has written
        doing = self._doing(_task())
        kept: list[tuple[_Doing, str, _Change]] = session.info.setdefault(_KEPT, [])
        for thing in {*session.new, *session.dirty, *session.deleted}:
            for name, what, taken, given in _differences(thing, session):
                kept.append((doing, name, _change(what, taken, given)))

    def _committed(self, session: Session) -> None:
        kept: list[tuple[_Doing, str, _Change]] = session.info.pop(_KEPT, [])
        for doing, name, change in kept:
            doing.changes[name].add(change)
        for doing in {id(doing): doing for doing, _, _ in kept}.values():
            if doing.over:
                self._tell(doing)

    @staticmethod
    def _rolled_back(session: Session) -> None:
        session.info.pop(_KEPT, None)

    def _doing(self, task: asyncio.Task[Any] | None) -> _Doing:
        if task is None:
            return _Doing(HUB, self._source, over=True)
        if task not in self._by_task:
            self._by_task[task] = _Doing(HUB, self._source)
            task.add_done_callback(self._over)
        return self._by_task[task]

    def _over(self, task: asyncio.Task[Any]) -> None:
        doing = self._by_task.pop(task)
        doing.over = True
        self._tell(doing)

    def _tell(self, doing: _Doing) -> None:
        changes, doing.changes = doing.changes, defaultdict(_Change)
        for name, change in sorted(changes.items()):
            before, after = _shown(change.taken), _shown(change.given)
            if before != after:
                self._record(
                    Act(
                        at=datetime.now(UTC),
                        actor=doing.actor,
                        action="rights.changed",
                        subject=name,
                        before=before,
                        after=after,
                        origin=doing.origin,
                        as_admin=doing.actor != HUB,
                    )
                )


def _change(what: str, taken: Iterable[str], given: Iterable[str]) -> _Change:
    change = _Change()
    change.taken[what] |= set(taken)
    change.given[what] |= set(given)
    return change


def _shown(what: dict[str, set[str]]) -> JsonValue:
    return {
        name: list[JsonValue](sorted(what[name])) for name in sorted(what) if what[name]
    } or None


def _differences(
    thing: Any, session: Session
) -> Iterable[tuple[str, str, Iterable[str], Iterable[str]]]:
    """Yield whose rights a row changes: the person, what of them, what is gone, what is new."""
    if isinstance(thing, orm.User):
        for what in ("groups", "roles"):
            history = inspect(thing).attrs[what].history
            gone = thing.__dict__.get(what, ()) if thing in session.deleted else history.deleted
            yield thing.name, what, _names(gone), _names(history.added)
        admin = inspect(thing).attrs.admin.history
        if admin.added or thing in session.deleted:
            was = (*(admin.deleted or ()), *((thing.admin,) if thing in session.deleted else ()))
            is_now = () if thing in session.deleted else admin.added
            yield thing.name, "admin", _yes(was), _yes(is_now)
        return
    if isinstance(thing, (orm.Group, orm.Role)):
        what = "groups" if isinstance(thing, orm.Group) else "roles"
        history = inspect(thing).attrs.users.history
        gone = thing.users if thing in session.deleted else history.deleted
        for user in gone or ():
            yield user.name, what, [thing.name], ()
        for user in history.added or ():
            yield user.name, what, (), [thing.name]


def _names(things: Iterable[Any] | None) -> list[str]:
    return [thing.name for thing in things or ()]


def _yes(values: Iterable[Any]) -> list[str]:
    return ["yes" for value in values if value]


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _user_of(handler: Any) -> Any:
    try:
        user = handler.current_user
    except Exception:  # noqa: BLE001 - whoever it is, nobody was let in
        return None
    return user if isinstance(getattr(user, "orm_user", user), orm.User) else None


def _path(handler: Any) -> str | None:
    """Return what a request asks of the Hub's REST interface, or the page of its people."""
    hub = getattr(handler, "hub", None)
    if hub is None:
        return None
    path = str(handler.request.path)
    interface = f"{hub.base_url}api/"
    if path.startswith(interface):
        return path.removeprefix(interface)[:300]
    return _PEOPLE if path == f"{hub.base_url}{_PEOPLE}" else None


def _is_own(path: str, actor: str) -> bool:
    """Whether it is nobody else's business: one's own servers and activity, and signing in."""
    parts = path.split("/")
    if parts[0] == "users":
        return parts[1:2] == [actor] and "tokens" not in parts
    return parts[0] in {"oauth2", "security"}


def _said(handler: Any) -> dict[str, str]:
    """Return what a form of the page of people said; it holds no secret."""
    return {
        name: values[0].decode(errors="replace")[:300]
        for name, values in handler.request.body_arguments.items()
        if name in {"action", "name", "person", "teams", "admin"} and values
    }
