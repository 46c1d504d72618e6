"""Teams: who belongs to which, at which level, by what a directory or an administrator says.

Every person has a team of one, with the person's own name. Every other team is named in
`teams.yaml`, or comes from the names of a directory's groups. The Hub keeps the outcome as groups
named `team:level`; nothing else keeps it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from element_jupyter.core.values import Name, Value, slug

Teams = Mapping[Name, "Level"]

_PERSON_LENGTH = 30
"""An account of the operating system has at most 32 characters."""
_TAKEN = re.compile(r"-[0-9a-f]{8}$")
"""Ends the names that `person_name` makes up, so nobody may bring such a name along."""


class Level(StrEnum):
    """What a person is to a team; each may do what those before it may."""

    VIEWER = "viewer"
    """Sees jobs, runs and what they left."""
    MEMBER = "member"
    """Runs and edits."""
    LEAD = "lead"
    """Manages the team's jobs, whoever owns them, and asks for its quota."""

    @property
    def rank(self) -> int:
        return _LEVELS.index(self)

    def covers(self, other: Level) -> bool:
        return self.rank >= other.rank


_LEVELS = tuple(Level)
_WORDS = frozenset(level.value for level in Level)


class Membership(Value):
    """What somebody is allowed: levels by team, and whether they administer the Hub."""

    teams: dict[Name, Level] = Field(default_factory=dict)
    admin: bool = False

    @property
    def groups(self) -> list[str]:
        """The Hub's groups that say the same."""
        return sorted(f"{team}:{level}" for team, level in self.teams.items())


def teams_of_groups(groups: Iterable[str]) -> dict[Name, Level]:
    """Read the Hub's groups of a person; what is not one of ours is left out.

    Somebody whose own team is not among them is suspended, and may do nothing.
    """
    found: dict[Name, Level] = {}
    for group in groups:
        team, _, word = group.rpartition(":")
        if team and word in _WORDS and slug(team, "") == team:
            found[team] = _highest(found.get(team), Level(word))
    return found


def person_name(identity: str) -> Name:
    """Name a person after the user name that signed in, so that no two identities share a name.

    A user name that is a `Name` of at most 30 characters stays as it is, another is shortened to
    what can stay of it, with eight digits of its hash: `Ada.L@example.org` → `ada.l-example-…`.
    """
    plain = slug(identity, "")
    if plain and plain == identity and len(plain) <= _PERSON_LENGTH and not _TAKEN.search(plain):
        return plain
    digits = hashlib.sha256(identity.encode()).hexdigest()[:8]
    kept = plain[: _PERSON_LENGTH - 9].strip("-._") or "person"
    return f"{kept}-{digits}"


# ------------------------------------------------------------------------------------ teams.yaml


class Who(Value):
    """Some people: by the names of their accounts, and by groups of the directory."""

    people: frozenset[Name] = frozenset()
    groups: frozenset[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = frozenset()

    def has(self, person: str, groups: frozenset[str]) -> bool:
        return person in self.people or bool(self.groups & groups)


NOBODY = Who()


class Team(Value):
    """One team of `teams.yaml`."""

    title: Annotated[str, StringConstraints(max_length=120)] = ""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    viewer: Who = NOBODY
    member: Who = NOBODY
    lead: Who = NOBODY

    def level_of(self, person: str, groups: frozenset[str]) -> Level | None:
        """Return the highest level that is granted, or None."""
        return next(
            (level for level in reversed(_LEVELS) if getattr(self, level).has(person, groups)), None
        )


def _pattern(text: str) -> str:
    try:
        names = re.compile(text).groupindex
    except re.error as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    if "team" not in names:
        raise ValueError("it must name the part that is the team: (?P<team>…)")
    return text


Pattern = Annotated[str, StringConstraints(max_length=500), AfterValidator(_pattern)]


class TeamRules(Value):
    """What `teams.yaml` says."""

    admins: Who = NOBODY
    everyone: bool = False
    """Whether somebody in no team may sign in; those whom an administrator invited always may."""
    from_groups: tuple[Pattern, ...] = ()
    """Regular expressions for names of groups that are teams: `(?P<team>…)`, and `(?P<level>…)`
    where a group says its level; without it, its people are members."""
    teams: dict[Name, Team] = Field(default_factory=dict)

    def membership(self, person: str, groups: Iterable[str] = ()) -> Membership:
        """Say what somebody is who signed in as `person` (a `person_name`) with these groups."""
        held = frozenset(groups)
        found: dict[Name, Level] = {}
        for name, team in self.teams.items():
            level = team.level_of(person, held)
            if level is not None:
                found[name] = level
        for group in held:
            for name, level in self._meant(group):
                found[name] = _highest(found.get(name), level)
        found[person] = Level.LEAD
        return Membership(teams=found, admin=self.admins.has(person, held))

    def admits(self, person: str, groups: Iterable[str] = ()) -> bool:
        """Whether somebody of a directory may sign in at all."""
        found = self.membership(person, groups)
        return self.everyone or found.admin or len(found.teams) > 1

    def takes(self, person: str) -> bool:
        """Whether a team has this name, which a person therefore cannot have."""
        return person in self.teams

    def _meant(self, group: str) -> Iterable[tuple[Name, Level]]:
        for pattern in self.from_groups:
            match = re.fullmatch(pattern, group)
            if match is None:
                continue
            named = match.groupdict()
            team, word = named["team"] or "", named.get("level") or Level.MEMBER
            if slug(team, "") == team and word in _WORDS:
                yield team, Level(word)


def _highest(known: Level | None, level: Level) -> Level:
    return level if known is None or level.covers(known) else known
