"""What is where under the one address that people open; the Hub itself is at `/hub/`."""

from __future__ import annotations

from typing import Final

SERVICE_PREFIX: Final = "/services/element/"
"""The control plane."""
AIRFLOW_PREFIX: Final = "/services/airflow/"
