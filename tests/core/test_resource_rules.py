"""Rates, histories, limits and deaths: rules, without a machine."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.resources.deaths import Evidence, KillCounts, judge
from element_jupyter.core.resources.history import (
    DAY_POINTS,
    HOUR_POINTS,
    Measured,
    Series,
    points,
)
from element_jupyter.core.resources.limits import CONTAINER, HUB, MACHINE, choose
from element_jupyter.core.resources.metering import CounterMeter, CpuMeter
from element_jupyter.core.resources.processes import Process

GIB = 1024**3
MOST_CORES = 8.0


def process(pid: int, own: float, waited: float = 0.0, started_ticks: int = 1) -> Process:
    return Process(pid, 1, pid, started_ticks, False, own, own + waited, 0, 1)


# ------------------------------------------------------------------------------------- rates


def test_cores_are_the_processor_time_of_a_group_by_time():
    meter = CpuMeter(MOST_CORES)
    meter.cores([process(1, 10.0), process(2, 5.0)], 100.0, None)

    assert meter.cores([process(1, 11.0), process(2, 7.0)], 102.0, None) == 1.5


def test_a_group_that_was_not_there_before_has_used_all_of_its_time_since():
    assert CpuMeter(MOST_CORES).cores([process(1, 0.5)], 101.0, 100.0) == 0.5


def test_a_group_that_may_be_older_says_nothing_at_first():
    assert CpuMeter(MOST_CORES).cores([process(1, 500.0)], 101.0, None) == 0.0


def test_a_child_that_ends_and_is_waited_for_is_counted_once():
    meter = CpuMeter(MOST_CORES)
    meter.cores([process(1, 1.0), process(2, 3.0)], 0.0, None)

    assert meter.cores([process(1, 1.2, waited=3.3)], 1.0, None) == pytest.approx(0.5)


def test_a_child_that_ends_and_is_waited_for_by_nobody_takes_nothing_from_the_others():
    meter = CpuMeter(MOST_CORES)
    meter.cores([process(1, 1.0), process(2, 300.0)], 0.0, None)

    assert meter.cores([process(1, 1.5)], 1.0, None) == 0.5


def test_a_pid_that_comes_again_is_another_process():
    meter = CpuMeter(MOST_CORES)
    meter.cores([process(1, 50.0)], 0.0, None)

    assert meter.cores([process(1, 0.25, started_ticks=2)], 1.0, None) == 0.25


def test_two_readings_in_one_moment_are_one():
    meter = CpuMeter(MOST_CORES)
    meter.cores([process(1, 0.0)], 0.0, None)
    assert meter.cores([process(1, 1.0)], 1.0, None) == 1.0

    assert meter.cores([process(1, 1.01)], 1.001, None) == 1.0
    assert meter.cores([process(1, 2.0)], 2.0, None) == 1.0


READING = st.tuples(
    st.floats(-1e6, 1e6), st.lists(st.tuples(st.integers(1, 3), st.floats(0, 1e9)), max_size=3)
)


@given(st.lists(READING, max_size=20))
def test_whatever_clock_and_counters_say_cores_are_possible(readings):
    meter, counter = CpuMeter(MOST_CORES), CounterMeter(MOST_CORES)
    for at, used in readings:
        found = [process(pid, seconds) for pid, seconds in dict(used).items()]

        assert 0 <= meter.cores(found, at, None) <= MOST_CORES
        assert 0 <= counter.cores(sum(each.cpu_seconds for each in found), at) <= MOST_CORES


# ----------------------------------------------------------------------------------- history


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def filled(seconds: range) -> Series:
    series = Series()
    for second in seconds:
        series.add(Measured(second, second % 60, second, None))
    return series


def test_an_hour_is_kept_as_it_was_measured_and_no_more():
    kept = filled(range(10_000)).last(3600, 9_999, every_seconds=0)

    assert [each.at_seconds for each in kept] == list(range(10_000 - HOUR_POINTS, 10_000))


def test_a_day_is_kept_by_the_minute_with_the_most_memory_and_the_mean_of_the_cores():
    kept = filled(range(100_000)).last(24 * 3600, 99_999, every_seconds=0)

    assert len(kept) == DAY_POINTS + 1, "with the minute that goes on"
    assert kept[-2] == Measured(99_959, 29.5, 99_959, None)
    assert kept[-1].at_seconds == 99_999


def test_the_last_minutes_may_be_thinned():
    kept = filled(range(2_000)).last(600, 1_999, every_seconds=5)

    assert [each.at_seconds for each in kept][:2] == [1_404, 1_409]
    assert len(kept) == 120


def test_a_pause_is_a_gap_and_a_clock_that_is_set_moves_all_points():
    series = Series()
    for second in (0, 1, 500, 501):
        series.add(Measured(second, 1.0, 5, 7))
    kept = series.last(3600, 501, every_seconds=0)

    told = points(kept, 501, NOW)

    steps = [(b.at - a.at).total_seconds() for a, b in itertools.pairwise(told)]
    assert steps == [1, 499, 1]
    assert told[-1].at == NOW
    assert (told[0].cpu_cores, told[0].memory_bytes, told[0].gpu_memory_bytes) == (1.0, 5, 7)


# ------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("group", "said", "expected"),
    [
        (None, None, (64 * GIB, MACHINE, False)),
        (2 * GIB, None, (2 * GIB, CONTAINER, True)),
        (2 * GIB, str(2 * GIB), (2 * GIB, HUB, True)),
        (2 * GIB, str(4 * GIB), (2 * GIB, CONTAINER, True)),
        (None, str(4 * GIB), (4 * GIB, HUB, False)),
        (None, "4G", (4 * GIB, HUB, False)),
        (100 * GIB, None, (64 * GIB, MACHINE, False)),
        (None, str(100 * GIB), (64 * GIB, MACHINE, False)),
        (None, "much", (64 * GIB, MACHINE, False)),
        (None, "0", (64 * GIB, MACHINE, False)),
        (None, "", (64 * GIB, MACHINE, False)),
    ],
)
def test_a_limit_is_the_one_that_holds_with_who_has_set_it(group, said, expected):
    limit = choose(group, said, 64 * GIB)

    assert (limit.amount, limit.source, limit.enforced) == expected


# ------------------------------------------------------------------------------------ deaths


FULL = Evidence(
    -9,
    memory_bytes=int(1.5 * GIB),
    server_memory_bytes=int(1.99 * GIB),
    memory_limit_bytes=2 * GIB,
    limit_source="limit of the container",
)


@pytest.mark.parametrize(
    ("seen", "code", "sentence"),
    [
        (
            replace(FULL, group_kills=1),
            "out_of_memory",
            (
                "The kernel was killed: memory ran out (2.0 of 2.0 GiB, limit of the container). "
                "When last measured it used 1.5 GiB itself."
            ),
        ),
        (
            replace(FULL, group_kills=1, server_memory_bytes=GIB, group_peak_bytes=2 * GIB),
            "out_of_memory",
            (
                "The kernel was killed: memory ran out (2.0 of 2.0 GiB, limit of the container). "
                "When last measured it used 1.5 GiB itself."
            ),
        ),
        (
            replace(FULL, machine_kills=1),
            "out_of_memory",
            (
                "The kernel was killed, probably because memory ran out. "
                "When last measured it used 1.5 GiB itself."
            ),
        ),
        (
            Evidence(137, machine_kills=1),
            "out_of_memory",
            "The kernel was killed, probably because memory ran out.",
        ),
        (
            replace(FULL, kills_told=False, server_memory_bytes=None),
            "killed",
            "The kernel was killed (SIGKILL), and nothing says that memory ran out.",
        ),
        (FULL, "killed", "The kernel was killed (SIGKILL), and not for want of memory."),
        (Evidence(-11), "crashed", "The kernel crashed (SIGSEGV)."),
        (Evidence(134), "crashed", "The kernel crashed (SIGABRT)."),
        (Evidence(-15, group_kills=1), "killed", "The kernel was ended by a signal (SIGTERM)."),
        (Evidence(-64), "killed", "The kernel was ended by a signal (SIGRTMAX)."),
        (Evidence(3), "exited", "The kernel ended itself, with exit code 3."),
        (Evidence(255), "exited", "The kernel ended itself, with exit code 255."),
        (Evidence(None), "unknown", "The kernel has ended, and nothing tells why."),
    ],
)
def test_why_a_kernel_has_ended_is_said_as_far_as_it_is_known(seen, code, sentence):
    assert judge(seen) == (code, sentence)


def test_where_the_system_tells_of_no_kills_a_full_memory_is_the_probable_reason():
    code, sentence = judge(replace(FULL, kills_told=False))

    assert code == "out_of_memory"
    assert "probably" in sentence


def test_a_kill_that_explains_one_death_explains_no_other():
    counts = KillCounts()
    counts.note(0.0, 3, 5)
    counts.note(1.0, 5, 8)
    assert counts.lately() == (2, 3)

    counts.explain()
    assert counts.lately() == (1, 2)
    counts.explain()
    counts.note(2.0, 5, 8)

    assert counts.lately() == (0, 1)


def test_a_kill_of_long_ago_explains_nothing():
    counts = KillCounts()
    for at in range(0, 200, 15):
        counts.note(at, 1 if at else 0, None)

    assert counts.lately() == (0, None)
