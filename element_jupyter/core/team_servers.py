"""The server that a team has together: whose it is, and what each level may do inside it.

The Hub's user `team-<team>` owns it, and an account of its own runs it. Who edits there runs code
as the team, so a member's rights are the server's own; a viewer is shown what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from element_jupyter.core.teams import Level, teams_of_groups
from element_jupyter.core.values import Name, slug

ACCOUNT: Final = "team-"
"""Begins the names of the Hub's users that teams have; nobody else's name begins so."""

_SEEN: Final = frozenset(
    {"api", "config", "contents", "csp", "element", "kernels", "kernelspecs", "sessions"}
)
"""Resources of a Jupyter server that a viewer may read. Not among them: `nbconvert`, which runs
programs; `terminals`, which have printed what nobody else was to see; what is not known here."""


def account_of(team: Name) -> str:
    """Return the Hub's user that owns the server of a team."""
    return f"{ACCOUNT}{team}"


def team_of_account(user: str) -> Name | None:
    """Return the team whose server a user of the Hub owns; None for a person."""
    team = user.removeprefix(ACCOUNT)
    return team if team != user and slug(team, "") == team else None


def level_in(
    team: Name, person: str, groups: Iterable[str], *, admin: bool = False
) -> Level | None:
    """Return what somebody is to a team by the Hub's groups; None: they have no business there.

    An administrator of the Hub is what a lead is; somebody who is suspended is nothing.
    """
    levels = teams_of_groups(groups)
    if person not in levels:
        return None
    return Level.LEAD if admin else levels.get(team)


def permits(level: Level | None, action: str, resource: str) -> bool:
    """Whether a level may `read`, `write` or `execute` a resource of the team's Jupyter server."""
    if level is None:
        return False
    if level.covers(Level.MEMBER):
        return True
    if action == "execute":
        return resource == "events"  # to be told of what happens, which Jupyter counts so
    return action == "read" and resource in _SEEN
