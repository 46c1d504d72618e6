"""A platform that was down while jobs came due, with a real Airflow: what runs, what is missed.

It lasts six to eight minutes, since a cron has no seconds: `pytest tests/platform --slow`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_client import owner
from tests.platform_fixture import RunningPlatform, free_ports, start_platform, wait_until
from tests.provider.projects import store

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

MINUTE = timedelta(minutes=1)
POLICIES = ("none", "latest", "all")
DOWN = "Element was not running from"
LONG = """
import pathlib, time
mark = pathlib.Path({mark!r})
if not mark.exists():
    mark.touch()
    time.sleep(600)
"""


class World:
    """A platform that was stopped for four minutes, with all that came due meanwhile.

    Two jobs of each policy: `gaps-…`, whose fires during the downtime are all later than the grace
    of two minutes when it ends, and `minute-…`, which fires every minute. Four jobs fire once.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = free_ports()
        self.platform = self._start()
        self.team = owner(self.platform)
        self.first = self._save_jobs()
        self._wait_for_first_fires()
        self._start_long_run()
        self.platform.stop()
        self.stopped_at = datetime.now(UTC)
        assert self.stopped_at < self.first + MINUTE, "this machine is too busy"
        sleep_until(self.first + 4 * MINUTE + timedelta(seconds=1))
        self.platform = self._start()
        self.back_at = datetime.now(UTC)
        assert self.back_at < self.first + 5 * MINUTE, "this machine is too busy"

    def _start(self) -> RunningPlatform:
        platform = start_platform(self.directory / "data", **self.environment)
        platform.wait_until_ready()
        return platform

    def _save_jobs(self) -> datetime:
        """Save all; returns the minute in which the first fires come due."""
        with self.platform.service() as service:
            short = store(service, main=["1"])
            code = LONG.format(mark=str(self.directory / "mark"))
            long = store(service, main=[code])
            task = {"notebook": "main.ipynb", "retries": 1, "retry_delay_seconds": 0}
            self._save(service, "long", snapshot_id=long, tasks=[task])
            first = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
            if first - datetime.now(UTC) < timedelta(seconds=15):
                first += MINUTE
            minutes = ",".join(str((first + n * MINUTE).minute) for n in (0, 1, 2, 5))
            for policy in POLICIES:
                gaps = {"kind": "cron", "expression": f"{minutes} * * * *"}
                often = {"kind": "cron", "expression": "* * * * *"}
                both = {"catch_up": policy, "snapshot_id": short}
                self._save(service, f"gaps-{policy}", schedule=gaps, **both)
                self._save(service, f"minute-{policy}", schedule=often, **both)
            for name, policy, seconds in (
                ("once-none", "none", 80),
                ("once-latest", "latest", 80),
                ("once-all", "all", 80),
                ("once-on-time", "none", 220),
            ):
                at = (first + timedelta(seconds=seconds)).isoformat()
                once = {"kind": "once", "at": at}
                self._save(service, name, schedule=once, catch_up=policy, snapshot_id=short)
        return first

    def _save(self, service: httpx.Client, name: str, **job: Any) -> None:
        document = {"team": self.team, "name": name, "owner": self.team}
        tasks = [{"notebook": "main.ipynb"}]
        body = document | {"tasks": tasks} | job
        service.put(f"/jobs/{self.team}/{name}", json=body).raise_for_status()

    def _wait_for_first_fires(self) -> None:
        names = [f"{kind}-{policy}" for kind in ("gaps", "minute") for policy in POLICIES]
        wait_until(lambda: datetime.now(UTC) > self.first, 90)
        until(lambda: all(self.states(name) == {"succeeded"} for name in names), 55)
        until(lambda: all(self.dag_runs(name, "success") for name in names), 20)

    def _start_long_run(self) -> None:
        now = datetime.now(UTC).isoformat()
        with self.platform.airflow() as airflow:
            path = f"/api/v2/dags/{self.team}--long/dagRuns"
            airflow.post(path, json={"logical_date": now}).raise_for_status()
        until(lambda: self.states("long") == {"running"}, 30)

    # ------------------------------------------------------------------------------- what is seen

    def fires(self, name: str) -> list[dict[str, Any]]:
        """The rows of a job's fires, oldest first."""
        with self.platform.service() as service:
            path = f"/jobs/{self.team}/{name}/fires"
            items: list[dict[str, Any]] = service.get(path, params={"limit": 200}).json()["items"]
        return [{**item, "at": datetime.fromisoformat(item["at"])} for item in items][::-1]

    def fire(self, name: str, minutes: float) -> dict[str, Any]:
        """The one row of the fire so many minutes after the first."""
        at = self.first + minutes * MINUTE
        [row] = [row for row in self.fires(name) if row["at"] == at]
        return row

    def runs(self, name: str) -> list[dict[str, Any]]:
        with self.platform.service() as service:
            query: dict[str, str | int] = {"job": f"{self.team}/{name}", "limit": 200}
            items: list[dict[str, Any]] = service.get("/runs", params=query).json()["items"]
        return items[::-1]

    def states(self, name: str) -> set[str]:
        return {run["state"] for run in self.runs(name)}

    def dag_runs(self, name: str, state: str | None = None) -> dict[datetime, dict[str, Any]]:
        """Airflow's view: each DAG run by the instant of its fire, with its only task's state."""
        with self.platform.airflow() as airflow:
            path = f"/api/v2/dags/{self.team}--{name}/dagRuns"
            query: dict[str, str | int] = {"limit": 100, **({"state": state} if state else {})}
            found = airflow.get(path, params=query)
            return {
                datetime.fromisoformat(run["logical_date"]): run
                | {"task": airflow.get(f"{path}/{run['dag_run_id']}/taskInstances/main").json()}
                for run in found.json()["dag_runs"]
            }

    def wait_for_regular_fires(self) -> None:
        """Wait until every job with a cron has run in the first minute after all was ready."""
        last = self.first + 5 * MINUTE

        def ran() -> bool:
            return all(
                any(row["at"] == last and row["state"] == "ran" for row in self.fires(name))
                and self.states(name) == {"succeeded"}
                for name in (
                    f"{kind}-{policy}" for kind in ("gaps", "minute") for policy in POLICIES
                )
            )

        until(ran, 150, lambda: str([(r["at"], r["state"]) for r in self.fires("gaps-all")]))


