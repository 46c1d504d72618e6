"""Which runs start, with what, and what the others are told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from element_jupyter.core.admission import Queue, Waiting, admit, held, inputs, render, told
from element_jupyter.core.errors import Conflict
from element_jupyter.core.jobs import JobTask
from element_jupyter.core.schedules import Cron

AT = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)

waiting_runs = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b"]), st.sampled_from("xyz"), st.sampled_from([None, 1, 2])
    ),
    max_size=20,
).map(
    lambda rows: [Waiting(str(n), job, group, limit) for n, (job, group, limit) in enumerate(rows)]
)
busy = st.dictionaries(st.sampled_from("ab"), st.sets(st.sampled_from("xyz")))


@given(queue=waiting_runs, places=st.integers(0, 8), active=busy)
def test_admission_fills_the_places_in_order_and_keeps_every_jobs_limit(queue, places, active):
    chosen = admit(queue, places, active)
    order = [waiting.run_id for waiting in queue]
    assert len(chosen) <= places
    assert chosen == [run_id for run_id in order if run_id in chosen]
    groups = defaultdict(set, {job: set(names) for job, names in active.items()})
    for waiting in queue:
        busy_enough = waiting.job is not None and held(waiting, groups[waiting.job])
        if waiting.run_id in chosen:
            assert not busy_enough
            groups[waiting.job].add(waiting.group)
        else:
            # of its own job's limit when its turn came, or because no place was left
            assert busy_enough or len(chosen) == places


LIMITS = {None: None, "a": 1, "b": 2}


@given(queue=waiting_runs, active=busy)
def test_a_second_round_admits_nobody_whom_the_first_held_back(queue, active):
    # within one job: versions of different limits may let in what joins a group that was held
    queue = [replace(waiting, max_active=LIMITS[waiting.job]) for waiting in queue]
    chosen = admit(queue, 100, active)
    groups = {job: set(names) for job, names in active.items()}
    for waiting in queue:
        if waiting.run_id in chosen and waiting.job is not None:
            groups.setdefault(waiting.job, set()).add(waiting.group)
    rest = [waiting for waiting in queue if waiting.run_id not in chosen]
    assert admit(rest, 100, groups) == []


def test_a_place_in_the_queue_is_said_with_its_reason():
    queue = Queue(
        [Waiting("1", "a", "x", 1), Waiting("2"), Waiting("3", "b", "x", 2)],
        4,
        {"a": {"y"}, "b": {"y", "z"}},
    )
    assert [queue.place(n, 4) for n in (1, 2, 3)] == [
        "Another run of this job must end first (max_active is 1).",
        "1 run is ahead; 4 of 4 places are taken.",
        "2 other runs of this job must end first (max_active is 2).",
    ]


def test_only_places_near_the_front_are_told_one_by_one():
    assert [place for place in range(1, 41) if told(place)] == [*range(1, 11), 20, 30, 40]


def test_dates_and_ids_are_put_into_texts_however_deep():
    texts: dict[str, JsonValue] = {
        "a": "{{ds}} {{ logical_date }}",
        "b": [{"c": "{{ run_id }}"}],
        "d": 1,
        "e": "{{ x }}",
    }
    assert render(texts, run_id="r-1", logical_date=AT) == {
        "a": "2026-07-01 2026-07-01T22:30:00+00:00",
        "b": [{"c": "r-1"}],
        "d": 1,
        "e": "{{ x }}",
    }


def test_the_date_is_that_of_the_schedules_own_clock():
    zurich = Cron(expression="30 0 * * *", timezone="Europe/Zurich")
    assert render({"d": "{{ ds }}"}, run_id="", logical_date=AT, schedule=zurich) == {
        "d": "2026-07-02"
    }


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        ({}, "which has not succeeded"),
        ({"train": None}, "which has not succeeded"),
        ({"train": {"loss": 1}}, "recorded no 'auc'"),
    ],
)
def test_a_missing_input_is_a_sentence(recorded, sentence):
    task = JobTask(name="use", notebook="u.ipynb", needs=("train",), inputs={"x": "train:auc"})
    with pytest.raises(Conflict, match=sentence):
        inputs(task, recorded)
    assert inputs(task, {"train": {"auc": None}}) == {"x": None}
