"""What `element up` is told: by what people sign in, who administers, and who its owner is."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError


class Known(StrEnum):
    """What the Hub can say of somebody by the name alone."""

    HERE = "here"
    """Has signed in, and has rights."""
    NOT_YET = "not yet"
    """May be somebody; has not signed in, or has no rights."""
    NOBODY = "nobody"
    """Whoever would know says that there is no such person, or none who may sign in."""


class SignInOverview(APIHandler):
    """GET api/element/sign-in?owner=NAME, for the platform's own token."""

    async def get(self) -> None:
        """Answer `accounts`, `source`, `admins` and `owner`."""
        if not self.has_scope("read:hub"):
            raise HTTPError(403)
        rules = self.authenticator.rules_now()
        admins = sorted([*rules.admins.people, *rules.admins.groups]) if rules else []
        self.finish(
            json.dumps(
                {
                    "accounts": self.authenticator.has_accounts,
                    "source": self.authenticator.source,
                    "admins": admins,
                    "owner": await self._known(self.get_query_argument("owner")),
                }
            )
        )

    async def _known(self, name: str) -> Known:
        user: Any = orm.User.find(self.db, name)
        if user is not None and user.groups:
            return Known.HERE
        return Known.NOT_YET if await self.authenticator.may_exist(name) else Known.NOBODY
