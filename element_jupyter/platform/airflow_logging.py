"""Airflow's logging, with task logs read from this machine's files and from nowhere else.

`[logging] logging_config_class` in airflow.cfg names `LOGGING_CONFIG`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG

LOGGING_CONFIG: dict[str, Any] = deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = (
    "element_jupyter.platform.airflow_task_logs.LocalTaskHandler"
)
