"""When schedules fire, above all while clocks turn."""

# ruff: noqa: DTZ001 - wall clocks are what this is about

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.core.errors import Invalid
from element_jupyter.core.schedules import (
    CRON_MACROS,
    PRESETS,
    Cron,
    OnAsset,
    Once,
    check,
    describe,
    expression_of,
    fires,
    hour_varies,
    latest_fire,
    next_fire,
    preview,
)

CLOCK = CroniterWallClock()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

# zone and a day around which its clock does something
TURNS = [
    ("Europe/Zurich", datetime(2026, 3, 29)),
    ("Europe/Zurich", datetime(2026, 10, 25)),
    ("America/New_York", datetime(2026, 3, 8)),
    ("America/New_York", datetime(2026, 11, 1)),
    ("Australia/Lord_Howe", datetime(2026, 4, 5)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 10, 4)),
    ("America/Asuncion", datetime(2024, 3, 24)),  # at midnight; the last ones there were
    ("America/Asuncion", datetime(2023, 10, 1)),
    ("Pacific/Apia", datetime(2011, 12, 30)),  # a whole day skipped
    ("Africa/Casablanca", datetime(2026, 2, 15)),  # Ramadan
    ("Africa/Casablanca", datetime(2026, 3, 22)),
    ("America/St_Johns", datetime(2006, 10, 29)),  # a minute past midnight
    ("Asia/Kathmandu", datetime(1986, 1, 1)),  # by a quarter of an hour
    ("Pacific/Kwajalein", datetime(1993, 8, 21)),
    ("Antarctica/Troll", datetime(2026, 3, 29)),  # by two hours
    ("Antarctica/Troll", datetime(2026, 10, 25)),
    ("Europe/Dublin", datetime(2026, 10, 25)),  # winter is the daylight-saving time
    ("Asia/Pyongyang", datetime(2015, 8, 15)),
]
MINUTES = ["0", "30", "*/20", "59", "1", "*", "5,35"]
FIXED_HOURS = ["0", "1", "2", "3", "0,1,2,3", "2,23", "23"]
VARYING_HOURS = ["*", "*/2", "0-3", "1-3", "1-23/2"]
DAYS = ["* * *", "* * 0", "29-31 * *", "* 3,10 *"]


def cron(expression, timezone="UTC", **more):
    return Cron(expression=expression, timezone=timezone, **more)


def utc(*parts: Any) -> datetime:
    return datetime(*parts).replace(tzinfo=UTC)


def around(turn):
    zone, day = turn
    middle = day.replace(tzinfo=UTC)
    return zone, middle - timedelta(days=2), middle + timedelta(days=3)


def instants(schedule, after, until):
    return [fire.at for fire in fires(schedule, CLOCK, after, until)]


def wall_matches(expression, zone, after, until):
    """The instants whose wall time matches, found by looking at every minute."""
    allowed = [None if "*" in values else set(values) for values in croniter(expression).expanded]
    found, at, tz = [], after, ZoneInfo(zone)
    while (at := at + MINUTE) <= until:
        wall = at.astimezone(tz)
        parts = (wall.minute, wall.hour, wall.day, wall.month, wall.isoweekday() % 7)
        if all(only is None or part in only for part, only in zip(parts, allowed, strict=True)):
            found.append(at)
    return found


# ------------------------------------------------------------------------- the rule, by example


def test_a_daily_job_whose_hour_is_skipped_fires_when_the_gap_ends():
    days = list(islice(fires(cron("30 2 * * *", "Europe/Zurich"), CLOCK, utc(2026, 3, 27, 12)), 3))
    assert [(fire.wall_time, fire.dst) for fire in days] == [
        ("2026-03-28T02:30+01:00", None),
        ("2026-03-29T03:00+02:00", "shifted"),
        ("2026-03-30T02:30+02:00", None),
    ]
    assert days[1].at == utc(2026, 3, 29, 1)


def test_a_daily_job_whose_hour_comes_twice_fires_the_first_time_only():
    days = list(islice(fires(cron("30 2 * * *", "Europe/Zurich"), CLOCK, utc(2026, 10, 24, 12)), 2))
    assert [(fire.wall_time, fire.dst) for fire in days] == [
        ("2026-10-25T02:30+02:00", "repeated"),
        ("2026-10-26T02:30+01:00", None),
    ]


