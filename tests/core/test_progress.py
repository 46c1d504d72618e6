"""How the record of a run follows what its runner tells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Invalid
from element_jupyter.core.progress import (
    RunRecord,
    advance,
    check_report,
    ended,
    ended_silently,
)
from element_jupyter.core.provisioning import ProcessExit
from element_jupyter.core.runs import (
    NEXT,
    CellFinished,
    CellStarted,
    Event,
    Recorded,
    Run,
    RunFinished,
    RunStarted,
    RunState,
    StateChanged,
    Trigger,
)

AT = datetime(2026, 11, 20, tzinfo=UTC)


def a_record(state=RunState.STARTING, **values):
    run = Run(
        run_id="r-" + "0" * 26,
        state=state,
        team="sales",
        owner="ada",
        notebook="a.ipynb",
        snapshot_id="0" * 64,
        time_limit_seconds=60,
        trigger=Trigger.API,
        created_at=AT,
    )
    return RunRecord(run=run.model_copy(update=values))


def story(cells):
    events: list[Event] = [
        RunStarted(at=AT, run_id="r", cells_total=cells, kernel="python3", pid=1)
    ]
    for index in range(cells):
        events += [
            CellStarted(at=AT, index=index),
            Recorded(at=AT, name=f"n{index}", value=index),
            CellFinished(at=AT, index=index, ok=True, duration_seconds=1),
        ]
    events.append(
        RunFinished(at=AT, state=RunState.SUCCEEDED, duration_seconds=1, recorded={"last": 1})
    )
    return [event.model_copy(update={"sequence": n}) for n, event in enumerate(events, 1)]


@given(cells=st.integers(0, 5), data=st.data())
def test_however_a_story_is_cut_and_repeated_it_is_told_once(cells, data):
    events = story(cells)
    record, told = a_record(), 0
    while told < len(events):
        start = data.draw(st.integers(0, told))
        stop = data.draw(st.integers(max(start, told), len(events)))
        if stop == told:
            stop += 1
        record = advance(record, events[start:stop])
        told = stop
    assert record == advance(a_record(), events)
    assert record.run.state is RunState.SUCCEEDED
    assert record.run.cells_done == record.run.cells_total == cells
    assert record.run.recorded == {f"n{n}": n for n in range(cells)} | {"last": 1}


def test_a_run_has_the_environment_that_its_runner_says():
    pin = Pin(
        environment_id=f"py-{'1' * 32}", lock_id="2" * 64, definition="r.txt", python="3.11.7"
    )
    event = RunStarted(
        sequence=1, at=AT, run_id="r", cells_total=1, kernel="python3", pid=1, pin=pin
    )
    run = advance(a_record(), [event]).run
    assert (run.environment_id, run.lock_id) == (pin.environment_id, pin.lock_id)
    assert (run.definition, run.python) == ("r.txt", "3.11.7")
    known = a_record(environment_id="py-" + "3" * 32)
    unsaid = advance(known, [event.model_copy(update={"pin": None})]).run
    assert unsaid.environment_id == known.run.environment_id


def test_nothing_is_taken_after_a_gap():
    events = story(2)
    assert advance(a_record(), events[:2] + events[3:]).reported == 2


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.FAILED])
def test_a_run_that_was_stopped_keeps_the_reason_that_was_given(state):
    told = RunFinished(at=AT, state=state, reason="The runner's.", duration_seconds=1, sequence=1)
    asked = a_record(RunState.RUNNING, stop_requested_at=AT, reason="Anna asked it to stop.")
    expected = "Anna asked it to stop." if state is RunState.STOPPED else "The runner's."
    assert advance(asked, [told]).run.reason == expected
    assert advance(a_record(RunState.RUNNING), [told]).run.reason == "The runner's."


@pytest.mark.parametrize("state", [state for state in RunState if state.ended])
def test_an_ended_run_stays_as_it_is(state):
    record = a_record(state)
    assert advance(record, story(1)) == record
    assert ended(record, RunState.LOST, "", AT) == record
    assert ended_silently(record, ProcessExit(signal=9), AT, killed=True) == record


@pytest.mark.parametrize(
    ("exit_", "stopped", "killed", "state", "reason"),
    [
        (
            ProcessExit(signal=9),
            False,
            False,
            "failed",
            "The runner was killed (signal 9, SIGKILL).",
        ),
        (
            ProcessExit(code=3),
            False,
            False,
            "failed",
            "The runner ended with exit code 3 before it told an outcome.",
        ),
        (
            ProcessExit(),
            False,
            False,
            "lost",
            "The runner's process is gone, and nobody saw how it ended.",
        ),
        (ProcessExit(signal=15), True, False, "stopped", "It was stopped."),
        (
            ProcessExit(signal=9),
            True,
            True,
            "stopped",
            "It was killed, since it had not stopped by itself.",
        ),
    ],
)
def test_a_process_that_is_gone_without_a_word_ends_its_run_truthfully(
    exit_, stopped, killed, state, reason
):
    record = a_record(RunState.RUNNING, stop_requested_at=AT if stopped else None)
    run = ended_silently(record, exit_, AT, killed=killed).run
    assert (run.state.value, run.reason, run.finished_at) == (state, reason, AT)


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ([CellStarted(at=AT, index=0)], "events.0.sequence"),
        (
            [CellStarted(sequence=1, at=AT, index=0), CellStarted(sequence=3, at=AT, index=0)],
            "events.1.sequence",
        ),
        ([StateChanged(sequence=1, at=AT, state=RunState.LOST)], "events.0.kind"),
        (
            [RunFinished(sequence=1, at=AT, state=RunState.LOST, duration_seconds=1)],
            "events.0.state",
        ),
        (
            [RunFinished(sequence=1, at=AT, state=RunState.QUEUED, duration_seconds=1)],
            "events.0.state",
        ),
    ],
)
def test_a_report_that_no_runner_can_make_is_refused(events, field):
    with pytest.raises(Invalid) as caught:
        check_report(events)
    assert caught.value.field == field


def test_every_way_of_ending_is_one_that_the_states_allow():
    for state in RunState:
        for outcome in RunState:
            after = ended(a_record(state), outcome, "", AT).run.state
            assert after is state or after in NEXT[state]
