"""`element up`: the platform in the foreground."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from element_jupyter import config
from element_jupyter.platform.supervisor import Component, State, Status
from element_jupyter.platform.up import Place, Platform


def up(
    data: Annotated[
        Path | None, typer.Option("--data", help="Data directory.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the control plane.", show_default=False)
    ] = None,
) -> None:
    """Start the platform on this machine, in the foreground; Ctrl-C stops all of it."""
    settings = config.load(data_dir=str(data) if data else None, port=port)
    console = Console(stderr=True, highlight=False)
    asyncio.run(_run(Platform(settings, _Progress(console)), console, settings.data))


async def _run(platform: Platform, console: Console, data: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if not stop.is_set():
            console.print("Stopping…")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask_to_stop)

    def ready(place: Place) -> None:
        console.print(f"[bold]Element is ready[/]  {place.service_url}   data in {data}")
        if place.airflow_url:
            console.print(f"Airflow runs at {place.airflow_url}. Ctrl-C stops everything.")

    running = await platform.run(ready, stop)
    console.print("Stopped.")
    if running:
        runs = "1 notebook that runs goes" if running == 1 else f"{running} notebooks that run go"
        console.print(f"{runs} on; the next `element up` has them again.", soft_wrap=True)


class _Progress:
    """One line for each component that starts, is ready, fails or has been stopped."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, State] = {}

    def __call__(self, component: Component, status: Status) -> None:
        before = self._shown.get(component.name)
        if before is status.state:
            return
        self._shown[component.name] = status.state
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
