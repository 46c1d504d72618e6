"""The Hub's users that teams have, so that a team can have a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyterhub import orm
from jupyterhub.roles import assign_default_roles

from element_jupyter.core.team_servers import account_of
from element_jupyter.core.values import Name


def give_accounts(teams: Iterable[Name], database: Any) -> None:
    """Make the Hub's user of each team that has none yet; nobody can sign in as one."""
    for team in teams:
        name = account_of(team)
        if orm.User.find(database, name) is None:
            user = orm.User(name=name)
            database.add(user)
            database.commit()
            assign_default_roles(database, entity=user)
