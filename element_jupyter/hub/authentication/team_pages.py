"""The way to the servers of one's teams: on the Hub's home page, and on a page of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat
from tornado.web import authenticated

from element_jupyter.core.errors import Conflict, ElementError, NotFound
from element_jupyter.core.team_servers import account_of, level_in
from element_jupyter.core.teams import Level, teams_of_groups
from element_jupyter.core.values import Name

PATH: Final = "/teams"


@dataclass(frozen=True)
class TeamServer:
    """A team of somebody, and how its server is; what the templates show."""

    team: Name
    title: str
    level: Level
    pending: str | None
    """`spawn` or `stop`, while the Hub does that."""
    ready: bool

    @property
    def may_start(self) -> bool:
        return self.level.covers(Level.MEMBER)


def servers_of(user: Any, authenticator: Any) -> list[TeamServer]:
    """Return the servers of all teams that somebody is in, in the order of their names.

    Args:
        user: the Hub's user; None where nobody has signed in.
    """
    if user is None:
        return []
    groups = [group.name for group in user.orm_user.groups]
    rules = authenticator.rules_now()
    found = []
    for team in sorted(teams_of_groups(groups)):
        owner = None if team == user.name else _owner_of(team, authenticator)
        level = level_in(team, user.name, groups, admin=bool(user.admin))
        if owner is None or level is None:
            continue
        named = rules.teams.get(team) if rules else None
        found.append(
            TeamServer(
                team=team,
                title=named.title if named else "",
                level=level,
                pending=owner.spawner.pending or None,
                ready=bool(owner.spawner.ready),
            )
        )
    return found


def _owner_of(team: Name, authenticator: Any) -> Any:
    try:
        return authenticator.parent.users[account_of(team)]
    except KeyError:
        return None


class TeamsPage(SpawnHandler):
    """Lists one's teams, and opens the JupyterLab of one."""

    @authenticated
    async def get(self) -> None:
        """List them."""
        await self._show()

    @authenticated
    async def post(self) -> None:
        """Open the JupyterLab of a team, which a member starts by that if it does not run."""
        try:
            await self._open(self.get_body_argument("team", ""))
        except ElementError as error:
            await self._show(error)

    async def _show(self, refusal: ElementError | None = None) -> None:
        self.set_header("Cache-Control", "no-store")
        if refusal is not None:
            self.set_status(refusal.status)
        self.finish(await self.render_template("teams.html", refusal=refusal))

    async def _open(self, team: str) -> None:
        """Lead to the server of a team, or to the page on which one waits for it.

        Raises:
            NotFound: they are in no such team.
            Conflict: it does not run, and is not theirs to start.
        """
        mine = servers_of(self.current_user, self.authenticator)
        found = next((each for each in mine if each.team == team), None)
        if found is None:
            raise NotFound("You are in no team of that name.")
        owner = self.find_user(account_of(found.team))
        lab = url_path_join(owner.url, "lab")
        # one that has died by itself is noticed here, and can be started again
        if found.ready and await owner.spawner.poll_and_notify() is None:
            self.redirect(lab)
            return
        if not found.may_start:
            raise Conflict(
                f"The server of the team '{found.team}' does not run.",
                "A member of the team starts it; then you can look into it.",
            )
        spawner = owner.get_or_create_spawner("", "", replace_failed=True)
        waiting = url_path_join(self.hub.base_url, "spawn-pending", owner.escaped_name)
        waiting = url_concat(waiting, {"next": lab})
        if spawner.pending:
            self.redirect(waiting)
            return
        self.log.info("%s starts the server of the team %s", self.current_user.name, found.team)
        size = (spawner.user_options or {}).get("size")
        options = {"size": size} if size else {}
        await self._wrap_spawn_single_user(owner, "", "", spawner, waiting, options)
