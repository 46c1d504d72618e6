"""What Prometheus is told of runs."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from element_jupyter.core.runs import Run

RUNS: Final = Gauge("element_runs", "Runs that have not ended, by state.", ["state"])
QUEUE: Final = Gauge("element_queue_runs", "Runs that wait for a place.")
ENDED: Final = Counter("element_runs_ended", "Runs that have ended, by state.", ["state"])
LEASES_LOST: Final = Counter(
    "element_leases_lost", "Runs that were not heard of within their lease."
)
FIRES: Final = Counter("element_fires", "Fires that came due, by what became of them.", ["state"])
CPU_SECONDS: Final = Counter(
    "element_run_cpu_seconds", "Processor time of runs that have ended, in seconds."
)
PEAK_MEMORY: Final = Histogram(
    "element_run_peak_memory_bytes",
    "Peak memory of runs that have ended.",
    buckets=[2**power for power in range(26, 39)],  # 64 MiB to 256 GiB
)
OUT_OF_MEMORY: Final = Counter(
    "element_runs_out_of_memory", "Runs whose kernel was killed for want of memory."
)


def observe_end(run: Run) -> None:
    """Count a run that has ended, once."""
    ENDED.labels(run.state.value).inc()
    CPU_SECONDS.inc(run.cpu_seconds or 0.0)
    if run.peak_memory_bytes is not None:
        PEAK_MEMORY.observe(run.peak_memory_bytes)
    if run.out_of_memory:
        OUT_OF_MEMORY.inc()
