"""What Prometheus is told of runs."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

RUNS: Final = Gauge("element_runs", "Runs that have not ended, by state.", ["state"])
QUEUE: Final = Gauge("element_queue_runs", "Runs that wait for a place.")
ENDED: Final = Counter("element_runs_ended", "Runs that have ended, by state.", ["state"])
LEASES_LOST: Final = Counter(
    "element_leases_lost", "Runs that were not heard of within their lease."
)
FIRES: Final = Counter("element_fires", "Fires that came due, by what became of them.", ["state"])
