"""`element up`: the platform in the foreground."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from element_jupyter import config
from element_jupyter.cli.output import JsonOption, print_json
from element_jupyter.platform.notebooks_at_stop import Waiting
from element_jupyter.platform.supervisor import Component, State, Status
from element_jupyter.platform.up import Place, Platform, Stop

if TYPE_CHECKING:
    from element_jupyter.platform.hub.authentication import SignIn
    from element_jupyter.platform.hub.setup import HubSetup

_SAME_SECONDS: Final = 1.0
"""A wrapper passes Ctrl-C on to a program that has had it already."""


def up(  # noqa: PLR0917 - options of a command
    data: Annotated[
        Path | None, typer.Option("--data", help="Data directory.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the control plane.", show_default=False)
    ] = None,
    public_port: Annotated[
        int | None,
        typer.Option("--public-port", help="Port that people open.", show_default=False),
    ] = None,
    public_host: Annotated[
        str | None,
        typer.Option(
            "--public-host",
            help="Address that others may open; needs a certificate.",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="Certificate with its chain (PEM).", show_default=False),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its private key (PEM).", show_default=False)
    ] = None,
    leave_runs: Annotated[
        bool,
        typer.Option(
            "--leave-runs",
            help="When it is stopped, let running notebooks go on for the next `element up`.",
        ),
    ] = False,
    on_demand: Annotated[
        bool,
        typer.Option(
            "--on-demand",
            help="Run notebooks, and nothing else, until none has run for a while or another"
            " `element up` is started: what JupyterLab starts by itself.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the platform on this machine, in the foreground; Ctrl-C stops all of it.

    Notebooks that run are stopped first, and waited for; a second Ctrl-C kills them. What is queued
    stays queued. With --json, a line for each thing that happens: `component`, `ready`, `stopped`.
    """
    settings = config.load(
        data_dir=str(data) if data else None,
        port=port,
        public_port=public_port,
        public_host=public_host,
        tls_cert=str(tls_cert) if tls_cert else None,
        tls_key=str(tls_key) if tls_key else None,
    )
    if settings.hub and not on_demand:
        from element_jupyter.platform.hub.people import refuse_impossible_owner

        refuse_impossible_owner(settings.owner)
    console = Console(stderr=True, highlight=False)
    tell = functools.partial(print_json, indent=None) if as_json else _nothing
    how = _How(leave_runs=leave_runs, on_demand=on_demand)
    asyncio.run(_run(settings, console, tell, how))


Tell = Callable[[dict[str, Any]], None]


def _nothing(_: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class _How:
    leave_runs: bool
    on_demand: bool


async def _run(settings: config.Element, console: Console, tell: Tell, how: _How) -> None:
    # who ends one that was started on demand wants the notebooks to go on
    stop = Stop(leave_runs=how.leave_runs or how.on_demand)
    loop = asyncio.get_running_loop()
    asked_at = 0.0

    def ask_to_stop() -> None:
        nonlocal asked_at
        if not stop.asked.is_set():
            asked_at = loop.time()
            console.print("Stopping…")
            stop.asked.set()
        elif loop.time() - asked_at > _SAME_SECONDS:
            stop.hurry.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask_to_stop)

    def waiting(waiting: Waiting) -> None:
        notebooks = "1 notebook" if waiting.notebooks == 1 else f"{waiting.notebooks} notebooks"
        console.print(
            f"Killing {notebooks}."
            if waiting.killed
            else f"Waiting for {notebooks} to stop, at most {waiting.at_most_seconds:.0f} s; "
            "Ctrl-C again kills.",
            soft_wrap=True,
        )

    platform = Platform(settings, _Progress(console, tell), waiting, on_demand=how.on_demand)
    ready = _Ready(settings, console, tell)
    try:
        left = await platform.run(ready, stop)
    finally:
        await ready.close()
    tell({"event": "stopped", "runs_left": left})
    console.print("Stopped.")
    if left:
        runs = (
            "1 notebook that runs goes on; the next `element up` has it again."
            if left == 1
            else f"{left} notebooks that run go on; the next `element up` has them again."
        )
        console.print(runs, soft_wrap=True)


