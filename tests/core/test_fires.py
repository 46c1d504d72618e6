"""What becomes of a fire: the catch-up policy, and the rows of the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.fires import (
    GRACE_SECONDS,
    Ask,
    Downtime,
    Known,
    catch_up,
    decide,
    refusal,
    unasked,
)
from element_jupyter.core.jobs import CatchUp
from element_jupyter.core.runs import FireState
from element_jupyter.core.schedules import Fire

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def every(step):
    """A schedule that fires whenever `step` divides the time since 1970."""

    def following(after):
        count = (after - datetime(1970, 1, 1, tzinfo=UTC)) // step + 1
        at = datetime(1970, 1, 1, tzinfo=UTC) + count * step
        return Fire(at=at, wall_time="")

    return following


@pytest.mark.parametrize(
    ("policy", "late_seconds", "following", "runs"),
    [
        (CatchUp.NONE, 0, None, True),
        (CatchUp.NONE, GRACE_SECONDS, None, True),
        (CatchUp.NONE, GRACE_SECONDS + 1, None, False),
        (CatchUp.LATEST, 10**6, None, True),
        (CatchUp.LATEST, 1800, HOUR, True),
        (CatchUp.LATEST, 3600, HOUR, False),
        (CatchUp.LATEST, 60, timedelta(minutes=1), True),
        (CatchUp.LATEST, 180, timedelta(minutes=1), False),
        (CatchUp.ALL, 10**8, HOUR, True),
    ],
)
def test_a_late_fire_runs_as_its_policy_says(policy, late_seconds, following, runs):
    now = AT + timedelta(seconds=late_seconds)
    missed = decide(policy, AT, now, AT + following if following else None)
    assert (missed is None) == runs
    assert missed is None or (missed.endswith(".") and "catch-up policy" in missed)


@given(late=st.integers(0, 10**7), gap=st.integers(60, 10**6), grace=st.integers(0, 10**4))
def test_what_runs_under_a_stricter_policy_runs_under_a_milder_one(late, gap, grace):
    now, following = AT + timedelta(seconds=late), AT + timedelta(seconds=gap)
    none, latest, all_ = (decide(policy, AT, now, following, grace) is None for policy in CatchUp)
    assert none <= latest <= all_


def an_ask(**values):
    ask = Ask(job="sales/a", due_at=AT, policy=CatchUp.LATEST, max_active=1, next_due=None)
    return replace(ask, **values)


def known(state=None, active=(), overlapping=None):
    return Known(state=state, active=active, overlapping=overlapping)


def test_a_fire_that_ran_may_run_again():
    late = AT + 100 * HOUR
    ask = an_ask(policy=CatchUp.NONE, paused=True)
    assert refusal(ask, known(FireState.RAN, active=["d"]), late) is None


def test_a_fire_of_a_paused_job_is_skipped():
    assert refusal(an_ask(paused=True), known(), AT).state is FireState.SKIPPED


def test_a_fire_that_nobody_asked_for_in_time_may_still_run():
    assert refusal(an_ask(), known(FireState.MISSED), AT + HOUR) is None


@pytest.mark.parametrize(("policy", "skipped"), [("none", True), ("latest", True), ("all", False)])
def test_a_fire_is_skipped_while_the_previous_run_is_active_unless_all_must_run(policy, skipped):
    record = refusal(an_ask(policy=CatchUp(policy)), known(active=["d"]), AT)
    assert (record is not None) == skipped
    if record:
        assert (record.state, record.at, record.job) == (FireState.SKIPPED, AT, "sales/a")
        assert record.reason == "The previous run is still active, and max_active is 1."
    assert refusal(an_ask(policy=CatchUp(policy), max_active=2), known(active=["d"]), AT) is None


def test_a_fire_that_came_late_since_the_previous_run_took_long_is_skipped_not_missed():
    ask = an_ask(policy=CatchUp.LATEST, next_due=AT + HOUR)
    record = refusal(ask, known(overlapping="r-1"), AT + 2 * HOUR)
    assert record.state is FireState.SKIPPED
    assert record.reason.startswith(
        "The previous run, r-1, was still active. A later fire, of 2026-11-20 03:00 UTC"
    )


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("none", ["missed", "missed", "missed"]),
        ("latest", ["missed", "missed", "due"]),
        ("all", ["due", "due", "due"]),
    ],
)
def test_fires_of_a_downtime_become_what_the_policy_says(policy, states):
    now = AT + timedelta(hours=3, minutes=10)
    downtime = Downtime(AT, now)
    rows = catch_up("sales/a", CatchUp(policy), AT, now, every(HOUR), downtime=downtime)
    assert [row.at for row in rows] == [AT + n * HOUR for n in (1, 2, 3)]
    assert [row.state.value for row in rows] == states
    if policy == "none":
        assert rows[0].reason == (
            "Element was not running from 2026-11-20 02:00 UTC to 2026-11-20 05:10 UTC, "
            "and the catch-up policy is none."
        )


def test_a_fire_within_the_grace_is_due_whatever_the_policy():
    rows = catch_up("sales/a", CatchUp.NONE, AT, AT + HOUR + timedelta(seconds=9), every(HOUR))
    assert [row.state for row in rows] == [FireState.DUE]


@pytest.mark.parametrize(
    ("policy", "states"),
    [("none", ["missed", "due"]), ("latest", ["missed", "due"]), ("all", ["due"] * 2)],
)
def test_of_fires_within_the_grace_only_the_newest_is_asked_for_unless_all_must_run(policy, states):
    minute = timedelta(minutes=1)
    rows = catch_up("sales/a", CatchUp(policy), AT, AT + 2 * minute, every(minute))
    assert [row.state.value for row in rows] == states


def test_fires_while_paused_are_skipped():
    rows = catch_up("sales/a", CatchUp.ALL, AT, AT + 2 * HOUR, every(HOUR), paused=True)
    assert {(row.state, row.reason) for row in rows} == {(FireState.SKIPPED, "The job is paused.")}


@given(
    minutes=st.integers(1, 3 * 10**6),
    step=st.integers(1, 10_000),
    limit=st.integers(2, 50),
    policy=st.sampled_from(CatchUp),
)
def test_a_catch_up_is_bounded_and_leaves_no_fire_without_a_row(minutes, step, limit, policy):
    asked = 0
    following = every(timedelta(minutes=step))

    def counted(after):
        nonlocal asked
        asked += 1
        return following(after)

    now = AT + timedelta(minutes=minutes)
    rows = catch_up("sales/a", policy, AT, now, counted, limit=limit)
    due = []
    fire = following(AT)
    while fire.at <= now and len(due) <= limit:
        due.append(fire.at)
        fire = following(fire.at)
    assert len(rows) <= limit
    assert asked < 10 * limit + 60
    assert [row.at for row in rows] == sorted({row.at for row in rows})
    if len(due) <= limit:
        assert [row.at for row in rows] == due
    else:
        assert rows[0].at == due[0]
        assert "stands for every fire" in rows[0].reason
        assert following(rows[-1].at).at > now
        assert all(following(a.at).at == b.at for a, b in pairwise(rows[1:]))


def test_a_fire_that_nobody_asked_for_says_so():
    assert unasked() == "Airflow did not ask for it within 10 minutes."
