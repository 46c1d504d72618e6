"""The wall clock over croniter, and what is refused before it is asked."""

# ruff: noqa: DTZ001 - wall clocks are what this is about

import time
from datetime import datetime

import pytest

from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.core.errors import Invalid

CLOCK = CroniterWallClock()
NEW_YEAR = datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("expression", "after", "match"),
    [
        ("0 6 * * 1-5", NEW_YEAR, datetime(2026, 1, 1, 6)),
        ("0 6 * * 1-5", datetime(2026, 1, 2, 6), datetime(2026, 1, 5, 6)),
        ("*/15 * * * *", datetime(2026, 1, 1, 0, 14, 59, 999_999), datetime(2026, 1, 1, 0, 15)),
        ("5-5 * * * *", NEW_YEAR, datetime(2026, 1, 1, 0, 5)),
        ("0 0 29 2 *", NEW_YEAR, datetime(2028, 2, 29)),
        ("0 0 29 2 *", datetime(2097, 1, 1), datetime(2104, 2, 29)),
        ("0 0 L * *", datetime(2026, 2, 1), datetime(2026, 2, 28)),
        ("0 0 15W * ?", datetime(2026, 8, 1), datetime(2026, 8, 14)),
        ("0 0 * * FRI#2", NEW_YEAR, datetime(2026, 1, 9)),
        ("0 0 13 * 5", NEW_YEAR, datetime(2026, 1, 2)),
        ("0 0 * 2 1#5", NEW_YEAR, datetime(2044, 2, 29)),
        ("0 0 * * 7", NEW_YEAR, datetime(2026, 1, 4)),
        (" 0\t6 * *  mon ", NEW_YEAR, datetime(2026, 1, 5, 6)),
        ("30 22-2 * * *", datetime(2026, 1, 1, 3), datetime(2026, 1, 1, 22, 30)),
    ],
)
def test_the_next_match_is_strictly_after_the_time_given(expression, after, match):
    CLOCK.check(expression)
    assert CLOCK.next_after(expression, after) == match
    assert CLOCK.next_after(expression, match) > match


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("61 * * * *", "minute 61 is not between 0 and 59"),
        ("* 24 * * *", "hour 24 is not between 0 and 23"),
        ("* * 0 * *", "day of the month 0 is not between 1 and 31"),
        ("* * * 13 *", "month 13 is not between 1 and 12"),
        ("* * * * 8", "weekday 8 is not between 0 and 7"),
        ("* * * * foo", "weekday 'foo' is not a weekday"),
        ("* * * jan-fob *", "month 'fob' is not a month"),
        ("-5 * * * *", "minute '-5' is not a minute"),
        ("1,,2 * * * *", "minute '' is not a minute"),
        ("*/0 * * * *", "has a step of 0"),
        ("*/90 * * * *", "has a step of 90, which is more than the field holds"),
        ("? * * * *", "minute '?' is not a minute"),
        ("R * * * *", "minute 'r' is not a minute"),
        ("H(0-5) * * * *", "minute 'h(0-5)' is not a minute"),
        ("* * 15W,3 * *", "'W' in a list"),
        ("0 0 1 * 5#2", "'5#2' cannot be combined"),
        ("* * * * * *", "has 6 fields"),
        ("0 0 6 * * * 2026", "has 7 fields"),
        ("*", "has 1 field;"),
        ("", "has 0 fields"),
        ("٣ * * * *", "is not a minute"),
        ("1" * 190 + " * * * *", "is not between 0 and 59"),
        ("0 0 30 2 *", "never fires: there is no 30 February"),
        ("0 0 31 4,6,9,11 *", "never fires: there is no 31 April"),
    ],
)
def test_a_wrong_expression_is_refused_with_the_field_at_fault(expression, words):
    with pytest.raises(Invalid) as error:
        CLOCK.check(expression)
    assert words in error.value.message
    assert error.value.hint
    assert error.value.field == "schedule.expression"


def test_finding_out_that_nothing_ever_matches_is_cheap():
    began = time.process_time()
    for day in (30, 31):
        with pytest.raises(Invalid):
            CLOCK.check(f"* * {day} 2 *")
    assert time.process_time() - began < 1


def test_the_end_of_the_calendar_is_no_match():
    assert CLOCK.next_after("0 0 1 1 *", datetime(9999, 6, 1)) is None