class _Ready:
    """Says where everything is, and then, which the Hub is asked, who may sign in."""

    def __init__(self, settings: config.Element, console: Console, tell: Tell) -> None:
        self._settings = settings
        self._console = console
        self._tell = tell
        self._asking: asyncio.Task[None] | None = None

    def __call__(self, place: Place) -> None:
        self._tell(
            {
                "event": "ready",
                "service_url": place.service_url,
                "airflow_url": place.airflow_url,
                "public_url": place.hub.public_url if place.hub else None,
                "data_dir": str(self._settings.data),
            }
        )
        shown = place.hub.public_url if place.hub else place.service_url
        self._say(f"[bold]Element is ready[/]  {shown}   data in {self._settings.data}")
        if place.hub is not None:
            self._asking = asyncio.get_running_loop().create_task(self._sign_in(place.hub))
        elif place.airflow_url:
            self._say(f"Airflow runs at {place.airflow_url}. Ctrl-C stops everything.")

    async def close(self) -> None:
        """Say nothing more; raises what went wrong."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _sign_in(self, hub: HubSetup) -> None:
        from element_jupyter.platform.hub.authentication import ask_sign_in, first_admin_link
        from element_jupyter.platform.hub.people import serves_one_because

        settings = self._settings
        because = serves_one_because()
        if because is not None:
            self._say(f"It serves {settings.owner} alone. {because}")
        said = await ask_sign_in(settings, hub.api_url)
        if said is not None and said.accounts:
            if (link := first_admin_link(settings, hub.public_url)) is not None:
                self._say(
                    f"Sign in as {settings.owner}, who administers it: choose a password at\n"
                    f"  {link}\n"
                    "The link can be used once; the next `element up` prints another until it has"
                    " been."
                )
        elif said is not None:
            for sentence in _of_directory(settings, said):
                self._say(escape(sentence))
        self._say("Ctrl-C stops everything.")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _of_directory(settings: config.Element, said: SignIn) -> Iterator[str]:
    rules = settings.teams_file or settings.data / "teams.yaml"
    yield f"People sign in with what {said.source} knows of them."
    yield (
        f"By {rules}, these administer it: {', '.join(said.admins)}."
        if said.admins
        else f"Nobody administers it: name people or groups under `admins` in {rules}."
    )
    if said.owner == "nobody":
        yield (
            f"Element.owner is {settings.owner}, of whom {said.source} knows nothing: what is"
            " started here with the platform's own token is refused. Set it (ELEMENT_OWNER) to"
            " the user name of somebody who can sign in."
        )
    elif said.owner == "not yet":
        yield (
            f"Element.owner is {settings.owner}: what is started here with the platform's own token"
            " is refused until somebody of this name has signed in, and is in a team."
        )


class _Progress:
    """One line for each component that starts, is ready, fails or has been stopped."""

    def __init__(self, console: Console, tell: Tell) -> None:
        self._console = console
        self._tell = tell
        self._shown: dict[str, State] = {}

    def __call__(self, component: Component, status: Status) -> None:
        before = self._shown.get(component.name)
        if before is status.state:
            return
        self._shown[component.name] = status.state
        self._tell({"event": "component", "name": component.name, "state": status.state})
        if status.state is State.READY and status.ready_after_seconds is not None:
            self._line("green", "ready", component, f"in {status.ready_after_seconds:.1f} s")
        elif status.state is State.RESTARTING:
            self._line("yellow", "restarting", component, f"{status.reason}; {component.log}")
        elif status.state is State.STARTING and self._console.is_terminal:
            self._line("dim", "starting", component, "")

    def _line(self, style: str, word: str, component: Component, detail: str) -> None:
        self._console.print(
            f"  [{style}]{word:<10}[/] {component.title:<24} {detail}", soft_wrap=True
        )
