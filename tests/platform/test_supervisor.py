"""The supervisor with real processes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from element_jupyter.core.errors import Unavailable
from element_jupyter.platform.supervisor import (
    Component,
    Executed,
    Process,
    State,
    Status,
    Supervisor,
)

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); {SLEEP}"


class Journal:
    """What the supervisor told, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, State]] = []

    def __call__(self, component: Component, status: Status) -> None:
        entry = (component.name, status.state)
        if not self.entries or self.entries[-1] != entry:
            self.entries.append(entry)

    def of(self, state: State) -> list[str]:
        return [name for name, entered in self.entries if entered is state]


def component(name: str, code: str = SLEEP, **options: object) -> Component:
    async def launch() -> Process:
        return Executed(subprocess.Popen([sys.executable, "-c", code]))

    return Component(name, name.capitalize(), launch, **options)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_component_starts_when_those_it_needs_are_ready_and_stops_before_them():
    journal = Journal()
    supervisor = Supervisor(
        [component("page", needs=("rest",)), component("rest", needs=("base",)), component("base")],
        journal,
    )
    await supervisor.start()
    assert supervisor.all_ready
    assert journal.of(State.READY) == ["base", "rest", "page"]
    await supervisor.stop()
    assert journal.of(State.STOPPED) == ["page", "rest", "base"]


async def test_a_step_is_done_once_before_what_needs_it(tmp_path):
    mark = tmp_path / "done"
    step = component("step", f"open({str(mark)!r}, 'a').write('x')", once=True)
    supervisor = Supervisor([step, component("rest", needs=("step",))], Journal())
    await supervisor.start()
    assert mark.read_text() == "x"
    assert supervisor.status["step"].pid is None
    await supervisor.stop()


async def test_what_is_killed_is_started_again_and_says_so():
    journal = Journal()
    supervisor = Supervisor([component("base"), component("rest", needs=("base",))], journal)
    await supervisor.start()
    pid = supervisor.status["base"].pid
    assert pid is not None
    subprocess.run(["kill", "-9", str(pid)], check=True)
    await until(lambda: ("base", State.RESTARTING) in journal.entries)
    assert not supervisor.all_ready
    await until(lambda: supervisor.all_ready)
    assert supervisor.status["base"].restarts == 1
    assert supervisor.status["base"].pid != pid
    await supervisor.stop()


async def test_what_hangs_is_killed_and_started_again(tmp_path):
    mark = tmp_path / "hangs"
    reasons: list[str] = []

    async def healthy() -> bool:
        return not mark.exists()

    def changed(_: Component, status: Status) -> None:
        if status.reason:
            reasons.append(status.reason)
            mark.unlink()

    supervisor = Supervisor(
        [component("base", STUBBORN, healthy=healthy, patience_seconds=0.1)],
        changed,
        check_seconds=0.05,
    )
    await supervisor.start()
    mark.touch()
    await until(lambda: supervisor.status["base"].restarts == 1 and supervisor.all_ready)
    assert reasons == ["hung for 0 s"]
    await supervisor.stop()


async def test_what_cannot_be_started_is_an_error_with_its_reason_and_log():
    broken = component("base", "raise SystemExit(3)", ready=_never, log="/logs/base.log")
    supervisor = Supervisor([broken, component("rest", needs=("base",))], Journal())
    with pytest.raises(Unavailable, match=r"Base cannot be started: it ended with code 3\.") as why:
        await supervisor.start()
    assert "/logs/base.log" in why.value.hint
    await supervisor.stop()


async def test_what_is_never_ready_is_killed_and_an_error():
    slow = component("base", ready=_never, ready_seconds=0.2)
    supervisor = Supervisor([slow], Journal())
    with pytest.raises(Unavailable, match="was not ready"):
        await supervisor.start()
    await supervisor.stop()


async def test_pauses_grow_while_it_keeps_failing(tmp_path):
    starts: list[float] = []
    fail = tmp_path / "fail"

    async def launch() -> Process:
        starts.append(time.monotonic())
        code = "raise SystemExit(1)" if fail.exists() else SLEEP
        return Executed(subprocess.Popen([sys.executable, "-c", code]))

    supervisor = Supervisor([Component("base", "Base", launch)], Journal())
    await supervisor.start()
    fail.touch()
    pid = supervisor.status["base"].pid
    subprocess.run(["kill", "-9", str(pid)], check=True)
    await until(lambda: len(starts) >= 4)
    pauses = [later - earlier for earlier, later in pairwise(starts[1:])]
    assert pauses[1] > pauses[0] >= 0.5
    await supervisor.stop()


async def test_what_does_not_end_in_its_time_is_killed(tmp_path):
    deaf = tmp_path / "deaf"
    code = STUBBORN.replace("print('deaf')", f"open({str(deaf)!r}, 'w').close()")

    async def ready() -> bool:
        return bool(deaf.exists())

    supervisor = Supervisor([component("base", code, ready=ready, stop_seconds=0.2)], Journal())
    await supervisor.start()
    pid = supervisor.status["base"].pid
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{pid}").exists()


async def test_stopping_while_things_start_leaves_nothing(tmp_path):
    journal = Journal()
    supervisor = Supervisor(
        [component("base"), component("rest", ready=_never, needs=("base",))], journal
    )
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: supervisor.status["rest"].pid)
    pids = [supervisor.status[name].pid for name in ("base", "rest")]
    starting.cancel()
    await supervisor.stop()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def _never() -> bool:
    return False


def test_an_executed_process_is_signalled_by_identity_not_by_number():
    process = Executed(subprocess.Popen([sys.executable, "-c", SLEEP]))
    assert process.signal(signal.SIGKILL)
    assert asyncio.run(process.wait()).signal == signal.SIGKILL
    assert not process.signal(signal.SIGKILL)
