"""Task logs without log servers: every process that writes one runs on this machine."""

from __future__ import annotations

from typing import Any

from airflow.utils.log.file_task_handler import FileTaskHandler


class LocalTaskHandler(FileTaskHandler):
    """A `FileTaskHandler` that does not ask servers of workers and triggerers, which do not run.

    Airflow asks them for each task that runs or is deferred, on ports that may be another's.
    """

    def _read_from_logs_server(self, ti: Any, worker_log_rel_path: str) -> tuple[Any, Any]:
        return [], []
