"""What Element adds to any spawner: who may start what, at which size, and what is told at the end.

All is decided in `start`, which comes after every hook, so that nothing that an administrator or a
person sets before it can raise what is given. What must be told or given back at an end is done
in `run_post_stop_hook`: the Hub calls it for servers that were stopped, that failed to start, and
that died by themselves, also while the Hub did not run.

A run's server needs a ticket that the control plane has made for it. The ticket is taken out of
the options before the Hub writes them down; what a person posts as `run` is refused without it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jupyterhub import orm
from jupyterhub.spawner import SpawnException
from jupyterhub.utils import maybe_future
from pydantic import ValidationError
from sqlalchemy import event
from traitlets import default, validate
from traitlets.config import LoggingConfigurable

from element_jupyter.core.confinement import Spent
from element_jupyter.core.errors import ElementError, Forbidden, NotFound, Unavailable
from element_jupyter.core.provisioning import Launch, ProcessExit
from element_jupyter.core.quotas.allocations import Ended
from element_jupyter.core.sizes import Size
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.hub.spawner import options as forms
from element_jupyter.hub.spawner.held import Held, Released, Services
from element_jupyter.hub.spawner.in_teams import levels_of
from element_jupyter.hub.spawner.metering import Metered

RUN: Final = "run"
TICKET: Final = "ticket"
TEAM_SERVER: Final = ("python", "-m", "element_jupyter.platform.team_server")
"""What a team's own server executes, which tells its people apart."""
_STATE: Final = "element"
_TELL_SECONDS: Final = (0.2, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0)
"""Pauses between tries to tell the control plane of an end."""
_HUBS_OWN: Final = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_CLIENT_ID")
"""What a run has no use for: it has a token of its own, which may do less."""


if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner as Beneath
else:
    Beneath = LoggingConfigurable  # what has traits must be made for it


def _without_ticket(_target: Any, value: Any, _previous: Any, _initiator: Any) -> Any:
    if isinstance(value, dict) and TICKET in value:
        return {name: each for name, each in value.items() if name != TICKET}
    return value


# the Hub stores the options before anything of a spawner is called
event.listen(orm.Spawner.user_options, "set", _without_ticket, retval=True)


