"""Owners of jobs: who may be one, and whether a job may run as the one it has.

A job executes as its owner, with all that the owner may do. So nobody makes somebody else the owner
of what they have not seen: only the owner changes what a job executes, whoever else does becomes
its owner, and a job that was handed over runs once its new owner has taken it. An administrator,
who could do all of it anyway, is bound by none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from element_jupyter.core.access import Action, Person, Visitor, may, of_team
from element_jupyter.core.errors import Forbidden, Invalid, Unavailable
from element_jupyter.core.jobs import Job, StoredJob
from element_jupyter.core.runs import Run
from element_jupyter.core.team_servers import account_of
from element_jupyter.core.teams import Level


class Owners:
    """Asks the Hub about the owners of jobs; without one, everybody is known."""

    def __init__(self, person: Callable[[str], Awaitable[Person | None]] | None = None) -> None:
        self._person = person

    async def check(self, who: Person, before: StoredJob | None, job: Job) -> str | None:
        """Return who hands `job` to its owner by saving it; None when it is theirs at once.

        Raises:
            Forbidden: this owner, or this change of what the owner executes, is not for `who`.
            Invalid: the owner is not in the team.
        """
        if isinstance(who, Visitor) and not (before.job if before else job).as_team:
            raise Forbidden(
                f"'{job.id}' runs as {job.owner}, and is not changed from the server of the team.",
                "Change it in your own server.",
            )
        if job.as_team and (before is None or not before.job.as_team):
            await self._check_account(job)
        if who.admin:
            if before is None or before.job.owner != job.owner:
                await self._check_member(job)
            return None
        if job.owner == who.name:
            return None
        if before is not None and before.job.owner == job.owner:
            changed = _executed(before.job) != _executed(job)
            if changed and not (before.job.as_team and job.as_team):
                raise Forbidden(
                    f"'{job.id}' runs as {job.owner}, so only {job.owner} may change what it"
                    " executes.",
                    "Take it over, and it runs as you from then on:"
                    f" `element jobs hand-over {job.id} {who.name}`, or 'owner: {who.name}'.",
                    field="owner",
                )
            return before.offered_by
        try:
            may(who, Action.MANAGE, of_team(job.team))
        except Forbidden as error:
            raise Forbidden(
                f"owner: {who.name} may not make {job.owner} the owner of '{job.id}'.",
                f"Name yourself, or ask a lead of the team '{job.team}'.",
                field="owner",
            ) from error
        await self._check_member(job)
        return who.name

    async def _check_account(self, job: Job) -> None:
        known = self._person is not None and await self._person(account_of(job.team)) is not None
        if not known:
            raise Invalid(
                f"as_team: the team '{job.team}' has no account here to run as.",
                "Leave it out, and the job runs as its owner.",
                field="as_team",
            )

    async def _check_member(self, job: Job) -> None:
        if reason := await self._not_a_member(job.owner, job.team):
            raise Invalid(f"owner: {reason}", field="owner")

    async def _not_a_member(self, name: str, team: str) -> str | None:
        if self._person is None:
            return None
        owner = await self._person(name)
        if owner is None:
            return f"The Hub knows nobody called '{name}'."
        if owner.suspended:
            return f"{name} is suspended."
        level = owner.levels.get(team)
        if owner.admin or (level is not None and level.covers(Level.MEMBER)):
            return None
        return f"{name} is not a member of the team '{team}'."

    async def check_start(self, run: Run) -> None:
        """Return when a run that has waited may start as its owner.

        Raises:
            Forbidden: its owner has been suspended, or has left its team, meanwhile.
        """
        try:
            reason = await self._not_a_member(run.owner, run.team)
        except Unavailable:
            return  # what starts it asks the Hub, too, and waits for it
        if reason is not None:
            raise Forbidden(f"It did not start: {reason}")

    async def held(self, stored: StoredJob) -> str | None:
        """Say why a job does not run as the owner it has; None when it does.

        Raises:
            Unavailable: the Hub does not answer.
        """
        job = stored.job
        if stored.offered_by is not None:
            return (
                f"{stored.offered_by} has handed it over to {job.owner}, who has not taken it yet"
                " by resuming it."
            )
        if reason := await self._not_a_member(job.owner, job.team):
            return f"It does not run as its owner any more: {reason}"
        return None

    async def shown(self, stored: StoredJob) -> StoredJob:
        """Return a job with the reason why it does not run, as far as that is known now."""
        try:
            reason = await self.held(stored)
        except Unavailable:
            return stored
        return stored.model_copy(update={"held": reason}) if reason else stored


def hint(stored: StoredJob) -> str:
    """Say what to do about a job that is held."""
    job = stored.job
    if stored.offered_by is not None:
        return f"{job.owner} takes it with `element jobs resume {job.id}`."
    return f"A lead of the team '{job.team}' can hand it over: `element jobs hand-over {job.id}`."


def _executed(job: Job) -> tuple[object, ...]:
    return job.as_team, job.snapshot_id, job.environment, job.tasks
