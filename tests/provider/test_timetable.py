"""Airflow fires when the preview says."""

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
import time_machine
from airflow.timetables.base import DataInterval, TimeRestriction

from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.core.schedules import Cron, preview
from element_jupyter.provider.timetable import ElementTimetable

ZURICH = {"kind": "cron", "expression": "30 2 * * *", "timezone": "Europe/Zurich"}
HOURLY = {"kind": "cron", "expression": "0 * * * *", "timezone": "UTC"}


def at(text):
    return pendulum.parse(text)


def fires(schedule, since, count, *, catchup=True, latest=None):
    timetable = ElementTimetable(schedule)
    restriction = TimeRestriction(earliest=since, latest=latest, catchup=catchup)
    last, found = None, []
    while len(found) < count:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last, restriction=restriction
        )
        if info is None:
            break
        assert info.run_after == info.logical_date == info.data_interval.end
        last = info.data_interval
        found.append(info.run_after)
    return found


@pytest.mark.parametrize("since", ["2027-03-26T12:00:00Z", "2026-10-23T12:00:00Z"])
def test_fires_are_those_of_the_preview_through_both_turns_of_the_clock(since):
    schedule = Cron.model_validate(ZURICH)
    told = preview(schedule, CroniterWallClock(), at(since), 6).fires
    assert any(fire.dst for fire in told)
    assert fires(ZURICH, at(since), 6) == [fire.at for fire in told]


def test_the_instant_at_which_a_schedule_begins_may_be_a_fire():
    assert fires(HOURLY, at("2026-05-01T10:00:00Z"), 1) == [at("2026-05-01T10:00:00Z")]


def test_no_fire_comes_after_the_end():
    schedule = {**HOURLY, "end": "2026-05-01T12:00:00Z"}
    assert fires(schedule, at("2026-05-01T10:30:00Z"), 9) == [
        at("2026-05-01T11:00:00Z"),
        at("2026-05-01T12:00:00Z"),
    ]


@time_machine.travel(datetime(2026, 5, 3, 8, 20, tzinfo=UTC), tick=False)
def test_without_catching_up_only_the_newest_of_the_missed_fires_is_asked_for():
    timetable = ElementTimetable(HOURLY)
    last = DataInterval.exact(at("2026-05-01T10:00:00Z"))
    for catchup, expected in ((False, "2026-05-03T08:00:00Z"), (True, "2026-05-01T11:00:00Z")):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(at("2026-05-01T00:00:00Z"), None, catchup),
        )
        assert info.run_after == at(expected)


@time_machine.travel(datetime(2026, 5, 3, 8, 0, 0, 300_000, tzinfo=UTC), tick=False)
def test_a_fire_that_has_just_come_due_is_not_passed_over():
    info = ElementTimetable(HOURLY).next_dagrun_info(
        last_automated_data_interval=DataInterval.exact(at("2026-05-03T07:00:00Z")),
        restriction=TimeRestriction(at("2026-05-01T00:00:00Z"), None, catchup=False),
    )
    assert info.run_after == at("2026-05-03T08:00:00Z")


@time_machine.travel(datetime(2026, 5, 3, 8, 20, tzinfo=UTC), tick=False)
def test_a_new_job_does_not_fire_for_times_before_it_was_saved():
    since = at("2026-05-03T08:10:00Z")
    assert fires(HOURLY, since, 1, catchup=False) == [at("2026-05-03T09:00:00Z")]


def test_a_schedule_of_one_instant_fires_once():
    once = {"kind": "once", "at": "2026-05-01T10:15:00Z"}
    assert fires(once, at("2026-05-01T10:00:00Z"), 9) == [at("2026-05-01T10:15:00Z")]


def test_a_person_may_start_a_run_at_any_time():
    now = pendulum.now("UTC")
    interval = ElementTimetable(HOURLY).infer_manual_data_interval(run_after=now)
    assert interval == DataInterval(now, now)


def test_a_backfill_has_each_fire_of_its_span():
    since = at("2026-04-01T00:00:00Z")
    found = fires(HOURLY, since, 99, latest=since + timedelta(hours=5))
    assert found == [since + timedelta(hours=hour) for hour in range(6)]


def test_it_says_in_words_when_it_fires():
    timetable = ElementTimetable(ZURICH)
    assert timetable.summary == "30 2 * * * Europe/Zurich"
    assert "02:30 Europe/Zurich" in timetable.description