class EnforcingMixin(Beneath):
    """Over a spawner's class by `wrap`; `services` is what the composition hands in."""

    services: Services
    user_options: dict[str, Any]
    held: Held | None = None
    """What was given; not cleared by `clear_state`, which backends call when they see an end."""

    _launch: Launch | None = None
    _ticket: object = None
    _told: str | None = None
    _releasing: asyncio.Lock | None = None
    _ending_suspended = False

    @property
    def given(self) -> Held:
        """What was given to the server that is being started."""
        if self.held is None:
            raise Unavailable("This server was stopped while it was being started.")
        return self.held

    # ---------------------------------------------------------------- for backends to override

    def give(self, size: Size) -> None:
        """Set the backend's own limits to a size."""
        self.mem_limit = size.memory_bytes
        self.cpu_limit = size.cpu

    def keeps(self, option: str) -> bool:
        """Whether the backend may see an option; others could change what it is told to give."""
        return option in {forms.SIZE, forms.TEAM, RUN}

    async def leave(self) -> Spent:
        """Take away what the backend's server has left, and say what it used."""
        return Spent()

    def metered(self) -> Metered | None:
        """Say where the server's use can be read."""
        return None

    async def bar(self) -> None:
        """Let nothing else run as somebody who was suspended."""

    async def how_it_ended(self) -> ProcessExit:
        """Say how the last process ended."""
        return ProcessExit()

    async def stages(self) -> AsyncIterator[str]:
        """Say what the start waits for, as it goes on."""
        async for event_of_backend in super().progress():
            yield event_of_backend.get("message", "")

    # ------------------------------------------------------------------------------- the form

    @default("options_form")
    def _options_form(self) -> Any:
        return _form_of

    @default("options_from_form")
    def _options_from_form(self) -> Any:
        return _from_form

    @default("oauth_client_allowed_scopes")
    def _oauth_client_allowed_scopes(self) -> list[str]:
        return _scopes_of_visitors(self)

    @validate("user_options")
    def _take_ticket(self, proposal: Any) -> dict[str, Any]:
        given = dict(proposal["value"] or {})
        self._ticket = given.pop(TICKET, None)
        return given

    # --------------------------------------------------------------------------------- starting

    async def start(self) -> Any:
        if self.held is not None:
            await self.release()  # of a server that ended as the Hub was killed
        try:
            await self._admit()
            return await super().start()
        except ElementError as error:
            raise _refusal(error) from error

    async def _admit(self) -> None:
        """Decide whether this server may start, and what it is given.

        Raises:
            Forbidden, Invalid, NotFound: it may not; says what to do.
            Unavailable: the control plane, which is to say so, does not answer.
        """
        person = self.user.name
        given, ticket = self.user_options, self._ticket
        self._ticket = self._launch = self._told = None
        levels = levels_of(self.user)
        of_team = team_of_account(person)
        forms.team_of(person, levels, None)
        sizes = self.services.sizes()
        run_id = forms.chosen(given, RUN)
        if run_id is not None:
            self._launch = launch = await self._redeemed(run_id, ticket, person)
            team, size = launch.team, sizes.get(launch.size)
        else:
            team = of_team or forms.chosen(given, forms.TEAM) or person
            size = sizes.get(forms.chosen(given, forms.SIZE))
        self.held = held = Held(
            owner=person,
            server=self.name,
            team=team,
            size=size,
            run_id=run_id,
            since=datetime.now(UTC),
        )
        try:
            forms.team_of(person, levels, team)
            self.give(size)
            if run_id is None and self.services.reservations is not None:
                await self.services.reservations.reserve(held.allocation, levels.get(team))
        except BaseException:
            if run_id is None:
                self.held = None  # nothing has begun
            raise
        self.user_options = {name: value for name, value in given.items() if self.keeps(name)}
        if self._launch is not None:
            self.cmd = list(self._launch.command)
        elif of_team is not None:
            self.cmd = list(TEAM_SERVER)
            self._ask_no_visitor()
        self._follow_use()
        self.log.info(
            "%s starts %s at %s for %s", person, run_id or "a server", size.name, held.team
        )

    def _ask_no_visitor(self) -> None:
        """Have the Hub not ask people of a team whether its server may know who they are."""
        if not self.name and team_of_account(self.user.name) is not None:
            self.user.settings.setdefault("oauth_no_confirm_list", set()).add(self.oauth_client_id)

    async def _redeemed(self, run_id: str, ticket: object, person: str) -> Launch:
        launcher = self.services.launcher
        if launcher is None or not isinstance(ticket, str) or not ticket:
            raise Forbidden(
                "A run is started by the control plane alone.",
                "Start it in JupyterLab, or with `element run` or `element jobs trigger`.",
            )
        launch = await launcher.redeem(run_id, ticket, person)
        if launch.owner != person:
            raise Forbidden(f"The run {run_id} is not one of {person}.")
        return launch

    def get_args(self) -> list[str]:
        return [] if self._launch is not None else super().get_args()

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        if self.held is None:
            return env
        size = self.held.size
        env |= {
            "ELEMENT_SIZE": size.name,
            "ELEMENT_TEAM": self.held.team,
            "MEM_LIMIT": str(size.memory_bytes),
            "CPU_LIMIT": str(size.cpu),
        }
        if self.services.url:
            env["ELEMENT_URL"] = self.services.url
        if team_of_account(self.user.name) is not None:
            env["ELEMENT_COLLABORATION_DIR"] = self.services.collaboration_dir
        if self._launch is not None:
            for name in [*_HUBS_OWN, *(name for name in env if "OAUTH" in name)]:
                env.pop(name, None)
            env |= self._launch.environment
        return env

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        if self.held is not None:
            held = self.held
            said = f"{held.size.called} ({forms.amounts(held.size)}), for the team {held.team}"
            yield {"progress": 10, "message": said}
        percent = 20
        async for line in self.stages():
            yield {"progress": percent, "message": line}
            percent = min(90, percent + 20)

    # ----------------------------------------------------------------------------------- state

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.held is not None:
            state[_STATE] = self.held.model_dump(mode="json")
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._ask_no_visitor()
        if _STATE in state:
            try:
                self.held = Held.model_validate(state[_STATE])
                self._follow_use()
            except ValidationError:
                self.log.exception("what the Hub has stored of a server is not readable")

    def _follow_use(self) -> None:
        if self.services.meter is not None:
            self.services.meter.follow(self)

    # --------------------------------------------------------------------------------- the end

    async def poll(self) -> int | None:
        status: int | None = await super().poll()
        if status is None and not self.pending and not self._ending_suspended and self.suspended:
            self._ending_suspended = True
            task = asyncio.ensure_future(self._end_suspended())
            _telling.add(task)
            task.add_done_callback(_telling.discard)
        return status

    @property
    def suspended(self) -> bool:
        return self.user.name not in levels_of(self.user)

    async def _end_suspended(self) -> None:
        self.log.warning("%s is suspended: their server '%s' ends", self.user.name, self.name)
        try:
            await self.stop(now=True)
            if self.suspended:  # still
                await self.bar()
            await self.poll_and_notify()
        except ElementError as error:
            self.log.warning("%s", error.message)
        finally:
            self._ending_suspended = False

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - the Hub's own
        await super().stop(now)
        await self.release()  # while the Hub's database still says that there is a server

    async def run_post_stop_hook(self) -> None:
        try:
            await self.release()
        finally:
            await maybe_future(super().run_post_stop_hook())

    async def release(self) -> None:
        """Take away what is left of a server that has ended, and tell what it was; once."""
        if self._releasing is None:
            self._releasing = asyncio.Lock()
        async with self._releasing:
            await self._release()

    async def _release(self) -> None:
        spent = await self.leave()
        # poll() may have cleared the backend's state by now; this it does not know of
        held, self.held = self.held, None
        self._launch = None
        if held is None:
            return
        how = with_memory(await self.how_it_ended(), spent)
        until = datetime.now(UTC)
        if self.services.reservations is not None:
            ended = Ended(ended_at=until, how=how.words, spent=spent)
            await self.services.reservations.release(held.allocation_id, ended)
        if held.run_id is not None:
            self.tell_end(held.run_id, how)
        if self.services.released is not None:
            await self.services.released(Released(held=held, until=until, spent=spent, how=how))

    def tell_end(self, run_id: str, how: ProcessExit) -> None:
        """Tell the control plane, once and without waiting for it, that a run's process ended."""
        if self._told == run_id:
            return
        self._told = run_id
        task = asyncio.ensure_future(self._tell(run_id, how))
        _telling.add(task)
        task.add_done_callback(_telling.discard)

    async def _tell(self, run_id: str, how: ProcessExit) -> None:
        launcher = self.services.launcher
        if launcher is None:
            return
        for pause_seconds in (*_TELL_SECONDS, None):
            try:
                await launcher.ended(run_id, how, out_of_memory=how.out_of_memory)
            except Unavailable as error:
                if pause_seconds is None:
                    self.log.warning("%s ended, which nobody was told: %s", run_id, error.message)
                    return
                await asyncio.sleep(pause_seconds)
            except ElementError as error:
                self.log.warning("the control plane does not want to know: %s", error.message)
                return
            else:
                return


