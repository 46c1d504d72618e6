"""When a job fires: schedules as values, and the fires they produce.

A schedule is one of `Cron` (an expression read on a wall clock), `Once` (one instant) and `OnAsset`
(another job's output). Fires are instants in UTC.

Daylight saving: an expression whose hour is fixed fires once a day whatever the clock does. A wall
time that the clock skips fires at the first instant after the gap (`shifted`); one that occurs
twice fires the first time only (`repeated`). An expression whose hour varies (`*`, `*/n`) follows
real time: it fires in both passes of a repeated hour and not at all in a skipped one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from element_jupyter.core.values import Name, UtcTime, Value

PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 6 * * *",
    "weekdays": "0 6 * * 1-5",
    "weekly": "0 6 * * 1",
    "monthly": "0 6 1 * *",
}


class Cron(Value):
    """Fires whenever the wall clock of `timezone` matches `expression` (five fields, or a preset)."""

    kind: Literal["cron"] = "cron"
    expression: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "UTC"
    start: UtcTime | None = None
    end: UtcTime | None = None


class Once(Value):
    """Fires at one instant."""

    kind: Literal["once"] = "once"
    at: UtcTime


class OnAsset(Value):
    """Fires when every named job (`team/name`) has succeeded again."""

    kind: Literal["asset"] = "asset"
    jobs: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]


Schedule = Annotated[Cron | Once | OnAsset, Field(discriminator="kind")]


class Fire(Value):
    """One instant at which a schedule fires; `dst` says how the clock bent it."""

    at: UtcTime
    wall_time: str
    dst: Literal["shifted", "repeated"] | None = None


class Preview(Value):
    """What a schedule will do, in words and in instants."""

    sentence: str
    fires: tuple[Fire, ...]


__all__ = ["PRESETS", "Cron", "Fire", "Name", "OnAsset", "Once", "Preview", "Schedule"]
