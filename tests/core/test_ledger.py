"""The ledger: what is counted when, what it costs, and what the month will."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from element_jupyter.core.errors import Invalid
from element_jupyter.core.ledger.amounts import Four, Sums
from element_jupyter.core.ledger.counting import Mark, Reading, advance, hour_of, spread
from element_jupyter.core.ledger.prices import Billing, Prices
from element_jupyter.core.ledger.reports import (
    By,
    Part,
    check_span,
    dimensions,
    forecast,
    month_of,
    rows,
    total,
)

ID = "s-" + "0" * 26
BEGUN = datetime(2026, 5, 4, 8, 30, tzinfo=UTC)
HOUR = 3_600_000_000


def at(minutes: float) -> datetime:
    return BEGUN + timedelta(minutes=minutes)


def mark(ended: float | None = None) -> Mark:
    return Mark(ID, BEGUN, BEGUN, None if ended is None else at(ended))


def read(minutes: float, **said) -> Reading:
    return Reading(allocation_id=ID, at=at(minutes), **said)


# ----------------------------------------------------------------------------------- counting


@given(
    amount=st.integers(0, 10**15),
    since=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware
    length=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_parts_laid_into_hours_are_exactly_the_whole(amount, since, length):
    since = since.replace(tzinfo=UTC)

    laid = dict(spread(amount, since, since + length))

    assert sum(laid.values()) == amount
    assert all(part >= 0 for part in laid.values())
    assert all(hour_of(hour) == hour for hour in laid)
    assert all(hour_of(since) <= hour <= since + length for hour in laid)


def test_what_is_given_lies_in_the_hours_it_was_given_in():
    counted = advance(mark(), at(100))

    assert {hour.hour: part.given_us / HOUR for hour, part in counted.hours.items()} == {
        8: pytest.approx(0.5),
        9: pytest.approx(1),
        10: pytest.approx(10 / 60),
    }
    assert not counted.mark.settled


def test_a_reading_that_is_told_twice_or_late_adds_nothing():
    first = advance(mark(), at(10), [read(10, cpu_seconds=60, memory_bytes=1 << 30)])

    again = advance(first.mark, at(10), [read(10, cpu_seconds=60, memory_bytes=1 << 30)])
    late = advance(first.mark, at(10), [read(5, cpu_seconds=30, memory_bytes=1 << 30)])

    assert first.hours[hour_of(BEGUN)].cpu_us == 60_000_000
    assert again.hours == late.hours == {}


def test_what_was_used_while_nobody_looked_is_in_the_next_reading():
    before = advance(mark(), at(10), [read(10, cpu_seconds=60)])

    after = advance(before.mark, at(130), [read(130, cpu_seconds=660)])

    assert sum(part.cpu_us or 0 for part in after.hours.values()) == 600_000_000
    assert len(after.hours) == 3


def test_a_counter_that_has_lost_sight_of_processes_counts_nothing_twice():
    before = advance(mark(), at(10), [read(10, cpu_seconds=60)])
    less = advance(before.mark, at(11), [read(11, cpu_seconds=20)])
    more = advance(less.mark, at(12), [read(12, cpu_seconds=25)])

    assert less.hours[hour_of(BEGUN)].cpu_us == 0
    assert more.hours[hour_of(BEGUN)].cpu_us == 5_000_000


def test_another_meter_of_gpus_begins_anew_and_the_same_goes_on():
    first = advance(mark(), at(1), [read(1, gpu_seconds=10, meter="a")])
    same = advance(first.mark, at(2), [read(2, gpu_seconds=15, meter="a")])
    other = advance(same.mark, at(3), [read(3, gpu_seconds=7, meter="b")])

    assert [part.hours[hour_of(BEGUN)].gpu_us for part in (first, same, other)] == [
        10_000_000,
        5_000_000,
        7_000_000,
    ]


def test_memory_counts_the_mean_between_readings_and_the_last_until_the_end():
    first = advance(mark(), at(10), [read(10, memory_bytes=1 << 20)])
    second = advance(first.mark, at(20), [read(20, memory_bytes=3 << 20)])
    ended = replace(second.mark, ended_at=at(25))
    last = advance(ended, at(30), [read(25, peak_memory_bytes=9 << 20)])

    told = [
        sum(part.memory_kib_s or 0 for part in each.hours.values())
        for each in (first, second, last)
    ]
    assert told == [1024 * 600, 2048 * 600, 3072 * 300]


def test_the_peak_counts_where_nothing_has_measured_memory_on_the_way():
    counted = advance(mark(10), at(20), [read(10, cpu_seconds=5, peak_memory_bytes=1 << 20)])

    assert counted.hours[hour_of(BEGUN)].memory_kib_s == 1024 * 600
    assert counted.mark.settled


def test_an_end_that_is_told_late_is_taken_back_where_it_was_counted_visibly():
    counted = advance(mark(), at(100))
    ended = replace(counted.mark, ended_at=at(20))

    back = advance(ended, at(101))

    given: dict[datetime, int] = defaultdict(int)
    for each in (counted, back):
        for hour, part in each.hours.items():
            given[hour] += part.given_us - part.taken_back_us
    assert {hour.hour: us for hour, us in given.items()} == {8: 20 * 60 * 10**6, 9: 0, 10: 0}
    assert all(part.given_us == 0 for part in back.hours.values())
    assert back.mark.settled


@given(
    looks=st.lists(st.floats(0, 600), max_size=8),
    ended=st.floats(0, 300),
    told=st.integers(0, 8),
)
def test_whenever_it_is_counted_the_whole_is_from_begin_to_end(looks, ended, told):
    now, state, given_us = BEGUN, mark(), 0
    for number, minutes in enumerate([*sorted(looks), 601]):
        now = max(now, at(minutes))
        if number >= told and at(ended) <= now:
            state = replace(state, ended_at=at(ended))
        counted = advance(state, now)
        state = counted.mark
        given_us += sum(part.given_us - part.taken_back_us for part in counted.hours.values())

    if state.ended_at is not None:
        assert given_us == (at(ended) - BEGUN) // timedelta(microseconds=1)
        assert state.settled


# ------------------------------------------------------------------------------------- prices


def priced(**said) -> Prices:
    return Prices.model_validate(said)


def test_prices_hold_from_their_day_until_the_next_ones():
    prices = priced(
        prices=[
            {"from": "2026-07-01", "cpu_hour": 0.2},
            {"from": "2026-01-01", "cpu_hour": 0.1, "gpu_hour": {"h100": 3, "default": 1}},
        ]
    )

    assert prices.days == (date(2026, 1, 1), date(2026, 7, 1))
    assert prices.rates(0, "small", Decimal("0.5")).whole == Decimal("0.5")
    assert prices.rates(1, "small", None).cpu == Decimal("0.1")
    assert prices.rates(1, "h100", None).gpu == 3
    assert prices.rates(1, "small", None).gpu == 1
    assert prices.rates(2, "small", None).gpu == 0


def test_a_size_that_only_others_are_named_beside_costs_what_was_recorded():
    prices = priced(prices=[{"from": "2026-01-01", "sizes": {"large": 2}}])

    assert prices.rates(1, "large", Decimal(9)).whole == 2
    assert prices.rates(1, "small", Decimal(9)).whole == 9


@pytest.mark.parametrize(
    "wrong",
    [
        [{"from": "2026-01-01"}],
        [{"from": "2026-01-01", "cpu_hour": -1}],
        [{"from": "2026-01-01", "cpu_hour": 1}, {"from": "2026-01-01", "cpu_hour": 2}],
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        priced(prices=wrong)


SUMS = Sums(
    begun=1,
    metered_us=2 * HOUR,
    allocated=Four(2 * HOUR, 4 * HOUR, 0, 0),
    used=Four(HOUR, 2 * HOUR, 0, 0),
    largest=Four(2 * HOUR, 4 * HOUR, 0, 0),
    idle=Four(HOUR, 2 * HOUR, 0, 0),
)


def test_money_is_decimal_and_a_total_is_the_sum_of_what_is_shown():
    prices = priced(prices=[{"from": "2026-01-01", "cpu_hour": "0.000003"}])
    parts = [Part((name,), 1, "small", None, None, SUMS) for name in ("ada", "bob", "eve")]

    listed = list(rows(parts, (By.PERSON,), prices))

    assert [row.person for row in listed] == ["ada", "bob", "eve"]
    assert all(row.cost == Decimal("0.000012") for row in listed)
    added = total(listed, parts)
    assert added.cost == sum(row.cost for row in listed)
    assert added.idle_share == pytest.approx(0.5)
    assert added.allocated_cpu_hours == pytest.approx(12)


@pytest.mark.parametrize(
    ("billing", "hours"), [(Billing.REQUESTED, 4), (Billing.USED, 2), (Billing.LARGEST, 4)]
)
def test_what_is_billed_is_what_the_policy_says(billing, hours):
    assert SUMS.billed(billing).cpu_us == hours * HOUR


# ----------------------------------------------------------------------------------- reports


def test_what_is_told_apart_is_read_and_checked():
    assert dimensions("team, day") == (By.TEAM, By.DAY)
    with pytest.raises(Invalid, match="planet"):
        dimensions("planet")
    with pytest.raises(Invalid, match="twice"):
        dimensions("day,day")


def test_a_span_ends_after_it_begins_and_is_not_for_ever():
    check_span(date(2026, 1, 1), date(2026, 1, 2))
    with pytest.raises(Invalid, match="not after"):
        check_span(date(2026, 1, 2), date(2026, 1, 2))
    with pytest.raises(Invalid, match="ten years"):
        check_span(date(1990, 1, 2), date(2026, 1, 2))


def test_the_month_is_that_of_the_time_zone():
    now = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)

    assert month_of(now, "UTC") == (date(2026, 10, 1), date(2026, 11, 1))
    assert month_of(now, "Europe/Zurich") == (date(2026, 11, 1), date(2026, 12, 1))


def test_the_days_to_come_cost_what_their_weekday_did_in_the_last_four_weeks():
    now = datetime(2026, 11, 16, tzinfo=UTC)  # a Monday, as it begins
    by_day = {
        date(2026, 11, 16) - timedelta(days=back): Decimal(0 if back % 7 in {1, 2} else 10)
        for back in range(1, 29)
    }

    # two weeks and a Monday: 11 workdays at 10, weekends at nothing
    told = forecast(Decimal(100), by_day, date(2026, 12, 1), now, "UTC")

    assert told == Decimal(100 + 110)


def test_while_the_books_are_young_every_day_costs_the_mean_since_the_first():
    now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    by_day = {date(2026, 11, 12): Decimal(8)}

    told = forecast(Decimal(8), by_day, date(2026, 11, 18), now, "UTC")

    assert told == Decimal(8) + Decimal(2) / 2 + Decimal(2)


def test_without_a_day_before_nothing_is_foretold():
    now = datetime(2026, 11, 16, 12, tzinfo=UTC)

    assert forecast(Decimal(3), {}, date(2026, 12, 1), now, "UTC") == 3
