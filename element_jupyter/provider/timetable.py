"""`ElementTimetable`: Airflow fires exactly when the schedule's preview says.

A run's logical date is the fire's instant, and so is the time after which it may start. Of the
fires that came due during a downtime, all are asked for when the catch-up policy says so (Airflow's
`catchup`), else the newest; whether one that is asked for late still runs is the control plane's
to say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime

    from element_jupyter.core.schedules import Cron, Once, WallClock

_MOMENT = timedelta(microseconds=1)


class ElementTimetable(Timetable):
    """The fires of a `Cron` or `Once` schedule, given as JSON."""

    def __init__(self, schedule: dict[str, Any]) -> None:
        self.schedule = schedule
        self.periodic = schedule["kind"] == "cron"

    @property
    def description(self) -> str:  # type: ignore[override]
        """The schedule in words."""
        from element_jupyter.core.schedules import describe

        return describe(self._schedule)

    @property
    def summary(self) -> str:
        """What stands in Airflow's list of DAGs."""
        if self.schedule["kind"] == "once":
            return f"once at {self.schedule['at']}"
        zone = self.schedule.get("timezone", "UTC")
        return f"{self.schedule['expression']}{'' if zone == 'UTC' else f' {zone}'}"

    def serialize(self) -> dict[str, Any]:
        return {"schedule": self.schedule}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ElementTimetable:
        return cls(data["schedule"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """Return the fire after the last that had a run; without catch-up, no superseded one."""
        from element_jupyter.core.schedules import latest_fire, next_fire

        after: datetime | None = None
        if last_automated_data_interval is not None:
            after = last_automated_data_interval.end
        if restriction.earliest is not None:
            # itself included
            earliest = restriction.earliest - _MOMENT
            after = earliest if after is None else max(after, earliest)
        now = datetime.now(UTC)
        if after is None:
            after = now
        fire = next_fire(self._schedule, self._clock, after)
        if fire is not None and not restriction.catchup and fire.at <= now:
            fire = latest_fire(self._schedule, self._clock, until=now, since=after) or fire
        if fire is None or (restriction.latest is not None and fire.at > restriction.latest):
            return None
        return DagRunInfo.exact(pendulum.instance(fire.at))

    @cached_property
    def _schedule(self) -> Cron | Once:
        from element_jupyter.core.schedules import Cron, Once

        return (Cron if self.periodic else Once).model_validate(self.schedule)

    @property
    def _clock(self) -> WallClock:
        from element_jupyter.provider.settings import settings

        return settings().wall_clock
