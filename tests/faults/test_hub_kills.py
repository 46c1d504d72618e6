"""Whatever of the Hub is killed: people's servers and runs survive, and nothing is stuck.

`pytest tests/faults --fault-rounds 20` is the long form.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from element_jupyter.platform.control_groups import control_groups, group_of
from tests.faults.accounting import check_accounting_closes, limit_generously, used
from tests.hub_platform import OWNER, HubPlatform, hub_platform, needs_accounts
from tests.platform_fixture import wait_until

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.faults,
    pytest.mark.timeout(600),
    needs_accounts,
]

CELLS = 4
CELL_SECONDS = 0.5
VICTIMS = ("hub", "proxy", "service", "editor", "up")
"""Components by their names in the state, a person's server, and what supervises them all."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    with hub_platform(tmp_path_factory.mktemp("hub"), ELEMENT_LEASE_SECONDS="10") as running:
        limit_generously(running)
        yield running


def editor(hub: HubPlatform) -> psutil.Process | None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.username() == OWNER and "jupyterhub.singleuser" in process.cmdline():
                return process
    return None


def kill(hub: HubPlatform, victim: str) -> None:
    if victim == "up":
        hub.platform.up.kill()
        hub.platform.up.wait()
        hub.start()
        return
    found = editor(hub) if victim == "editor" else None
    pid = found.pid if found else hub.platform.state["processes"][victim]["pid"]
    os.kill(pid, signal.SIGKILL)


def answers(hub: HubPlatform) -> bool:
    with contextlib.suppress(httpx.HTTPError, KeyError, FileNotFoundError), hub.hub() as client:
        return client.get("/").is_success and bool(hub.platform.state["ready"])
    return False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_number" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--fault-rounds")
        metafunc.parametrize("round_number", range(rounds))


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_ends_no_server_and_no_run_of_anybody(
    hub: HubPlatform, victim: str, round_number: int
) -> None:
    moment = random.Random(f"{victim} {round_number}").uniform(0, CELLS * CELL_SECONDS + 2)
    if "" not in hub.servers():
        hub.start_editor()
    before = editor(hub)
    assert before is not None
    diary = "import pathlib\nwith open(pathlib.Path.home() / 'diary', 'a') as diary:\n    "
    run_id = hub.start_run(
        diary + "print('start', file=diary)",
        *(f"import time; time.sleep({CELL_SECONDS})" for _ in range(CELLS)),
        "print('to the end')",
    )
    time.sleep(moment)

    kill(hub, victim)

    run = hub.ended(run_id, 150)
    assert run["state"] == "succeeded", run
    assert hub.printed(run_id) == "to the end\n"
    wait_until(lambda: answers(hub), 60, hub.platform.log)
    if victim == "editor":
        wait_until(lambda: "" not in hub.servers(), 60, lambda: hub.log_of("hub"))
    else:
        after = editor(hub)
        assert after is not None
        assert after.pid == before.pid
        wait_until(lambda: hub.servers()[""]["ready"], 60, lambda: hub.log_of("hub"))
    # what the run had is given back, and the Hub knows nothing of it any more
    wait_until(lambda: hub.is_given_back(run_id), 60, lambda: hub.log_of("hub"))
    check_accounting_closes(hub)


BURNS = """
import time
held = bytearray(b"x") * 300_000_000
until = time.process_time() + 14
while time.process_time() < until:
    sum(range(50_000))
print("to the end")
"""
MOST_OFF = 0.02


class Counters:
    """What the system itself counts of one run, looked at until its control groups are gone."""

    def __init__(self, hub: HubPlatform, run_id: str) -> None:
        name = f"{group_of(hub.data)}/{OWNER}~{run_id}"
        places = control_groups()
        if "cpuacct" in places:
            self._cpu = places["cpuacct"] / name / "cpuacct.usage"
            self._unit_seconds, self._entry = 1e-9, 0
        else:
            self._cpu = places.get("", Path("/nonexistent")) / name / "cpu.stat"
            self._unit_seconds, self._entry = 1e-6, 1
        self.cpu_seconds = 0.0

    def look(self) -> bool:
        """Read them; False when they are gone."""
        try:
            words = self._cpu.read_text().split()
        except OSError:
            return False
        self.cpu_seconds = int(words[self._entry]) * self._unit_seconds
        return True


def test_the_ledger_has_what_the_control_groups_counted_whatever_was_killed_meanwhile(
    hub: HubPlatform,
) -> None:
    wait_until(lambda: answers(hub), 60, hub.platform.log)
    before = used(hub, by="kind")
    run_id = hub.start_run(BURNS)
    counters = Counters(hub, run_id)
    wait_until(counters.look, 60, lambda: hub.log_of("hub"))

    for victim, after_seconds in (("hub", 3), ("service", 7), ("hub", 10)):
        wait_until(lambda: counters.look() and counters.cpu_seconds > after_seconds, 120)  # noqa: B023
        wait_until(lambda: answers(hub), 60, hub.platform.log)
        kill(hub, victim)
    while counters.look():
        time.sleep(0.02)

    assert hub.ended(run_id, 150)["state"] == "succeeded"
    assert counters.cpu_seconds > 14
    off: list[float] = []

    def is_told() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            cpu_hours = _used_cpu_hours(used(hub, by="kind")) - _used_cpu_hours(before)
            off.append(cpu_hours * 3600 / counters.cpu_seconds - 1)
            return abs(off[-1]) <= MOST_OFF
        return False

    wait_until(is_told, 60, lambda: f"{off[-3:]} of {counters.cpu_seconds}\n{hub.log_of('hub')}")
    print(f"the ledger is {off[-1]:+.3%} off {counters.cpu_seconds:.2f} s")
    check_accounting_closes(hub)


def _used_cpu_hours(report: dict[str, Any]) -> float:
    return sum(row["used_cpu_hours"] for row in report["rows"] if row["kind"] == "run")
