"""The pages of local accounts: accept an invitation, change the password, and the people."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, authenticated

from element_jupyter.core.errors import Conflict, ElementError, Invalid, NotFound
from element_jupyter.core.teams import Level, TeamRules, person_name
from element_jupyter.core.values import Name, slug
from element_jupyter.hub.authentication.accounts import SHORTEST_PASSWORD, Link, link_url
from element_jupyter.hub.authentication.sessions import begin_session, end_sessions

_REFUSALS = (Invalid, NotFound, Conflict)


class _Page(BaseHandler):
    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")

    async def show(self, page: str, *, refusal: ElementError | None = None, **values: Any) -> None:
        if refusal is not None:
            self.set_status(refusal.status)
        html = await self.render_template(
            page, refusal=refusal, shortest=SHORTEST_PASSWORD, **values
        )
        self.finish(html)

    def new_password(self) -> str:
        """Return the password that was typed twice.

        Raises:
            Invalid: the two differ.
        """
        given = self.get_body_argument("password", "", strip=False)
        if given != self.get_body_argument("again", "", strip=False):
            raise Invalid("The two passwords differ.", "Type both again.", field="password")
        return given


class InvitationPage(_Page):
    """Where the holder of a link chooses a name and a password, and is signed in.

    The link's secret is behind `#`, which no browser sends; the page posts it.
    """

    proved: str | None = None
    """Who has just chosen a password by a link, which no guessing of others may delay."""

    async def get(self) -> None:
        """Ask for the secret; the page fills it in from its own address."""
        await self.show("invitation.html", link=None, secret="", chosen="")

    async def post(self) -> None:
        """Show what the link is for, or use it."""
        secret = self.get_body_argument("secret", "").rpartition("#")[2]
        link = await self.authenticator.in_thread(lambda: self.authenticator.accounts.link(secret))
        if link is None or not self._is_wanted(link):
            gone = NotFound(
                "This link is not good, or not any more.", "Ask whoever sent it for another."
            )
            await self.show("invitation.html", refusal=gone, link=None, secret="", chosen="")
            return
        name = link.person or self.get_body_argument("name", "").strip().lower()
        if self.get_body_argument("password", None) is None:
            await self.show("invitation.html", link=link, secret=secret, chosen=name)
            return
        try:
            password = self.new_password()
            await self._take(link, secret, name, password)
        except _REFUSALS as error:
            await self.show("invitation.html", refusal=error, link=link, secret=secret, chosen=name)
            return
        self.proved = name
        user = await self.login_user({"username": name, "password": password})
        if user is None:
            self.redirect(self.settings["login_url"])
            return
        self.redirect(self.get_next_url(user))

    async def _take(self, link: Link, secret: str, name: str, password: str) -> None:
        accounts = self.authenticator.accounts
        if link.person is None:
            known = self.find_user(name) is not None
            if known:
                raise Conflict(f"{name} is taken.", "Choose another name.", field="name")
            try:
                self.authenticator.refuse_taken(person_name(name), name, self.db, known=False)
            except HTTPError:
                raise Conflict(f"{name} is taken.", "Choose another name.", field="name") from None
        await self.authenticator.in_thread(lambda: accounts.use_link(secret, name, password))
        if link.purpose == "password" and (user := self.find_user(name)) is not None:
            end_sessions(user)
        self.log.info("%s has used a link (%s).", name, link.purpose)

    def _is_wanted(self, link: Link) -> bool:
        return link.purpose == "password" or bool(self.authenticator.invitations)


class PasswordPage(_Page):
    """Where a person changes the password; all other sessions end."""

    @authenticated
    async def get(self) -> None:
        """Ask for the present and the next password."""
        await self.show("password.html", done=False)

    @authenticated
    async def post(self) -> None:
        """Change it."""
        user = self.current_user
        try:
            now = self.get_body_argument("now", "", strip=False)
            if await self.authenticator.compare(self, user.name, now) is None:
                raise Invalid("The present password is not right.", field="now")
            password = self.new_password()
            accounts = self.authenticator.accounts
            await self.authenticator.in_thread(lambda: accounts.set_password(user.name, password))
        except _REFUSALS as error:
            await self.show("password.html", refusal=error, done=False)
            return
        end_sessions(user)
        begin_session(self)
        self.set_login_cookie(user)
        self.log.info("%s has changed the password.", user.name)
        await self.show("password.html", done=True)


class PeoplePage(_Page):
    """Where administrators invite people, and take their rights away."""

    async def prepare(self) -> None:
        """Let nobody in but administrators."""
        await super().prepare()
        if self.current_user is not None and not self.has_scope("admin:users"):
            raise HTTPError(403, f"Only administrators see this. Ask {self.authenticator.ask}.")

    @authenticated
    async def get(self) -> None:
        """List people and open invitations."""
        await self._list()

    @authenticated
    async def post(self) -> None:
        """Do one thing to one person, or invite one."""
        action = self.get_body_argument("action", "")
        name = self.get_body_argument("person", "")
        try:
            link = await self._do(action, name)
        except _REFUSALS as error:
            await self._list(refusal=error)
            return
        self.log.info("%s: %s %s", self.current_user.name, action, name)
        if link is not None:
            await self._list(link=link, link_for=name)
        else:
            self.redirect(f"{self.hub.base_url}people")

    async def _do(self, action: str, name: str) -> str | None:
        accounts, run = self.authenticator.accounts, self.authenticator.in_thread
        me = str(self.current_user.name)
        if action == "invite":
            return await self._invite(me)
        if action == "withdraw":
            await run(lambda: accounts.withdraw(name))
            return None
        if action == "password":
            if await run(lambda: accounts.account(name)) is None:
                raise NotFound(f"There is no account {name}.")
            return await self._link("password", made_by=me, person=name)
        if action in {"suspend", "reinstate"}:
            if name == me:
                raise Invalid("You cannot suspend yourself.", "Ask another administrator.")
            await run(lambda: accounts.suspend(name, suspended=action == "suspend"))
        elif action == "teams":
            teams = _levels(self.get_body_argument("teams", ""))
            await run(lambda: accounts.set_teams(name, teams))
        else:
            raise Invalid(f"{action!r} is nothing that can be done here.", field="action")
        await self._apply(name)
        return None

    async def _invite(self, me: str) -> str:
        if not self.authenticator.invitations:
            raise Invalid(
                "This Hub serves one person.",
                "Invitations need a Hub that is started as root: see `element up`.",
            )
        named = self.get_body_argument("name", "").strip().lower()
        if named and person_name(named) != named:
            raise Invalid(
                f"{named!r} will not do as a name.",
                "Up to 30 small letters and digits, with single . _ or - between them.",
                field="name",
            )
        return await self._link(
            "invitation",
            made_by=me,
            person=named or None,
            admin=self.get_body_argument("admin", "") == "yes",
            teams=_levels(self.get_body_argument("teams", "")),
        )

    async def _link(self, purpose: str, **what: Any) -> str:
        accounts = self.authenticator.accounts
        secret = await self.authenticator.in_thread(lambda: accounts.make_link(purpose, **what))
        public = self.settings["public_url"]
        here = f"{self.request.protocol}://{self.request.host}"
        origin = f"{public.scheme}://{public.netloc}" if public else here
        return link_url(f"{origin}{self.base_url}", secret)

    async def _apply(self, name: str) -> None:
        """Give what changed to somebody who is signed in, at once."""
        user = self.find_user(name)
        if user is not None:
            model = await self.authenticator.refresh_user(user, self)
            if isinstance(model, dict):
                await self.auth_to_user(model, user)

    async def _list(
        self, *, refusal: ElementError | None = None, link: str = "", link_for: str = ""
    ) -> None:
        accounts, run = self.authenticator.accounts, self.authenticator.in_thread
        people = await run(accounts.everybody)
        links = await run(accounts.links)
        rules = self.authenticator.rules_now() or TeamRules()
        await self.show(
            "people.html",
            refusal=refusal,
            link=link,
            link_for=link_for,
            people=[(each, _words(each.teams)) for each in people],
            by_rules={each.name: _by_rules(rules, each.name) for each in people},
            links=[(each, _words(each.teams)) for each in links],
            may_invite=self.authenticator.invitations,
        )


def _by_rules(rules: TeamRules, name: str) -> str:
    found = rules.membership(name)
    teams = {team: level for team, level in found.teams.items() if team != name}
    return ", ".join([*(["administrator"] if found.admin else []), *_pairs(teams)])


def _pairs(teams: Any) -> list[str]:
    return [f"{team}:{level}" for team, level in sorted(teams.items())]


def _words(teams: Any) -> str:
    return ", ".join(_pairs(teams))


def _levels(text: str) -> dict[Name, Level]:
    """Read `ml:lead, ops` as teams with levels; without one, a member."""
    found: dict[Name, Level] = {}
    for part in text.replace(",", " ").split():
        team, _, word = part.partition(":")
        level = next((level for level in Level if level == (word or "member")), None)
        if slug(team, "") != team or level is None:
            raise Invalid(
                f"{part!r} is no team with a level.", "Write it like `ml:member`.", field="teams"
            )
        found[team] = level
    return found
