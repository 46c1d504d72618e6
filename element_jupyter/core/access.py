"""Who may do what: pure decisions, asked by everything that answers a request.

A caller is a `Person`, known by sign-in; the `Scheduler`, which is Airflow; or a `RunToken`, which
a run's own process holds and which is good for that run and nothing else. What is not granted here
is refused.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from element_jupyter.core.audit import note_power
from element_jupyter.core.errors import Forbidden
from element_jupyter.core.team_servers import account_of
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value


class Action(StrEnum):
    """What a caller wants to do."""

    READ = "read"
    """See jobs, runs and what they left."""
    RUN = "run"
    """Start and stop runs."""
    EDIT = "edit"
    """Create, change and pause jobs, and store what they need; delete one's own."""
    MANAGE = "manage"
    """Delete what others own, and hand it over."""
    ADMINISTER = "administer"
    """What is nobody's team's: the platform itself."""
    REPORT = "report"
    """Tell what a run does, fetch what it needs, and hand over what it leaves."""
    PROVISION = "provision"
    """Take a run's ticket, and tell how its process ended."""


class Person(Value):
    """Somebody who has signed in, with their level in each team that is theirs."""

    name: Name
    levels: dict[Name, Level] = Field(default_factory=dict)
    admin: bool = False

    @property
    def sees(self) -> frozenset[Name] | None:
        """The teams whose things are listed; None: all."""
        return None if self.admin else frozenset(self.levels)

    @property
    def suspended(self) -> bool:
        """Whether not even their own team is theirs, so that they may do nothing."""
        return self.name not in self.levels

    @property
    def holder(self) -> str:
        """Whose is what they upload."""
        return self.name

    def is_in(self, team: str) -> bool:
        return self.sees is None or team in self.sees

    def owns(self, owner: str, *, as_team: bool) -> bool:
        """Whether they may do what only the owner of a job may."""
        return owner == self.name


class Visitor(Person):
    """Somebody who asks from the server of a team.

    All its members execute there, so any of them may be who really asks. Here is therefore only
    what is the team's, and nothing is executed but as the team.
    """

    team: Name

    @property
    def suspended(self) -> bool:
        return self.team not in self.levels

    @property
    def holder(self) -> str:
        return account_of(self.team)

    def owns(self, owner: str, *, as_team: bool) -> bool:
        return as_team and owner == self.name


class Scheduler(Person):
    """Airflow: reads every team's jobs and runs, starts and stops runs of jobs, changes no job."""

    name: Name = "airflow"

    @property
    def sees(self) -> None:
        return None


class RunToken(Value):
    """The process of one run."""

    run_id: str


class Hub(Value):
    """The JupyterHub, which starts the processes of runs for the control plane."""


Who = Person | RunToken | Hub


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
    match who:
        case RunToken():
            _run_may(who, action, subject)
        case Hub():
            if action is not Action.PROVISION:
                raise Forbidden("The Hub's token may only start what a run's ticket is for.")
        case Person():
            _person_may(who, action, subject)


def _run_may(who: RunToken, action: Action, subject: Subject) -> None:
    if action is not Action.REPORT or who.run_id != subject.run_id:
        raise Forbidden(
            "This token belongs to a run and may only report that run.",
            "Use your own token: it is in the file 'token' of the data directory.",
        )


def _person_may(who: Person, action: Action, subject: Subject) -> None:
    match who, action:
        case _, Action.PROVISION:
            raise Forbidden("Only the Hub may start the processes of runs.")
        case _, Action.REPORT:
            raise Forbidden("Only the run itself may report what it does.")
        case Scheduler(), Action.READ | Action.RUN:
            return
        case Scheduler(), _:
            raise Forbidden(f"Airflow's own token may not {action} anything.")
        case Person(admin=True), _:
            if not _granted_anyway(who, action, subject):
                note_power()
        case _, Action.ADMINISTER:
            raise Forbidden("Only an administrator may do this.", "Ask an administrator.")
        case _ if subject.team is None:
            return
        case Person(name=name, levels=levels), _:
            held = levels.get(subject.team)
            if held is None or not held.covers(_NEEDED[action]):
                raise Forbidden(*_refusal(name, action, subject.team, held))


def _granted_anyway(who: Person, action: Action, subject: Subject) -> bool:
    try:
        _person_may(who.model_copy(update={"admin": False}), action, subject)
    except Forbidden:
        return False
    return True


_NEEDED = {
    Action.READ: Level.VIEWER,
    Action.RUN: Level.MEMBER,
    Action.EDIT: Level.MEMBER,
    Action.MANAGE: Level.LEAD,
}


def _refusal(name: str, action: Action, team: str, held: Level | None) -> tuple[str, str]:
    if held is None:
        return (
            f"{name} may not {action} what belongs to the team '{team}'.",
            "Ask somebody of that team, or an administrator, to do it or to add you.",
        )
    return (
        f"{name} is a {held} of the team '{team}' and may not {action} what belongs to it.",
        f"Ask a {_NEEDED[action]} of the team to do it, or a lead to make you one.",
    )