def test_an_hourly_job_follows_real_time_through_both_turns():
    hourly = cron("0 * * * *", "Europe/Zurich")
    autumn = list(fires(hourly, CLOCK, utc(2026, 10, 24, 22), utc(2026, 10, 25, 2)))
    assert [fire.at.hour for fire in autumn] == [23, 0, 1, 2]
    assert [fire.dst for fire in autumn] == [None, "repeated", "repeated", None]
    assert [fire.wall_time[11:] for fire in autumn] == [
        "01:00+02:00",
        "02:00+02:00",
        "02:00+01:00",
        "03:00+01:00",
    ]
    spring = list(fires(hourly, CLOCK, utc(2026, 3, 28, 23), utc(2026, 3, 29, 2)))
    assert [fire.wall_time[11:16] for fire in spring] == ["01:00", "03:00", "04:00"]
    assert [fire.dst for fire in spring] == [None, None, None]


def test_several_times_of_one_gap_are_one_fire():
    schedule = cron("*/10 2,3 * * *", "Europe/Zurich")
    found = list(fires(schedule, CLOCK, utc(2026, 3, 28, 12), utc(2026, 3, 29, 1, 30)))
    assert [(fire.wall_time[11:16], fire.dst) for fire in found] == [
        ("03:00", "shifted"),
        ("03:10", None),
        ("03:20", None),
        ("03:30", None),
    ]


def test_a_day_that_a_zone_never_had_is_made_up_for_when_the_next_begins():
    found = list(islice(fires(cron("0 6 * * *", "Pacific/Apia"), CLOCK, utc(2011, 12, 29, 8)), 3))
    assert [(fire.wall_time, fire.dst) for fire in found] == [
        ("2011-12-29T06:00-10:00", None),
        ("2011-12-31T00:00+14:00", "shifted"),
        ("2011-12-31T06:00+14:00", None),
    ]


def test_a_second_pass_is_found_though_the_next_match_on_the_clock_is_a_year_away():
    schedule = cron("15 2/22 25 10 *", "Europe/Zurich")
    assert next_fire(schedule, CLOCK, utc(2026, 10, 25, 0, 20)).at == utc(2026, 10, 25, 1, 15)


@pytest.mark.parametrize(
    ("expression", "varies"),
    [
        ("0 6 * * *", False),
        ("*/5 6,18 * * *", False),
        ("0 6-6 * * *", False),
        ("0 * * * *", True),
        ("0 */6 * * *", True),
        ("0 9-17 * * *", True),
        ("0 6/6 * * *", True),
    ],
)
def test_the_hour_varies_when_its_field_has_a_star_a_range_or_a_step(expression, varies):
    assert hour_varies(expression) is varies


# ---------------------------------------------------------------------- the rule, against oracles


@given(
    st.sampled_from(TURNS),
    st.sampled_from(MINUTES),
    st.sampled_from(VARYING_HOURS),
    st.sampled_from(DAYS),
)
@settings(max_examples=60, deadline=None)
def test_a_varying_hour_fires_at_exactly_the_instants_whose_wall_time_matches(
    turn, minute, hour, days
):
    zone, after, until = around(turn)
    expression = f"{minute} {hour} {days}"
    assert instants(cron(expression, zone), after, until) == wall_matches(
        expression, zone, after, until
    )


@given(
    st.sampled_from(TURNS),
    st.sampled_from(MINUTES),
    st.sampled_from(FIXED_HOURS),
    st.sampled_from(DAYS),
)
@settings(max_examples=60, deadline=None)
def test_a_fixed_hour_fires_once_for_each_wall_time_or_once_after_its_gap(turn, minute, hour, days):
    zone, after, until = around(turn)
    expression = f"{minute} {hour} {days}"
    found = list(fires(cron(expression, zone), CLOCK, after, until))
    exact = wall_matches(expression, zone, after, until)
    walls = [at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for at in exact]
    first_passes = [at for index, at in enumerate(exact) if walls[index] not in walls[:index]]
    assert [
        fire.at for fire in found if fire.dst != "shifted" or fire.at in first_passes
    ] == first_passes
    for fire in found:
        if fire.dst == "shifted":
            tz = ZoneInfo(zone)
            assert (
                fire.at.astimezone(tz).utcoffset()
                > (fire.at - MINUTE / 60).astimezone(tz).utcoffset()
            )


@given(
    st.sampled_from(TURNS),
    st.sampled_from(MINUTES),
    st.sampled_from(FIXED_HOURS + VARYING_HOURS),
    st.integers(0, 5 * 1440 * 60),
    st.integers(0, 5 * 1440 * 60),
)
@settings(max_examples=60, deadline=None)
def test_fires_increase_and_joined_spans_are_the_span(turn, minute, hour, one, two):
    zone, after, until = around(turn)
    schedule = cron(f"{minute} {hour} * * *", zone)
    whole = instants(schedule, after, until)
    assert all(one < two for one, two in pairwise(whole))
    middle = after + timedelta(seconds=one)
    assert instants(schedule, after, middle) + instants(schedule, middle, until) == whole
    for at in (after + timedelta(seconds=one), after + timedelta(seconds=two)):
        following = next_fire(schedule, CLOCK, at).at
        assert following > at
        assert not [fire for fire in whole if at < fire < following]
    low, high = sorted((middle, after + timedelta(seconds=two)))
    latest = latest_fire(schedule, CLOCK, high, low)
    inside = [at for at in whole if low < at <= high]
    assert (latest.at if latest else None) == (inside[-1] if inside else None)


