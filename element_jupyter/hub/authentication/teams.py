"""Rights of people by the rules of `teams.yaml`, on top of any authenticator of the Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import traitlets
from jupyterhub import orm
from jupyterhub.auth import Authenticator
from jupyterhub.roles import get_default_roles
from jupyterhub.utils import maybe_future
from tornado.web import HTTPError

from element_jupyter.core.errors import ElementError
from element_jupyter.core.teams import Level, Membership, TeamRules, person_name, teams_of_groups
from element_jupyter.hub.authentication.names import RESERVED, is_nobodys
from element_jupyter.hub.authentication.overview import SignInOverview
from element_jupyter.hub.authentication.sessions import begin_session, end_sessions
from element_jupyter.hub.authentication.sign_out import SignOut
from element_jupyter.hub.authentication.standing import (
    TEAM_ACCOUNT,
    Absence,
    Found,
    admits,
    membership_of,
    roles_of,
)
from element_jupyter.hub.authentication.team_accounts import give_accounts
from element_jupyter.hub.authentication.team_pages import PATH, TeamsPage, servers_of

TEMPLATES = Path(__file__).parent / "templates"

_KEPT = "element"
"""The key of `auth_state` under which the last known groups are."""


class TeamsFromRules(Authenticator):
    """Mix in before an authenticator: `class Ours(TeamsFromRules, Theirs)`.

    What the authenticator says of a person (a user name, groups) becomes a name, the Hub's groups
    `team:level`, roles and `admin`, by rules that are read anew each time. Somebody who is gone
    keeps no group; while the directory does not answer, what was known stays.

    An authenticator that can tell more than the Hub asks overrides `identify` and `look_up`.
    """

    rules = traitlets.Callable(
        TeamRules,
        help="""
        Returns what `teams.yaml` says now. Handed in by Element.
        """,
    ).tag(config=True)

    ask = traitlets.Unicode(
        "an administrator of this Hub",
        help="Whom somebody may ask who is not let in; ends the sentence “Ask …”.",
    ).tag(config=True)

    reserved_names = traitlets.Set(
        RESERVED,
        help="""
        Names that no person may have, beside those of teams, of accounts of the machine, and all
        that begin with `team-` or `element-`.
        """,
    ).tag(config=True)

    manage_groups = traitlets.Bool(
        True, help="The Hub's groups are those that the rules grant, and no others."
    ).tag(config=True)
    manage_roles = traitlets.Bool(
        True, help="The Hub's roles of people follow from their teams."
    ).tag(config=True)
    auth_refresh_age = traitlets.Integer(
        30, help="Seconds for which what is known of a person is taken to be true."
    ).tag(config=True)
    refresh_pre_spawn = traitlets.Bool(
        True, help="Ask who somebody is before each start of a server or run of theirs."
    ).tag(config=True)
    any_allow_config = traitlets.Bool(
        True, help="The rules say who is let in; the Hub's own settings for it are not needed."
    ).tag(config=True)

    roles_of: Callable[[str, Membership], list[dict[str, Any]]] = staticmethod(roles_of)
    """The Hub's roles that follow from somebody's teams; a subclass may say others."""

    logout_handler: ClassVar[type] = SignOut
    has_accounts: ClassVar[bool] = False
    """Whether people's passwords are kept here."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        paths = getattr(self.parent, "template_paths", None)
        if paths is not None and str(TEMPLATES) not in paths:
            # what an administrator has put there comes first, the Hub's own last
            last = 1 if paths and Path(paths[-1]).parts[-2:] == ("jupyterhub", "templates") else 0
            paths.insert(len(paths) - last, str(TEMPLATES))
        variables = getattr(self.parent, "template_vars", None)
        if variables is not None:
            variables["team_servers"] = lambda user: servers_of(user, self)

    # ------------------------------------------------------------------ what may be overridden

    async def identify(self, handler: Any, data: Any) -> Found | None:
        """Say who signs in; None when the credentials are wrong."""
        model = await maybe_future(super().authenticate(handler, data))
        if not model:
            return None
        model = model if isinstance(model, dict) else {"name": model}
        return Found(
            identity=model["name"],
            groups=frozenset(model.get("groups") or ()),
            admin=bool(model.get("admin")),
            auth_state=model.get("auth_state") or {},
        )

    async def look_up(self, user: Any, kept: Found | None, handler: Any) -> Found | Absence:
        """Say what is true now of somebody who has signed in before.

        Args:
            kept: what was found last, where that is kept (`enable_auth_state`).
        """
        model = await maybe_future(super().refresh_user(user, handler))
        if model is True:
            return kept or Absence.UNREACHABLE
        if not model:
            return Absence.SIGN_IN_AGAIN
        return Found(
            identity=model.get("name", user.name),
            groups=frozenset(model.get("groups") or ()),
            auth_state=model.get("auth_state") or {},
        )

    @property
    def source(self) -> str:
        """What says who people are, as `element up` names it."""
        return str(self.login_service or type(self).__name__)

    async def may_exist(self, name: str) -> bool:
        """Whether somebody of this name could sign in; yes, where nobody can tell."""
        return True

    # ------------------------------------------------------------------------- what the Hub asks

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Add how to sign out, what `element up` asks, and the page of one's teams."""
        return [
            ("/api/element/sign-in", SignInOverview),
            ("/logout", self.logout_handler),
            (PATH, TeamsPage),
            *super().get_handlers(app),
        ]

    async def authenticate(self, handler: Any, data: Any = None) -> dict[str, Any] | None:
        """Identify somebody and say what they may; refuses with a sentence whom to ask."""
        found = await self.identify(handler, data)
        if found is None:
            return None
        person = person_name(found.identity)
        rules = self.rules_now()
        if rules is None:
            raise HTTPError(503, f"{_short(found.identity)} cannot be let in now. Ask {self.ask}.")
        user = handler.find_user(person)
        self.refuse_taken(person, found.identity, handler.db, known=user is not None)
        if user is not None:
            await self._refuse_another(found, user)
        if not admits(found, person, rules):
            self.log.warning("%s is in no team, and not let in.", person)
            raise HTTPError(
                403,
                f"{_short(found.identity)} is in no team here. Ask {self.ask} to add you to one.",
            )
        begin_session(handler)
        return self._model(person, found, rules, handler.db)

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> dict[str, Any] | bool:
        """Say what somebody may now; False when they must sign in again."""
        if user.name.startswith(TEAM_ACCOUNT):
            return True
        rules = self.rules_now()
        if rules is None:
            return True
        kept = await self._kept(user)
        found = await self.look_up(user, kept, handler)
        if isinstance(found, Found) and not _is_same(found, kept, user.name):
            self.log.error("%s is the name of another account now.", user.name)
            found = Absence.GONE
        if found is Absence.SIGN_IN_AGAIN:
            end_sessions(user, signed_in=True)
            if _is_in_browser(handler, user):
                return False
        if found is Absence.SIGN_IN_AGAIN or found is Absence.UNREACHABLE:
            if kept is None:
                return True
            found = kept
        if isinstance(found, Absence) or not admits(found, user.name, rules):
            return await self._nothing(user)
        return self._model(user.name, found, rules, user.db)

    async def check_allowed(self, username: str, authentication: Any = None) -> bool:
        """Nobody gets as far whom the rules do not let in."""
        return True

    def pre_spawn_start(self, user: Any, spawner: Any) -> Any:
        """Refuse to start anything of somebody who has lost all rights.

        Raises:
            HTTPError: 403, with whom to ask.
        """
        if not user.name.startswith(TEAM_ACCOUNT):
            groups = [group.name for group in user.orm_user.groups]
            if user.name not in teams_of_groups(groups):
                raise HTTPError(403, f"{user.name} is suspended. Ask {self.ask}.")
        return super().pre_spawn_start(user, spawner)

    def rules_now(self) -> TeamRules | None:
        """Return the rules, or None when there are none that can be read."""
        try:
            rules: TeamRules = self.rules()
        except ElementError as error:
            said = f"{error.message} {error.hint}".strip()
            self.log.error("%s Nobody can sign in until it is right.", said)  # noqa: TRY400
            return None
        return rules

    def refuse_taken(self, person: str, identity: str, database: Any, *, known: bool) -> None:
        """Refuse a name that no person may have, or that is a team's.

        Args:
            known: somebody has signed in under it before.

        Raises:
            HTTPError: 403.
        """
        taken = is_nobodys(person, self.reserved_names)
        # whoever was there first keeps the name: see `_without_people`
        if not known and (self.rules().takes(person) or _others_in_team(person, database)):
            taken = True
        if taken:
            self.log.error("%s is a name that no person may have; not let in.", person)
            raise HTTPError(403, f"The name {_short(identity)} is taken. Ask {self.ask}.")

    # --------------------------------------------------------------------------------- inside

    async def _refuse_another(self, found: Found, user: Any) -> None:
        before = (await self._remembered(user)).get("subject")
        if before and found.subject and before != found.subject:
            self.log.error("%s was the name of another account before; not let in.", user.name)
            name = _short(found.identity)
            raise HTTPError(403, f"{name} was the name of another before. Ask {self.ask}.")

    def _model(self, person: str, found: Found, rules: TeamRules, database: Any) -> dict[str, Any]:
        membership = self._without_people(person, membership_of(found, person, rules), database)
        admin = membership.admin or person in self.admin_users
        give_accounts((team for team in membership.teams if team != person), database)
        roles = [_default_role(name, database) for name in (["user", *(["admin"] * admin)])]
        model: dict[str, Any] = {
            "name": person,
            "groups": membership.groups,
            "roles": [*roles, *self.roles_of(person, membership)],
            "admin": admin,
        }
        if self.enable_auth_state:
            kept = {
                "identity": found.identity,
                "groups": sorted(found.groups),
                "levels": {team: str(level) for team, level in found.levels.items()},
                "admin": found.admin,
                "invited": found.invited,
                "subject": found.subject,
            }
            model["auth_state"] = {**found.auth_state, _KEPT: kept}
        return model

    async def _nothing(self, user: Any) -> dict[str, Any]:
        if user.orm_user.groups or user.orm_user.roles:
            self.log.warning("%s has no rights any more.", user.name)
            end_sessions(user)
        subject = (await self._remembered(user)).get("subject")
        return {
            "name": user.name,
            "groups": [],
            "roles": [],
            "admin": False,
            # whose name it was, so that it is not given to somebody else
            "auth_state": {_KEPT: {"subject": subject}} if subject else None,
        }

    def _without_people(self, person: str, membership: Membership, database: Any) -> Membership:
        others = set(membership.teams) - {person}
        if not others:
            return membership
        named = database.query(orm.User.name).filter(orm.User.name.in_(others))
        people = {name for (name,) in named}
        if people:
            self.log.error(
                "Teams that bear the names of people are left out: %s.", ", ".join(sorted(people))
            )
        kept = {team: level for team, level in membership.teams.items() if team not in people}
        return membership.model_copy(update={"teams": kept})

    async def _remembered(self, user: Any) -> dict[str, Any]:
        if not self.enable_auth_state:
            return {}
        return dict((await user.get_auth_state() or {}).get(_KEPT) or {})

    async def _kept(self, user: Any) -> Found | None:
        kept = await self._remembered(user)
        if "identity" not in kept:
            return None
        levels = {team: Level(level) for team, level in kept.pop("levels").items()}
        groups = frozenset(kept.pop("groups"))
        state = dict(await user.get_auth_state())
        del state[_KEPT]
        return Found(**kept, groups=groups, levels=levels, auth_state=state)


def _short(identity: str) -> str:
    return identity if len(identity) <= 64 else f"{identity[:63]}…"


def _is_same(found: Found, kept: Found | None, person: str) -> bool:
    before = kept.subject if kept is not None else ""
    same_account = not before or not found.subject or before == found.subject
    return same_account and person_name(found.identity) == person


def _is_in_browser(handler: Any, user: Any) -> bool:
    mine = getattr(handler, "_jupyterhub_user", None) is user
    return mine and not getattr(handler, "_token_authenticated", False)


def _others_in_team(team: str, database: Any) -> bool:
    named = orm.Group.name.startswith(f"{team}:", autoescape=True)
    groups = database.query(orm.Group).filter(named)
    return any(user.name != team for group in groups for user in group.users)


def _default_role(name: str, database: Any) -> dict[str, Any]:
    """Return a role as it is, since the Hub takes what is said of one for a change of it."""
    role = orm.Role.find(database, name)
    if role is None:
        return dict(next(each for each in get_default_roles() if each["name"] == name))
    return {"name": name, "description": role.description, "scopes": list(role.scopes)}
