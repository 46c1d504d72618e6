"""Cron expressions on a wall clock, by croniter."""

from __future__ import annotations

import copy
from datetime import datetime
from functools import lru_cache

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from element_jupyter.core.cron_fields import impossible_date, parse
from element_jupyter.core.errors import Invalid

# the 5th Monday of a February comes every 28 years, and 40 years apart around 2100
_YEARS_BETWEEN_FIRES = 41
_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - a wall clock


class CroniterWallClock:
    """`WallClock` over croniter."""

    def next_after(self, expression: str, wall: datetime) -> datetime | None:
        """Return the first match strictly after `wall`, both without a time zone.

        Raises:
            Invalid: it is not an expression.
        """
        # a croniter remembers where it is, so threads must not share one
        clock = copy.copy(_expanded(expression))
        # matches are whole minutes, and a float cannot hold microseconds for ever
        clock.set_current(wall.replace(microsecond=0))
        try:
            found: datetime = clock.get_next(datetime)
        except (CroniterBadDateError, OverflowError, ValueError):
            # the last two: past the year 9999
            return None
        return found

    def check(self, expression: str) -> None:
        """Raise `Invalid` for what is not an expression, or matches no date at all."""
        # any fixed start will do: the calendar repeats, and no gap is longer than the limit
        if self.next_after(expression, _SOME_DAY) is None:
            date = impossible_date(parse(expression))
            raise Invalid(
                f"The schedule never fires: there is no {date}."
                if date
                else f"The schedule never fires: no date matches '{expression}'.",
                "Write day L for the last day of a month.",
                field="schedule.expression",
            )


@lru_cache(maxsize=4096)
def _expanded(expression: str) -> croniter:
    fields = parse(expression)
    try:
        return croniter(fields.text, _SOME_DAY, max_years_between_matches=_YEARS_BETWEEN_FIRES)
    except (CroniterBadCronError, ValueError, KeyError) as error:
        raise Invalid(
            f"The schedule does not work: '{expression}' is not a cron expression.",
            "'0 6 * * 1-5' is weekdays at 06:00.",
            field="schedule.expression",
        ) from error