@given(
    st.sampled_from(MINUTES),
    st.sampled_from(FIXED_HOURS + VARYING_HOURS),
    st.sampled_from(["* * *", "1 * *", "* 2 1-5", "L * *", "13 * 5", "29 2 *"]),
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
)
@settings(max_examples=60, deadline=None)
def test_in_utc_it_is_what_croniter_says(minute, hour, days, start):
    expression = f"{minute} {hour} {days}"
    after = start.replace(tzinfo=UTC, microsecond=0)
    theirs = croniter(expression, after)
    ours = islice(fires(cron(expression), CLOCK, after), 5)
    assert [fire.at for fire in ours] == [theirs.get_next(datetime) for _ in range(5)]


# ---------------------------------------------------------------------------------------- the rest


def test_the_latest_of_years_of_minutely_fires_is_found_at_once():
    asked = 0

    class Counting(CroniterWallClock):
        def next_after(self, expression, wall):
            nonlocal asked
            asked += 1
            return super().next_after(expression, wall)

    found = latest_fire(
        cron("* * * * *", "Europe/Zurich"), Counting(), utc(2026, 3, 1), utc(1996, 1, 1)
    )
    assert found.at == utc(2026, 3, 1)
    assert asked < 60


def test_start_and_end_bound_the_fires_and_belong_to_them():
    schedule = cron("0 6 * * *", start=utc(2026, 3, 5, 6), end=utc(2026, 3, 7, 6))
    assert instants(schedule, NOW, None) == [utc(2026, 3, day, 6) for day in (5, 6, 7)]


def test_once_fires_once():
    once = Once(at="2026-11-20T17:00:30+01:00")
    (fire,) = fires(once, CLOCK, NOW)
    assert (fire.at, fire.wall_time, fire.dst) == (
        utc(2026, 11, 20, 16, 0, 30),
        "2026-11-20T16:00:30+00:00",
        None,
    )
    assert next_fire(once, CLOCK, fire.at) is None
    assert latest_fire(once, CLOCK, fire.at, NOW) == fire


def test_a_schedule_on_other_jobs_has_no_fires_by_time():
    after = OnAsset(jobs=("ada/load",))
    check(after, CLOCK, NOW)
    assert next_fire(after, CLOCK, NOW) is None
    assert preview(after, CLOCK, NOW, 5).fires == ()


def test_every_preset_is_an_expression_however_it_is_capitalised():
    for name, expression in PRESETS.items():
        for spelling in (name, name.title()):
            assert expression_of(cron(spelling)) == expression
        check(cron(name), CLOCK, NOW)


def test_a_macro_of_cron_means_what_cron_says():
    assert expression_of(cron("@daily")) == "0 0 * * *"
    assert expression_of(cron("@Weekly")) == "0 0 * * 0"
    for name in CRON_MACROS:
        check(cron(name), CLOCK, NOW)


