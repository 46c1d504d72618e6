"""The ledger of due fires: every fire of every job has a row, whatever happened."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.adapters.job_files.job_yaml import JobYaml
from element_jupyter.adapters.job_files.store import FileJobs
from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.fire_store import SqlFireStore
from element_jupyter.core.jobs import Job
from element_jupyter.service.fires import Fires

HOUR = timedelta(hours=1)


class World:
    """Jobs, a ledger, and a clock that can be put forward."""

    def __init__(self, tmp_path, engine) -> None:
        self.ahead = timedelta()
        self.jobs = FileJobs(tmp_path / "jobs", JobYaml())
        self.jobs.load()
        self.store = SqlFireStore(engine)

    def now(self):
        return datetime.now(UTC) + self.ahead

    async def put(self, name="report", **values):
        given = {"schedule": {"kind": "cron", "expression": "0 * * * *"}, "catch_up": "latest"}
        job = Job(
            team="sales", name=name, owner="ada", snapshot_id="0" * 64,
            tasks=({"notebook": "a.ipynb"},), **given | values,
        )  # fmt: skip
        await self.jobs.put(job, saved_by="ada", now=self.now())
        return job

    @contextlib.asynccontextmanager
    async def watched(self, **settings):
        fires = Fires(self.store, self.jobs, CroniterWallClock(), now=self.now, **settings)
        await fires.start()
        try:
            yield fires
        finally:
            await fires.close()

    async def until(self, count, job="sales/report", state=None):
        """The rows of a job, oldest first, once there are so many (in the state)."""
        async with asyncio.timeout(30):
            while True:
                rows = (await self.store.page(job, None, 2000))[::-1]
                if len([row for row in rows if state in {None, row.state.value}]) >= count:
                    return rows
                await asyncio.sleep(0.02)


@pytest.fixture
async def world(tmp_path, database_url):
    engine = connect(database_url)
    yield World(tmp_path, engine)
    await engine.dispose()


def soon(world, seconds=0.3):
    return {"kind": "once", "at": world.now() + timedelta(seconds=seconds)}


async def test_a_fire_has_a_row_the_moment_it_comes_due_and_is_missed_when_nobody_asks(world):
    async with world.watched(patience_seconds=0.3) as fires:
        job = await world.put(schedule=soon(world))
        [row] = await world.until(1)
        assert (row.at, row.state.value, row.reason) == (job.schedule.at, "due", "")
        [row] = await world.until(1, state="missed")
        assert row.reason == "Airflow did not ask for it within 0 seconds."
        assert fires.next_fire(job.id) is None


async def test_jobs_may_come_change_and_go_while_their_fires_are_watched(world):
    async with world.watched() as fires:
        await world.put("gone", schedule=soon(world, 0.5))
        await world.put("moved", schedule=soon(world, 0.5))
        await world.jobs.delete("sales", "gone")
        moved = await world.put("moved", schedule=soon(world, 1.0))
        [row] = await world.until(1, "sales/moved")
        assert row.at == moved.schedule.at
        assert await world.store.page("sales/gone", None, 9) == []
        assert fires.next_fire("sales/gone") is None


async def test_a_paused_job_skips_and_has_no_next_fire(world):
    async with world.watched() as fires:
        job = await world.put(paused=True, schedule=soon(world))
        [row] = await world.until(1)
        assert (row.state.value, row.reason) == ("skipped", "The job is paused.")
        assert fires.next_fire(job.id) is None


@pytest.mark.parametrize(
    ("policy", "states"),
    [("none", {"missed"}), ("latest", {"missed", "due"}), ("all", {"due"})],
)
async def test_a_downtime_is_caught_up_by_the_policy_and_says_from_when_to_when(
    world, policy, states
):
    job = await world.put(catch_up=policy)
    async with world.watched() as fires:
        assert fires.next_fire(job.id).at > world.now()
    # halfway between fires, so that none is within the grace
    hour = world.now().replace(minute=0, second=0, microsecond=0)
    world.ahead += hour + 5 * HOUR + HOUR / 2 - world.now()
    async with world.watched():
        rows = await world.until(5)
    assert [row.at for row in rows] == [hour + n * HOUR for n in range(1, 6)]
    assert {row.state.value for row in rows} == states
    if policy == "latest":
        assert [row.state.value for row in rows] == ["missed"] * 4 + ["due"]
    if "missed" in states:
        assert rows[0].reason.startswith("Element was not running from ")
    # once more changes nothing
    async with world.watched():
        assert await world.until(5) == rows


async def test_what_nobody_could_ask_for_while_element_was_down_is_waited_for_anew(world):
    await world.put(catch_up="all")
    async with world.watched():
        pass
    world.ahead += 3 * HOUR
    async with world.watched(patience_seconds=1.0):
        rows = await world.until(3)
        assert {row.state.value for row in rows} == {"due"}
        rows = await world.until(3, state="missed")
        assert rows[0].reason == "Airflow did not ask for it within 1 second."


async def test_a_long_downtime_of_a_busy_schedule_is_bounded_and_said(world):
    await world.put(schedule={"kind": "cron", "expression": "* * * * *"}, catch_up="none")
    async with world.watched():
        pass
    world.ahead += timedelta(days=30)
    async with world.watched():
        rows = await world.until(1000)
    assert len(rows) == 1000
    assert "stands for every fire" in rows[0].reason
    assert rows[-1].at > world.now() - timedelta(minutes=2)


async def test_pages_go_back_in_time(world):
    await world.put(catch_up="all")
    async with world.watched():
        pass
    world.ahead += 5 * HOUR
    async with world.watched() as fires:
        rows = await world.until(5)
        found, cursor = [], None
        while True:
            page = await fires.page("sales/report", cursor, 2)
            found += page.items
            if (cursor := page.next_cursor) is None:
                break
    assert found == rows[::-1]


async def test_the_machine_asleep_is_a_downtime_too(world):
    async with world.watched():
        await world.put(catch_up="none")
        world.ahead += timedelta(hours=3)
        # anything wakes the ledger; a timer would within a minute
        await world.put("other", schedule=soon(world))
        rows = await world.until(3)
    assert rows[0].state.value == "missed"
    assert rows[0].reason.startswith("Element was not running from ")
