"""Care: what is told, what is idle, and when something is done about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from element_jupyter.core.care.idleness import (
    ActivityReport,
    Holding,
    Seen,
    after_report,
    due,
    gpu_unused_at,
)
from element_jupyter.core.care.notices import NoticeKind, Told, in_order, notice_id
from element_jupyter.core.care.policy import CarePolicy, Editors
from tests.platform_fixture import ROOT

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def told(about="s-1", kind=NoticeKind.IDLE, **more) -> Told:
    said = {"sentence": "Your server is idle.", "at": NOW, "deadline": NOW + 10 * MINUTE, **more}
    return Told(id=notice_id("ada", kind, about), person="ada", kind=kind, about=about, **said)


def test_a_notice_is_held_off_for_as_long_as_the_policy_says_and_not_beyond_its_limit():
    assert told(keep_seconds=3600).may_be_kept_until(NOW) == NOW + HOUR
    assert told(keep_seconds=60).may_be_kept_until(NOW) is None  # sooner than it would be anyway
    assert told(keep_seconds=3600, keep_limit=NOW + 20 * MINUTE).may_be_kept_until(NOW) == (
        NOW + 20 * MINUTE
    )
    assert told(keep_seconds=3600, keep_limit=NOW + 10 * MINUTE).may_be_kept_until(NOW) is None
    assert told().may_be_kept_until(NOW) is None
    assert told(keep_seconds=3600, over_at=NOW).may_be_kept_until(NOW) is None


def test_the_most_urgent_is_told_first_and_what_is_over_or_old_not_at_all():
    shown = in_order(
        [
            told("old", NoticeKind.STOPPED, deadline=None, at=NOW - timedelta(days=4)),
            told("stopped", NoticeKind.STOPPED, deadline=None),
            told("later", deadline=NOW + HOUR),
            told("over", over_at=NOW),
            told("soon"),
        ],
        NOW,
    )

    assert [each.id for each in shown] == [
        told(about, kind).id
        for about, kind in (
            ("soon", NoticeKind.IDLE),
            ("later", NoticeKind.IDLE),
            ("stopped", NoticeKind.STOPPED),
        )
    ]


# ------------------------------------------------------------------------------------- idleness

POLICY = Editors(max_age=None)
HOLDING = Holding(NOW - 20 * HOUR)
FRESH = 3 * MINUTE


def seen(**more) -> Seen:
    return Seen(**{"active_at": NOW - HOUR, "reported_at": NOW, **more})


def test_an_idle_server_is_stopped_two_hours_after_something_was_last_done():
    found = due(POLICY, HOLDING, seen(), FRESH, NOW)

    assert found is not None
    assert (found.at, found.kind) == (NOW + HOUR, NoticeKind.IDLE)
    assert found.why(NOW + HOUR + 10 * MINUTE) == "idle for 2 h 10 min"


def test_one_with_a_gpu_sooner_and_one_that_waits_for_an_input_later():
    gpu = due(POLICY, Holding(NOW - 20 * HOUR, gpu=1), seen(), FRESH, NOW)
    busy = due(POLICY, HOLDING, seen(busy=True), FRESH, NOW)

    assert gpu is not None
    assert gpu.at == NOW - HOUR / 2
    assert busy is not None
    assert busy.at == NOW + 11 * HOUR


def test_one_that_computes_lives_whether_anybody_looks_or_not():
    assert due(POLICY, HOLDING, seen(working=True), FRESH, NOW) is None


def test_of_one_that_does_not_report_only_the_longest_time_counts():
    found = due(POLICY, HOLDING, seen(reported_at=NOW - HOUR, working=True), FRESH, NOW)

    assert found is not None
    assert found.at == NOW + 23 * HOUR
    never = POLICY.model_copy(update={"unreported": None})
    assert due(never, HOLDING, seen(reported_at=None), FRESH, NOW) is None


def test_a_server_that_is_as_old_as_one_may_be_is_stopped_though_it_computes_and_is_kept():
    old = POLICY.model_copy(update={"max_age": 86_400.0})
    found = due(old, HOLDING, seen(working=True, kept_until=NOW + 9 * HOUR), FRESH, NOW)

    assert found is not None
    assert (found.at, found.kind) == (NOW + 4 * HOUR, NoticeKind.MAX_AGE)


def test_a_gpu_that_nothing_uses_is_only_told_of_unless_the_policy_says_stop():
    holding = Holding(NOW - 20 * HOUR, gpu=1)
    unused = seen(working=True, gpu_active_at=NOW - HOUR)
    stops = POLICY.model_copy(update={"gpu_unused_then": "stop"})

    assert gpu_unused_at(POLICY, holding, unused) == NOW - HOUR / 2
    assert due(POLICY, holding, unused, FRESH, NOW) is None
    found = due(stops, holding, unused, FRESH, NOW)
    assert found is not None
    assert found.kind is NoticeKind.GPU_IDLE


@pytest.mark.parametrize(
    ("report", "works"),
    [
        ({"busy_kernels": 1, "busy_cores": 0.9}, True),
        ({"busy_kernels": 1, "busy_cores": 0.01}, False),  # input(), sleep(), a deadlock
        ({"busy_kernels": 0, "busy_cores": 0.9}, False),
        ({"other_cores": 0.1}, False),  # workers that wait for work
        ({"other_cores": 0.1, "terminals": 1}, True),
        ({"other_cores": 0.5}, True),
        ({"gpu": 0.5}, True),
        ({"gpu": 0.0, "connections": 12}, False),
    ],
)
def test_what_is_work(report, works):
    assert ActivityReport(**report).working is works


def test_lengths_of_time_are_read_as_people_write_them():
    said = CarePolicy.model_validate(
        {
            "editors": {"idle": "90 min", "max_age": "7 days"},
            "teams": {"ml": {"idle": "1.5 h", "max_age": "never"}, "ops": {"warning": "30 s"}},
        }
    )

    assert said.for_team("sales").idle == said.for_team("ml").idle == 5400
    assert said.for_team("sales").max_age == 7 * 86_400
    assert said.for_team("ml").max_age is None
    assert said.for_team("ops").warning == 30
    for wrong in ({"idle": "2 moons"}, {"idle": "5 min"}, {"idle": -1}):
        with pytest.raises(ValidationError):
            CarePolicy.model_validate({"editors": wrong})


def test_what_is_shipped_is_the_default():
    shipped = yaml.safe_load((ROOT / "hub_config" / "care.yaml").read_text())

    assert CarePolicy.model_validate(shipped) == CarePolicy()


reports = st.builds(
    ActivityReport,
    input_seconds_ago=st.none() | st.floats(0, 1e6),
    busy_kernels=st.integers(0, 3),
    busy_cores=st.floats(0, 4),
    other_cores=st.floats(0, 1),
    terminals=st.integers(0, 2),
    connections=st.integers(0, 5),
    gpu=st.none() | st.floats(0, 1),
)
policies = st.builds(
    Editors,
    stop_idle=st.booleans(),
    idle=st.floats(1200, 1e5),
    idle_with_gpu=st.floats(1200, 1e5),
    busy_without_work=st.floats(1200, 1e6),
    unreported=st.none() | st.floats(1200, 1e6),
    max_age=st.none() | st.floats(3600, 1e6),
    gpu_unused=st.none() | st.floats(600, 1e5),
    gpu_unused_then=st.sampled_from(["tell", "stop"]),
)


@given(policies, st.lists(st.tuples(st.floats(1, 5000), reports), max_size=30), st.integers(0, 1))
def test_whatever_is_reported_what_works_lives_and_nothing_outlives_its_age(policy, told, gpu):
    now = NOW
    holding, known = Holding(NOW, gpu), None
    for pause_seconds, report in told:
        now += timedelta(seconds=pause_seconds)
        before, known = known, after_report(known, report, holding, now)
        found = due(policy, holding, known, FRESH, now)
        alone = after_report(before, report.model_copy(update={"connections": 0}), holding, now)

        # time goes on, and nobody is active before the server was there, or later than now
        assert holding.begun_at <= known.active_at <= now
        assert before is None or known.active_at >= before.active_at
        # that somebody looks changes nothing
        assert due(policy, holding, alone, FRESH, now) == found
        oldest = policy.max_age and holding.begun_at + timedelta(seconds=policy.max_age)
        if oldest:
            assert found is not None
            assert found.at <= oldest
        if known.working:
            kinds = {NoticeKind.MAX_AGE, NoticeKind.GPU_IDLE}
            assert found is None or found.kind in kinds
        elif policy.stop_idle:
            assert found is not None
            if found.kind is NoticeKind.IDLE:
                # never sooner than the shortest time after the last activity
                least = policy.idle_with_gpu if gpu else policy.idle
                assert found.at >= known.active_at + timedelta(seconds=least)


@given(policies, reports, st.floats(0, 1e5))
def test_keeping_holds_off_for_as_long_as_was_said_and_never_brings_anything_nearer(
    policy, report, seconds
):
    known = after_report(None, report, HOLDING, NOW)
    until = NOW + timedelta(seconds=seconds)
    kept = replace(known, kept_until=until)
    without = due(policy, HOLDING, known, FRESH, NOW)
    found = due(policy, HOLDING, kept, FRESH, NOW)

    assert (without is None) == (found is None)
    if without is not None and found is not None:
        assert found.at >= without.at
        assert found.kind is NoticeKind.MAX_AGE or found.at >= until
