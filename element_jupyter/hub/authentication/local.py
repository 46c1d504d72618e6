"""People without a directory: accounts of the Hub itself, by invitation only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import traitlets
from jupyterhub import orm
from sqlalchemy.orm import object_session

from element_jupyter.hub.authentication.accounts import Account, Accounts
from element_jupyter.hub.authentication.attempts import LimitedAttempts, know_browser
from element_jupyter.hub.authentication.pages import InvitationPage, PasswordPage, PeoplePage
from element_jupyter.hub.authentication.standing import Absence, Found
from element_jupyter.hub.authentication.teams import TeamsFromRules

T = TypeVar("T")

_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
"""Passwords that are compared at once: each takes 64 MiB, and a core for a tenth of a second.

Half of the cores stay for the Hub itself and what people start, however many sign in.
"""


class ElementLocalAuthenticator(LimitedAttempts, TeamsFromRules):
    """Signs people in by user name and password, kept by the Hub.

    Nobody can sign up: an administrator invites, the first one by a link that `element up` prints.
    """

    has_accounts = True

    accounts_file = traitlets.Unicode(
        "people.sqlite", help="Where the accounts are kept; only the Hub's account may read it."
    ).tag(config=True)

    invitations = traitlets.Bool(
        True,
        help="Whether administrators may invite others; without it there is the first one alone.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.accounts = Accounts(Path(self.accounts_file))
        self._threads = ThreadPoolExecutor(_AT_ONCE, "passwords")
        variables = getattr(self.parent, "template_vars", None)
        if variables is not None:
            variables["people_have_passwords"] = True  # then every page leads to ours

    async def identify(self, handler: Any, data: Any) -> Found | None:
        """Compare a password; refuses haste before."""
        name = str(data.get("username", "")).lower()
        if (
            getattr(handler, "proved", None) == name
        ):  # by a link: guessing has nothing to do with it
            account = await self.in_thread(lambda: self.accounts.account(name))
            know_browser(handler, name)
        else:
            account = await self.compare(handler, name, str(data.get("password", "")))
        return None if account is None or account.suspended else _found(account)

    async def look_up(self, user: Any, kept: Found | None, handler: Any) -> Found | Absence:
        """Read the account again."""
        account = await self.in_thread(lambda: self.accounts.account(user.name))
        if account is None or account.suspended:
            return Absence.GONE
        return _found(account)

    def add_user(self, user: Any) -> Any:
        """Give somebody who has an account here their groups before they have signed in."""
        account = self.accounts.account(user.name)
        database = object_session(user)
        if database and account and not account.suspended and not user.groups:
            model = self._model(user.name, _found(account), self.rules(), database)
            for name in model["groups"]:
                group = orm.Group.find(database, name)
                if group is None:
                    group = orm.Group(name=name)
                    database.add(group)
                user.groups.append(group)
            database.commit()
        return super().add_user(user)

    async def compare(self, handler: Any, name: str, password: str) -> Account | None:
        """Return whose password it is, and count it as wrong otherwise.

        Raises:
            HTTPError: 429 when it was wrong too often.
        """
        attempt = self.begin_attempt(handler, name[:64])
        account = await self.in_thread(lambda: self.accounts.verify(name, password))
        if account is not None:
            attempt.was_right()
        return account

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what reads the file or compares passwords, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def delete_user(self, user: Any) -> None:
        """Remove the account of somebody whom an administrator removes from the Hub."""
        self.accounts.remove(user.name)
        super().delete_user(user)

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Add the pages for invitations and passwords."""
        return [
            *super().get_handlers(app),
            ("/invitation", InvitationPage),
            ("/password", PasswordPage),
            ("/people", PeoplePage),
        ]


def _found(account: Account) -> Found:
    return Found(account.name, levels=account.teams, admin=account.admin, invited=True)
