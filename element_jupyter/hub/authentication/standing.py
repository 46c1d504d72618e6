"""What an authenticator finds out about a person, and the rights that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from element_jupyter.core.teams import Level, Membership, TeamRules
from element_jupyter.core.values import Name

TEAM_ACCOUNT = "team-"
"""Begins the names of the accounts that teams have in the Hub, so no person has such a name."""


class Absence(Enum):
    """Why nothing new is known of somebody."""

    GONE = "gone"
    """They are not there any more, or disabled: they have no rights."""
    UNREACHABLE = "unreachable"
    """Who would know does not answer: what was known goes on to hold."""
    SIGN_IN_AGAIN = "sign in again"
    """Only the person can tell: by signing in. Until then what was known holds for their runs."""


@dataclass(frozen=True)
class Found:
    """Somebody who is who they say they are."""

    identity: str
    """The user name as the directory or provider spells it."""
    groups: frozenset[str] = frozenset()
    """The directory's groups; what `teams.yaml` reads."""
    levels: Mapping[Name, Level] = field(default_factory=dict)
    """Teams that do not follow from groups, such as those an invitation names."""
    admin: bool = False
    invited: bool = False
    """Whether somebody who is in no team may sign in all the same."""
    subject: str = ""
    """What never changes about the account, where a user name may be given to another."""
    auth_state: dict[str, Any] = field(default_factory=dict)


def membership_of(found: Found, person: str, rules: TeamRules) -> Membership:
    """Return everything that somebody holds, by rules and by invitation."""
    ruled = rules.membership(person, found.groups)
    teams = dict(ruled.teams)
    for team, level in found.levels.items():
        if team not in teams or level.covers(teams[team]):
            teams[team] = level
    return Membership(teams=teams, admin=ruled.admin or found.admin)


def admits(found: Found, person: str, rules: TeamRules) -> bool:
    """Whether somebody may sign in at all: nobody may, unless a rule or an invitation says so."""
    return (
        found.invited
        or found.admin
        or bool(set(found.levels) - {person})
        or rules.admits(person, found.groups)
    )


def roles_of(person: str, membership: Membership) -> list[dict[str, Any]]:
    """Return the Hub's roles for the servers of somebody's teams: look, or start and stop, too.

    The server of a team belongs to the Hub's user `team-<name>`. What a viewer may do inside it is
    said by the server itself.
    """
    return [
        _role(team, level) for team, level in sorted(membership.teams.items()) if team != person
    ]


def _role(team: str, level: Level) -> dict[str, Any]:
    account = f"{TEAM_ACCOUNT}{team}"
    runs = level.covers(Level.MEMBER)
    scopes = ["access:servers", "list:users", "read:servers", "read:users:name"]
    return {
        "name": f"element-server-{'run' if runs else 'see'}-{team}",
        "description": f"{'Start, stop and use' if runs else 'Look into'} the server of {team}",
        "scopes": [
            f"{scope}!user={account}" for scope in [*scopes, *(["servers"] if runs else [])]
        ],
    }
