"""Runs and fires in PostgreSQL, the embedded one and Debian's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.fire_store import SqlFireStore
from element_jupyter.adapters.sql.run_store import SqlRunStore
from element_jupyter.core.errors import Conflict, NotFound, Unavailable
from element_jupyter.core.progress import RunRecord, ended
from element_jupyter.core.provisioning import ProcessRef
from element_jupyter.core.runs import (
    Artifact,
    FailingCell,
    FireRecord,
    FireState,
    Run,
    RunState,
    Trigger,
)
from element_jupyter.service.run_requests import new_run_id

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


@pytest.fixture
async def store(any_database_url):
    engine = connect(any_database_url)
    yield SqlRunStore(engine)
    await engine.dispose()


@pytest.fixture
async def fires(any_database_url):
    engine = connect(any_database_url)
    yield SqlFireStore(engine)
    await engine.dispose()


def a_run(*, due_at=None, max_active=None, **values) -> RunRecord:
    given = {
        "run_id": new_run_id(datetime.now(UTC)),
        "state": RunState.QUEUED,
        "team": "sales",
        "owner": "ada",
        "notebook": "report.ipynb",
        "snapshot_id": "0" * 64,
        "time_limit_seconds": 60,
        "trigger": Trigger.API,
        "created_at": datetime.now(UTC),
    }
    return RunRecord(run=Run(**given | values), due_at=due_at, max_active=max_active)


def willing(_):
    return None


async def add(store, record=None, key=None, **values):
    record = record or a_run(**values)
    return (await store.create(record, key, willing)).record.run.run_id


def into(state):
    def change(record):
        return record.changed(state=state, finished_at=AT if state.ended else None)

    return change


async def test_a_run_is_read_as_it_was_written(store):
    record = a_run(
        job="sales/report",
        job_version=3,
        parameters={"deep": [{"nul": "a\0b", "é": "🧊"}], "big": 10**30},
        dag_run_id="manual__1",
        logical_date=AT,
        due_at=AT,
        kernel="python3",
        max_active=2,
    )
    run_id = await add(store, record)
    found = await store.get(run_id)
    assert found == record
    full = record.changed(
        state=RunState.STARTING,
        reason="a\0b",
        failing_cell=FailingCell(index=1, ename="ValueError", evalue="\0"),
        recorded={"auc": 0.9},
        artifacts=(Artifact(path="a b/ü.csv", size_bytes=7),),
        cpu_seconds=1.5,
        peak_memory_bytes=10**12,
    ).model_copy(update={"process": ProcessRef(pid=7, started_ticks=10**12), "reported": 4})
    before, after = await store.change(run_id, lambda _: full)
    assert (before, after) == (record, full)
    assert await store.get(run_id) == full.changed(reason="a�b")


async def test_fifty_identical_requests_at_once_are_one_run(store):
    created = await asyncio.gather(
        *(store.create(a_run(job="sales/report"), "key", willing) for _ in range(50))
    )
    assert len({came.record.run.run_id for came in created}) == 1
    assert sum(came.created for came in created) == 1


async def test_a_key_means_the_same_run_whatever_else_is_asked(store):
    created = await asyncio.gather(
        *(store.create(a_run(job=f"sales/job-{i}"), "key", willing) for i in range(20))
    )
    assert len({came.record.run.run_id for came in created}) == 1


async def test_a_later_try_takes_over_the_live_run_and_its_key_stays_with_it(store):
    first = await add(store, job="sales/report", dag_run_id="d", key="try 1")
    second = await add(store, job="sales/report", dag_run_id="d", key="try 2")
    assert second == first
    await store.change(first, into(RunState.FAILED))
    assert await add(store, job="sales/report", dag_run_id="d", key="try 2") == first
    assert await add(store, job="sales/report", dag_run_id="d", key="try 3") != first


async def test_a_run_that_was_told_to_stop_is_not_taken_over(store):
    first = await add(store, job="sales/report", dag_run_id="d")
    await store.change(first, into(RunState.STARTING))
    await store.change(first, lambda record: record.changed(stop_requested_at=AT))
    assert await add(store, job="sales/report", dag_run_id="d") != first


async def test_other_tasks_and_dag_runs_have_runs_of_their_own(store):
    runs = {
        await add(store, job="sales/report", dag_run_id=dag_run_id, task=task)
        for dag_run_id in ("d1", "d2", None)
        for task in ("extract", "load")
    }
    assert len(runs) == 6


async def test_a_run_never_leaves_the_state_in_which_it_ended(store):
    run_id = await add(store)
    await store.change(run_id, into(RunState.FAILED))
    for state in RunState:
        if state is not RunState.FAILED:
            with pytest.raises(Conflict):
                await store.change(run_id, into(state))
    assert (await store.get(run_id)).run.state is RunState.FAILED


async def test_a_run_that_is_not_there_cannot_be_changed(store):
    with pytest.raises(NotFound, match="no run 'r-x'"):
        await store.change("r-x", lambda record: record)


async def test_two_control_planes_never_admit_more_than_there_are_places(store):
    waiting = [await add(store) for _ in range(10)]
    admitted = await asyncio.gather(*(store.admit(3, LATER) for _ in range(8)))
    chosen = [record.run.run_id for each in admitted for record in each.records]
    assert chosen == waiting[:3]
    await store.change(chosen[1], into(RunState.FAILED))
    assert [record.run.run_id for record in (await store.admit(3, LATER)).records] == [waiting[3]]


async def test_a_busy_job_waits_and_lets_others_pass(store):
    first = await add(store, a_run(job="sales/a", dag_run_id="1", max_active=1))
    held = [
        await add(store, a_run(job="sales/a", dag_run_id=f"{n}", max_active=1))
        for n in range(2, 300)
    ]
    same = await add(store, a_run(job="sales/a", dag_run_id="1", task="other", max_active=1))
    other = await add(store, a_run(job="sales/b", dag_run_id="1", max_active=1))
    admitted = [
        record.run.run_id for _ in range(3) for record in (await store.admit(9, LATER)).records
    ]
    assert set(admitted) == {first, same, other}
    queue = await store.queue()
    assert [waiting.run_id for waiting in queue.waiting] == held
    assert queue.place(1, 9) == "Another run of this job must end first (max_active is 1)."
    await store.change(first, into(RunState.FAILED))
    assert not (await store.admit(9, LATER)).records
    await store.change(same, into(RunState.FAILED))
    assert [record.run.run_id for record in (await store.admit(9, LATER)).records] == held[:1]


async def test_leases_are_renewed_expire_and_tell_when(store):
    run_id = await add(store)
    assert await store.next_deadline() is None
    await store.admit(1, AT)
    assert await store.next_deadline() == AT
    assert [record.run.run_id for record in await store.expired(LATER)] == [run_id]
    await store.renew(run_id, LATER)
    assert await store.expired(LATER) == []
    await store.renew_all(LATER + timedelta(hours=1))
    assert await store.next_deadline() == LATER + timedelta(hours=1)
    await store.change(run_id, lambda record: ended(record, RunState.LOST, "gone", AT))
    assert await store.next_deadline() is None
    assert (await store.renew(run_id, LATER)).state is RunState.LOST


async def test_a_lease_is_renewed_no_further_than_a_little_over_the_time_limit(store):
    run_id = await add(store, a_run(time_limit_seconds=60))
    await store.admit(1, AT)
    await store.change(run_id, lambda record: record.changed(state=RunState.RUNNING, started_at=AT))
    await store.renew(run_id, AT + timedelta(seconds=30), 10)
    assert await store.next_deadline() == AT + timedelta(seconds=30)
    await store.renew(run_id, AT + timedelta(seconds=90), 10)
    assert await store.next_deadline() == AT + timedelta(seconds=70)
    await store.renew(run_id, AT + timedelta(seconds=90))  # where the time may have jumped
    assert await store.next_deadline() == AT + timedelta(seconds=90)


async def test_pages_hold_every_run_once_newest_first_and_filter(store):
    ids = [
        await add(store, job=f"sales/job-{n % 2}", created_at=AT + timedelta(seconds=n // 3))
        for n in range(20)
    ]
    await store.change(ids[0], into(RunState.FAILED))
    found, after = [], None
    while page := await store.page(limit=3, after=after):
        found += [run.run_id for run in page]
        after = (page[-1].created_at, page[-1].run_id)
    assert found == ids[::-1]
    assert [run.run_id for run in await store.page(limit=9, state=RunState.FAILED)] == ids[:1]
    assert len(await store.page(limit=99, job="sales/job-1")) == 10
    assert await store.page(limit=9, teams=frozenset({"other"})) == []
    assert len(await store.page(limit=9, teams=frozenset({"sales"}), trigger=Trigger.API)) == 9
    assert await store.page(limit=9, logical_date=LATER) == []


async def test_the_last_states_of_many_jobs_come_in_one_query(store):
    for number in range(7):
        run_id = await add(store, job="sales/a", created_at=AT + timedelta(seconds=number))
        await store.change(run_id, into(RunState.FAILED if number % 2 else RunState.STOPPED))
    await add(store, job="sales/b")
    states = await store.recent_states(["sales/a", "sales/b", "sales/none"])
    assert [state.value for state in states["sales/a"]] == [
        "stopped",
        "failed",
        "stopped",
        "failed",
        "stopped",
    ]
    assert states["sales/b"] == [RunState.QUEUED]
    assert states["sales/none"] == []
    assert (await store.counts())[RunState.STOPPED] == 4


async def test_the_last_success_tells_what_a_task_recorded(store):
    async def record(task, state, **recorded):
        run_id = await add(store, job="sales/a", dag_run_id="d", task=task)
        await store.change(run_id, into(RunState.STARTING))
        await store.change(run_id, lambda record: into(state)(record).changed(recorded=recorded))

    await record("train", RunState.SUCCEEDED, auc=1)
    await record("train", RunState.SUCCEEDED, auc=2)
    await record("train", RunState.FAILED, auc=3)
    found = await store.recorded("sales/a", "d", ["train", "other"])
    assert found == {"train": {"auc": 2}, "other": None}


async def test_a_fire_has_one_row_with_all_its_runs(store, fires):
    await fires.add([FireRecord(job="sales/a", at=AT, state=FireState.DUE)])
    runs = [
        await add(store, a_run(job="sales/a", dag_run_id="d", task=task, due_at=AT))
        for task in ("extract", "load")
    ]
    [row] = await fires.page("sales/a", None, 9)
    assert row == FireRecord(job="sales/a", at=AT, state=FireState.RAN, run_ids=tuple(runs))
    await fires.add([FireRecord(job="sales/a", at=AT, state=FireState.DUE)])
    assert await fires.page("sales/a", None, 9) == [row]
    assert not await fires.settle(FireRecord(job="sales/a", at=AT, state=FireState.MISSED))


async def test_a_refused_fire_has_its_reason_and_no_run(store, fires):
    refused = FireRecord(job="sales/a", at=AT, state=FireState.SKIPPED, reason="no")
    came = await store.create(a_run(job="sales/a", due_at=AT), "key", lambda _: refused)
    assert (came.record, came.refused) == (None, refused)
    assert await fires.page("sales/a", None, 9) == [refused]
    assert await store.page(limit=9) == []
    # a fire that nobody asked for in time may run after all
    run_id = await add(store, a_run(job="sales/a", due_at=AT))
    assert (await fires.page("sales/a", None, 9))[0].run_ids == (run_id,)


async def test_what_is_known_of_a_fire_is_what_runs_and_what_overlapped(store):
    running = await add(store, a_run(job="sales/a", dag_run_id="1", due_at=AT, created_at=AT))
    seen = []
    await store.create(a_run(job="sales/a", dag_run_id="2", due_at=LATER), None, seen.append)
    [known] = seen
    assert (known.state, known.active, known.overlapping) == (None, ("1",), running)


async def test_pages_of_fires_go_back_in_time(fires):
    rows = [
        FireRecord(job="sales/a", at=AT + timedelta(hours=n), state=FireState.DUE) for n in range(5)
    ]
    await fires.add(rows)
    assert await fires.page("sales/a", None, 2) == [rows[4], rows[3]]
    assert await fires.page("sales/a", rows[3].at, 9) == [rows[2], rows[1], rows[0]]
    assert await fires.last() == {"sales/a": rows[4].at}
    missed = rows[0].model_copy(update={"state": FireState.MISSED, "reason": "why"})
    assert await fires.settle(missed)
    assert await fires.due() == rows[1:]


async def test_the_time_without_anybody_is_known(fires):
    assert await fires.begin_uptime("one", AT) is None
    await fires.seen("one", LATER)
    assert await fires.begin_uptime("two", LATER + timedelta(hours=3)) == LATER


async def test_a_database_that_is_away_is_a_sentence():
    engine = connect("postgresql+psycopg://element@/element?host=/nowhere")
    with pytest.raises(Unavailable, match="database does not answer"):
        await SqlRunStore(engine).get("r-x")
    await engine.dispose()
