"""The five fields of a cron expression: what may be written in them, and what they say.

    minute 0-59 · hour 0-23 · day of the month 1-31 · month 1-12 or JAN-DEC · weekday 0-7 or SUN-SAT

A field is a comma list of `*`, `a`, `a-b`, each but a plain list value with an optional `/step`.
Days also take `L` (the last of the month) and `15W` (the weekday nearest to the 15th); weekdays
take `5#2` (the second Friday) and `L5` (the last Friday). `?` is `*` for either. When both days are
restricted, either suffices, as in every cron since Version 7. Seconds, years, `R` and `H` are not
taken: the first two have no meaning here, the others would make two readers disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from element_jupyter.core.errors import Invalid

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


class _Kind(NamedTuple):
    word: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    example: str = "5"


_KINDS = (
    _Kind("minute", 0, 59, example="0, */15 or 5,35"),
    _Kind("hour", 0, 23, example="6, 9-17 or */2"),
    _Kind("day of the month", 1, 31, example="1, 15 or L"),
    _Kind("month", 1, 12, _MONTHS, example="1, 6-8 or JAN"),
    _Kind("weekday", 0, 7, _WEEKDAYS, example="1-5, MON or 5#2"),
)
_ITEM = re.compile(r"(?:(\*|\?)|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
_SPECIAL = {
    "day of the month": re.compile(r"l|(?:[1-9]|[12]\d|3[01])w", re.ASCII),
    "weekday": re.compile(r"l[0-7]|(?:[0-7]|sun|mon|tue|wed|thu|fri|sat)#[1-5]", re.ASCII),
}


@dataclass(frozen=True)
class Item:
    """One entry of a field's list: a single value, a span with a step, or a special day."""

    low: int = 0
    high: int = 0
    step: int = 1
    star: bool = False
    """Written `*` or `?`; with a step it still covers the field from its start."""
    special: str = ""
    """`L`, `15W`, `5#2` or `L5`; the numbers mean nothing then."""

    @property
    def single(self) -> bool:
        return not self.star and not self.special and self.low == self.high and self.step == 1


Field = tuple[Item, ...]


@dataclass(frozen=True)
class Fields:
    """A valid expression, read; `text` is it in one spelling."""

    text: str
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field


def parse(expression: str) -> Fields:
    """Read five fields.

    Raises:
        Invalid: it is not such an expression; the sentence names the field and the value.
    """
    words = expression.lower().split()
    if len(words) != len(_KINDS):
        raise _invalid(
            f"'{_short(expression)}' has {len(words)} field{'' if len(words) == 1 else 's'}; "
            "a cron expression has five",
            "Write minute, hour, day of the month, month and weekday: "
            "'0 6 * * 1-5' is weekdays at 06:00.",
        )
    read = [_field(kind, word) for kind, word in zip(_KINDS, words, strict=True)]
    fields = Fields(" ".join(text for text, _ in read), *(items for _, items in read))
    if not covers(fields.day) and not covers(fields.weekday):
        special = [item.special for item in (*fields.day, *fields.weekday) if item.special]
        if awkward := next((text for text in special if text != "L"), None):
            raise _invalid(
                f"'{awkward}' cannot be combined with another restriction of the day",
                "Write `*` for the day of the month or for the weekday, or make two jobs.",
            )
    return fields


def covers(field: Field) -> bool:
    """Say whether a field allows all its values by being `*`."""
    return any(item.star and item.step == 1 for item in field)


def impossible_date(fields: Fields) -> str | None:
    """Name the date that an expression waits for in vain, such as 30 February."""
    days = [item.low for item in fields.day if item.single]
    months = [item.low for item in fields.month if item.single]
    if len(days) != len(fields.day) or len(months) != len(fields.month) or not days or not months:
        return None
    if all(day > _DAYS_IN[month - 1] for day in days for month in months):
        return f"{days[0]} {MONTH_NAMES[months[0] - 1]}"
    return None


def _field(kind: _Kind, word: str) -> tuple[str, Field]:
    texts: list[str] = []
    items: list[Item] = []
    for part in word.split(","):
        special = _SPECIAL.get(kind.word)
        if special and special.fullmatch(part):
            items.append(Item(special=part.upper()))
            texts.append(part)
            continue
        item = _item(kind, part, word)
        items.append(item)
        # `5-5` means 5; croniter takes it for the whole field
        texts.append(str(item.low) if item.single else part)
    if len(items) > 1 and any(item.special.endswith("W") for item in items):
        raise _invalid(f"{kind.word} '{word}' has 'W' in a list; it stands alone", _hint(kind))
    return ",".join(texts), tuple(items)


def _item(kind: _Kind, part: str, word: str) -> Item:
    match = _ITEM.fullmatch(part)
    if match is None or (match[1] == "?" and not (kind.word in _SPECIAL and word == "?")):
        raise _invalid(f"{kind.word} '{_short(part)}' is not a {kind.word}", _hint(kind))
    step = int(match[4]) if match[4] else 1
    if match[4] and step == 0:
        raise _invalid(f"{kind.word} '{part}' has a step of 0", _hint(kind))
    if match[4] and step > kind.high - kind.low:
        raise _invalid(
            f"{kind.word} '{_short(part)}' has a step of {_short(match[4])}, "
            f"which is more than the field holds ({kind.low} to {kind.high})",
            "A step starts anew with every turn of its field, so it cannot reach across it.",
        )
    if match[1]:
        return Item(kind.low, kind.high, step, star=True)
    low = _value(kind, match[2])
    if match[3] is None:
        return Item(low, max(low, kind.high) if match[4] else low, step)
    return Item(low, _value(kind, match[3]), step)


def _value(kind: _Kind, word: str) -> int:
    if word in kind.names:
        return kind.names.index(word) + (1 if kind.low == 1 else 0)
    if not word.isascii() or not word.isdigit():
        raise _invalid(f"{kind.word} '{_short(word)}' is not a {kind.word}", _hint(kind))
    if len(word) > 4 or not kind.low <= int(word) <= kind.high:
        raise _invalid(
            f"{kind.word} {_short(word)} is not between {kind.low} and {kind.high}", _hint(kind)
        )
    return int(word)


def _hint(kind: _Kind) -> str:
    return f"The {kind.word} can be {kind.example}."


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _invalid(message: str, hint: str) -> Invalid:
    return Invalid(f"The schedule does not work: {message}.", hint, field="schedule.expression")
