"""Who may do what: pure decisions, asked by everything that answers a request.

A caller is a `Person`, known by sign-in, or a `RunToken`, which a run's own process holds and which
may report that run and nothing else. What is not granted here is refused.
"""

from __future__ import annotations

from enum import StrEnum

from element_jupyter.core.errors import Forbidden
from element_jupyter.core.values import Name, Value


class Action(StrEnum):
    """What a caller wants to do."""

    READ = "read"
    """See jobs, runs and what they left."""
    RUN = "run"
    """Start and stop runs; store the snapshots that they need."""
    EDIT = "edit"
    """Create, change, pause and delete jobs."""
    REPORT = "report"
    """Tell what a run does."""


class Person(Value):
    """Somebody who has signed in, with the teams that are theirs."""

    name: Name
    teams: frozenset[Name] = frozenset()
    admin: bool = False


class RunToken(Value):
    """The process of one run."""

    run_id: str


Who = Person | RunToken


class Subject(Value):
    """What an action is done to: something of a team, a run, or (neither) nobody's own."""

    team: str | None = None
    run_id: str | None = None


NOBODYS = Subject()


def of_team(team: str) -> Subject:
    """Name the things of one team as subject."""
    return Subject(team=team)


def may(who: Who, action: Action, subject: Subject = NOBODYS) -> None:
    """Return when `who` may do this.

    Raises:
        Forbidden: it is not granted; the hint says who can.
    """
    match who, action:
        case RunToken(run_id=run_id), Action.REPORT if run_id == subject.run_id:
            return
        case RunToken(), _:
            raise Forbidden(
                "This token belongs to a run and may only report that run.",
                "Use your own token: it is in the file 'token' of the data directory.",
            )
        case Person(), Action.REPORT:
            raise Forbidden("Only the run itself may report what it does.")
        case Person(admin=True), _:
            return
        case Person(teams=teams), _ if subject.team is None or subject.team in teams:
            return
        case Person(name=name), _:
            raise Forbidden(
                f"{name} may not {action} what belongs to the team '{subject.team}'.",
                "Ask somebody of that team, or an administrator, to do it or to add you.",
            )
    raise Forbidden("This is not allowed.")
