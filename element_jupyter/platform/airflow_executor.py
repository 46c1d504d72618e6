"""Airflow's LocalExecutor, which does not mistake a deferral for a failure.

When a task defers, its process ends and the executor reports success. If its trigger fires before
that report is read, Airflow 3.3 finds a task that is queued or running again although its executor
says it has ended, and fails it (apache/airflow issues 67287, 71580, 72716): the more likely the
busier the machine. This executor knows how often it was given a task, and says so.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow.executors.local_executor import LocalExecutor


class DeferringLocalExecutor(LocalExecutor):
    """A LocalExecutor that tells the end of a task from the end of an earlier part of it."""

    def start(self) -> None:
        """Start the workers."""
        self._given: Counter[Any] = Counter()
        super().start()

    def has_task(self, task_instance: Any) -> bool:
        """Tell whether the task waits or runs here."""
        return self._given[task_instance.key] > 0 or super().has_task(task_instance)

    def change_state(
        self,
        key: Any,
        state: Any,
        info: Any = None,
        remove_running: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        """Pass on that a task has ended, unless it has been given here again meanwhile."""
        self._given[key] -= 1
        if self._given[key] > 0:
            self.log.info("An earlier part of %s has ended; a later one waits or runs.", key)
            return
        del self._given[key]
        super().change_state(key, state, info, remove_running)

    def _process_workloads(self, workload_list: Any) -> None:
        self._given.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