def with_memory(how: ProcessExit, spent: Spent) -> ProcessExit:
    """Say of an end whether want of memory came before it: of a kill, or of one nobody saw."""
    by_memory = spent.memory_kills > 0 and (how.signal == signal.SIGKILL or how.code is None)
    return how.model_copy(update={"out_of_memory": by_memory})


_telling: set[asyncio.Task[None]] = set()


async def _form_of(spawner: Any) -> str:
    person = spawner.user.name
    levels = levels_of(spawner.user)
    before = spawner.user_options or {}
    services: Services = spawner.services
    return forms.render(
        services.sizes(),
        forms.usable_teams(person, levels),
        services.free(),
        size=_text(before.get(forms.SIZE)),
        team=_text(before.get(forms.TEAM)),
    )


def _scopes_of_visitors(spawner: Any) -> list[str]:
    """Return what a server may do in the name of who visits it: a team's shows who they are.

    Not more: its members execute there, and could ask as whoever visits. The control plane takes
    such a token for what it says, somebody in the server of that team (`core.access.Visitor`).
    """
    return [] if team_of_account(spawner.user.name) is None else ["read:users!user"]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _from_form(sent: dict[str, list[str]]) -> dict[str, str]:
    return {
        name: values[0]
        for name in (forms.SIZE, forms.TEAM)
        if (values := sent.get(name)) and values[0]
    }


def _refusal(error: ElementError) -> SpawnException:
    # 404 would say that there is no such person
    status = 400 if isinstance(error, NotFound) else error.status
    return SpawnException(
        f"{error.message} {error.hint}".strip(),
        reason=f"element_{error.code}",
        status_code=status,
    )
