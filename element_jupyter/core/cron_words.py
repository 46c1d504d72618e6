"""A cron expression as a person would say it."""

from __future__ import annotations

from collections.abc import Sequence

from element_jupyter.core.cron_fields import MONTH_NAMES, WEEKDAY_NAMES, Field, Fields, covers

_ORDINALS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}


def in_words(fields: Fields, timezone: str) -> str:
    """Return one sentence without a full stop: `Weekdays at 06:00 Europe/Zurich`."""
    time, of_the_clock = _time(fields)
    days = _days(fields)
    months = "" if covers(fields.month) else f" in {_join(_month_names(fields.month))}"
    if (
        len(dates := [*_singles(fields.day), *_singles(fields.month)]) == 2
        and months
        and (days == f"day {dates[0]}")
    ):
        days, months = f"{dates[0]} {MONTH_NAMES[dates[1] - 1]}", ""
    if time.startswith("at "):
        sentence = f"{days or 'every day'}{months} {time}"
    else:
        sentence = f"{time}{f' on {days}' if days else ''}{months}"
    if of_the_clock or days or months:
        sentence = f"{sentence} {timezone}"
    return sentence[0].upper() + sentence[1:]


def _time(fields: Fields) -> tuple[str, bool]:
    """Return the words for minute and hour, and whether they name hours of the clock."""
    minutes, hours = _singles(fields.minute), _singles(fields.hour)
    if minutes and hours and len(minutes) * len(hours) <= 6:
        times = [f"{hour:02}:{minute:02}" for hour in hours for minute in minutes]
        return f"at {_join(times)}", True
    minute = _minute(fields.minute)
    hour = fields.hour[0]
    if covers(fields.hour):
        return minute if fields.minute[0].star else f"every hour {minute}", False
    if len(fields.hour) == 1 and hour.star:
        return f"every {hour.step} hours {minute}" if minutes else (
            f"{minute} in every {_ordinal(hour.step)} hour"
        ), True
    if hours:
        return f"{minute} of {_join([f'{hour:02}:00' for hour in hours])}", True
    if len(fields.hour) == 1 and hour.step == 1 and not hour.special:
        every = f"every hour {minute}" if minutes else minute
        return f"{every} from {hour.low:02}:00 to {hour.high:02}:59", True
    return f"{minute} of the hours {_raw(fields, 1)}", True


def _minute(field: Field) -> str:
    if minutes := _singles(field):
        return f"at {_join([f':{minute:02}' for minute in minutes])}"
    item = field[0]
    if len(field) == 1 and item.star:
        return "every minute" if item.step == 1 else f"every {item.step} minutes"
    if len(field) == 1:
        step = "every minute" if item.step == 1 else f"every {item.step} minutes"
        return f"{step} from :{item.low:02} to :{item.high:02}"
    return "at several minutes"


def _days(fields: Fields) -> str:
    """Return the words for both day fields; empty when neither restricts."""
    by_month = "" if covers(fields.day) else _month_days(fields.day)
    by_week = "" if covers(fields.weekday) else _weekdays(fields.weekday)
    return " or ".join(part for part in (by_month, by_week) if part)


def _month_days(field: Field) -> str:
    if len(days := _singles(field)) > 1:
        return f"days {_join([str(day) for day in days])}"
    words = []
    for item in field:
        if item.special == "L":
            words.append("the last day of the month")
        elif item.special:
            words.append(f"the weekday nearest to day {item.special[:-1]}")
        elif item.single:
            words.append(f"day {item.low}")
        elif item.star:
            words.append(f"every {_ordinal(item.step)} day of the month")
        else:
            step = "" if item.step == 1 else f"every {_ordinal(item.step)} of "
            words.append(f"{step}days {item.low} to {item.high}")
    return _join(words)


def _weekdays(field: Field) -> str:
    if [(item.low, item.high, item.step) for item in field] == [(1, 5, 1)]:
        return "weekdays"
    singles = _singles(field)
    if {day % 7 for day in singles} == {0, 6}:
        return "weekends"
    words = []
    for item in field:
        if item.special.startswith("L"):
            words.append(f"the last {WEEKDAY_NAMES[int(item.special[1:]) % 7]} of the month")
        elif item.special:
            day, _, nth = item.special.partition("#")
            words.append(f"the {_ORDINALS[nth]} {_weekday_name(day)} of the month")
        elif item.single:
            words.append(f"{WEEKDAY_NAMES[item.low % 7]}s")
        elif item.step == 1 and not item.star:
            words.append(f"{WEEKDAY_NAMES[item.low % 7]} to {WEEKDAY_NAMES[item.high % 7]}")
        else:
            span = range(item.low, (6 if item.star else item.high) + 1, item.step)
            words += [f"{WEEKDAY_NAMES[day % 7]}s" for day in span]
    return _join(words)


def _weekday_name(word: str) -> str:
    if word.isdigit():
        return WEEKDAY_NAMES[int(word) % 7]
    return next(name for name in WEEKDAY_NAMES if name.upper().startswith(word))


def _month_names(field: Field) -> list[str]:
    names = []
    for item in field:
        if item.single or item.step == 1:
            ends = [item.low] if item.single else [item.low, item.high]
            names.append(" to ".join(MONTH_NAMES[month - 1] for month in ends))
        else:
            names += [MONTH_NAMES[month - 1] for month in range(item.low, item.high + 1, item.step)]
    return names


def _singles(field: Field) -> list[int]:
    return sorted({item.low for item in field}) if all(item.single for item in field) else []


def _raw(fields: Fields, index: int) -> str:
    return fields.text.split()[index]


def _ordinal(number: int) -> str:
    ending = (
        "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{ending}"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