@pytest.mark.parametrize(
    ("schedule", "field", "words", "hint"),
    [
        (cron("61 * * * *"), "expression", "minute 61 is not between 0 and 59", "minute"),
        (cron("0 0 30 2 *"), "expression", "never fires: there is no 30 February", "L"),
        (cron("@reboot"), "expression", "'@reboot' is not a preset", "hourly"),
        (cron("dayly"), "expression", "'dayly' is not a preset", "'daily'"),
        (
            cron("0 6 * * *", "Europe/Zurick"),
            "timezone",
            "no time zone 'Europe/Zurick'",
            "Europe/Zurich",
        ),
        (cron("0 6 * * *", "europe/zurich"), "timezone", "no time zone", "Europe/Zurich"),
        (cron("0 6 * * *", "../../etc/passwd"), "timezone", "no time zone", ""),
        (cron("0 6 * * *", "Europe"), "timezone", "no time zone", ""),
        (cron("0 6 * * *", "a\0b"), "timezone", "no time zone", ""),
        (
            cron("0 6 * * *", start=utc(2026, 5, 1), end=utc(2026, 4, 1)),
            "end",
            "before it starts",
            "",
        ),
        (cron("0 6 * * *", end=utc(2026, 2, 1)), "end", "has passed", ""),
        (
            cron("0 6 * * *", end=NOW + timedelta(hours=1)),
            "end",
            "between now and 1 March 2026 at 13:00 UTC",
            "",
        ),
        (
            cron("0 0 29 2 *", start=utc(2027, 1, 1), end=utc(2027, 12, 1)),
            "end",
            "between 1 January 2027",
            "",
        ),
        (Once(at=NOW), "at", "1 March 2026 at 12:00 UTC has passed", "future"),
        (OnAsset(jobs=("../x",)), "jobs", "'../x' is not a job", "team/name"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_in_words(schedule, field, words, hint):
    with pytest.raises(Invalid) as error:
        check(schedule, CLOCK, NOW)
    assert words in error.value.message
    assert hint in error.value.hint
    assert error.value.field == f"schedule.{field}"


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("0 6 * * 1-5", "Weekdays at 06:00 Europe/Zurich"),
        ("weekdays", "Weekdays at 06:00 Europe/Zurich"),
        ("0 6 * * mon-fri", "Weekdays at 06:00 Europe/Zurich"),
        ("daily", "Every day at 06:00 Europe/Zurich"),
        ("hourly", "Every hour at :00"),
        ("monthly", "Day 1 at 06:00 Europe/Zurich"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("* * * * *", "Every minute"),
        ("5,35 * * * *", "Every hour at :05 and :35"),
        ("0 */2 * * *", "Every 2 hours at :00 Europe/Zurich"),
        (
            "0,30 9-17 * * 1-5",
            "Every hour at :00 and :30 from 09:00 to 17:59 on weekdays Europe/Zurich",
        ),
        ("*/15 9-17 * * 1-5", "Every 15 minutes from 09:00 to 17:59 on weekdays Europe/Zurich"),
        ("0 6,18 * * 0,6", "Weekends at 06:00 and 18:00 Europe/Zurich"),
        ("30 7 1,15 * *", "Days 1 and 15 at 07:30 Europe/Zurich"),
        ("30 7 L * *", "The last day of the month at 07:30 Europe/Zurich"),
        ("0 6 1 1 *", "1 January at 06:00 Europe/Zurich"),
        ("0 6 1,2 1,7 *", "Days 1 and 2 in January and July at 06:00 Europe/Zurich"),
        ("0 6 * 6-8 1", "Mondays in June to August at 06:00 Europe/Zurich"),
        ("0 6 13 * 5", "Day 13 or Fridays at 06:00 Europe/Zurich"),
        ("0 6 * * FRI#2", "The second Friday of the month at 06:00 Europe/Zurich"),
        ("0 6 * * L5", "The last Friday of the month at 06:00 Europe/Zurich"),
        ("0 6 15W * *", "The weekday nearest to day 15 at 06:00 Europe/Zurich"),
    ],
)
def test_a_schedule_is_said_in_words(expression, sentence):
    assert describe(cron(expression, "Europe/Zurich")) == sentence


def test_the_other_kinds_and_bounds_are_said_in_words_too():
    assert describe(Once(at=NOW)) == "Once on 1 March 2026 at 12:00 UTC"
    assert describe(OnAsset(jobs=("a/b",))) == "After a/b has succeeded"
    assert describe(OnAsset(jobs=("a/b", "c/d", "e/f"))) == "After a/b, c/d and e/f have succeeded"
    bounded = cron("daily", start=utc(2026, 4, 1), end=utc(2026, 5, 1))
    assert describe(bounded).endswith(
        "UTC, from 1 April 2026 at 00:00 UTC, until 1 May 2026 at 00:00 UTC"
    )


FIELD = st.one_of(
    st.just("*"), st.integers(1, 6).map(str), st.integers(2, 6).map("*/{}".format),
    st.tuples(st.integers(1, 3), st.integers(4, 6)).map("{0[0]}-{0[1]}".format),
    st.tuples(st.integers(1, 3), st.integers(4, 6)).map("{0[0]}-{0[1]}/2,{0[1]}".format),
)  # fmt: skip


@given(st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD).map(" ".join))
@settings(max_examples=150, deadline=None)
def test_whatever_is_valid_has_a_sentence_and_a_next_fire(expression):
    shown = preview(cron(expression, "Europe/Zurich"), CLOCK, NOW, 3)
    assert shown.sentence[0].upper() == shown.sentence[0]
    assert len(shown.fires) == 3


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_expression_or_invalid(text):
    if text:
        try:
            check(cron(text), CLOCK, NOW)
        except Invalid as error:
            assert error.field == "schedule.expression"  # noqa: PT017 - either outcome is right