def until(
    condition: Callable[[], object], seconds: float, explain: Callable[[], str] = str
) -> None:
    """Wait without keeping Airflow from its work by the questions."""

    def asked() -> object:
        time.sleep(0.5)
        return condition()

    wait_until(asked, seconds, explain)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("catch-up"))
    yield world
    world.platform.stop()


def sleep_until(instant: datetime) -> None:
    """The platform is down: there is nothing that could be waited for but the clock."""
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


def test_a_stopped_run_is_tried_again_after_the_next_start_by_airflows_rules(world: World) -> None:
    until(lambda: world.runs("long")[-1]["state"] == "succeeded", 60)
    runs = world.runs("long")
    assert [(run["attempt"], run["state"]) for run in runs] == [(1, "stopped"), (2, "succeeded")]
    assert runs[0]["reason"] == "Element was stopped."
    until(lambda: world.dag_runs("long", "success"), 20)


def test_a_fire_that_comes_once_is_late_or_on_time(world: World) -> None:
    def told(name: str, minutes: float, *, ran: bool) -> dict[str, Any]:
        def known() -> bool:
            return world.fire(name, minutes)["state"] != "due" and world.states(name) <= {
                "succeeded"
            }

        until(known, 60)
        assert world.fire(name, minutes)["state"] == ("ran" if ran else "missed")
        assert len(world.runs(name)) == ran
        return world.fire(name, minutes)

    missed = told("once-none", 80 / 60, ran=False)
    assert missed["reason"].startswith(DOWN)
    assert missed["reason"].endswith("and the catch-up policy is none.")
    told("once-latest", 80 / 60, ran=True)
    told("once-all", 80 / 60, ran=True)
    told("once-on-time", 220 / 60, ran=True)


def test_each_policy_does_what_it_says(world: World) -> None:
    world.wait_for_regular_fires()
    expected = {
        "none": ["ran", "missed", "missed", "ran"],
        "latest": ["ran", "missed", "ran", "ran"],
        "all": ["ran", "ran", "ran", "ran"],
    }
    for policy, states in expected.items():
        rows = world.fires(f"gaps-{policy}")
        assert [row["at"] for row in rows] == [world.first + n * MINUTE for n in (0, 1, 2, 5)]
        assert [row["state"] for row in rows] == states, policy
        for row in rows:
            if row["state"] == "missed":
                assert row["reason"].startswith(DOWN), row
                assert "the catch-up policy" in row["reason"]


def test_every_due_minute_has_one_row_and_no_fire_has_two_runs(world: World) -> None:
    world.wait_for_regular_fires()
    for policy in POLICIES:
        name = f"minute-{policy}"
        rows = [row for row in world.fires(name) if row["at"] <= world.first + 5 * MINUTE]
        begin = rows[0]["at"]
        assert begin <= world.first
        assert [row["at"] for row in rows] == [begin + n * MINUTE for n in range(len(rows))]
        ran = [row["at"] for row in rows if row["state"] == "ran"]
        # of those that came due meanwhile: the newest is within the grace, whatever the policy
        down = [1, 2, 3, 4] if policy == "all" else [4]
        since = [at for at in ran if at >= world.first]
        assert since == [world.first + n * MINUTE for n in (0, *down, 5)], policy
        assert {row["state"] for row in rows} <= {"ran", "missed"}
    for name in (f"{kind}-{policy}" for kind in ("gaps", "minute") for policy in POLICIES):
        ids = [row["run_ids"] for row in world.fires(name) if row["state"] == "ran"]
        assert all(len(each) == 1 for each in ids), name
        known = {run["run_id"]: run for run in world.runs(name)}
        assert {run_id for [run_id] in ids} == known.keys()
        assert all(run["trigger"] == "schedule" for run in known.values())


def test_airflow_agrees(world: World) -> None:
    world.wait_for_regular_fires()
    kinds = [f"{kind}-{policy}" for kind in ("gaps", "minute") for policy in POLICIES]
    for name in [*kinds, "once-none", "once-latest", "once-all", "once-on-time"]:
        until(lambda name=name: not world.dag_runs(name, "running"), 60)  # type: ignore[misc]
        rows = {row["at"]: row["state"] for row in world.fires(name)}
        seen = world.dag_runs(name)
        for at, run in seen.items():
            ran = rows[at] == "ran"
            assert (run["state"], run["task"]["state"]) == (
                "success",
                "success" if ran else "skipped",
            ), (name, at)
        assert {at for at, state in rows.items() if state == "ran"} <= seen.keys(), name
