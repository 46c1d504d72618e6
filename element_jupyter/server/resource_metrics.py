"""What is used, for Prometheus, at the Jupyter server's own `/metrics`.

Read from the last sample, so that asking costs nothing. No kernel is a label, as there is no end to
their ids; all of them together are told, and the largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from element_jupyter.core.resources.samples import DeathCode, Sample


class Measured(Protocol):
    """What this tells of."""

    @property
    def latest(self) -> Sample | None: ...

    @property
    def listener_count(self) -> int: ...

    @property
    def death_counts(self) -> Mapping[str, int]: ...


class ResourceMetrics(Collector):
    """Tells a registry what was measured last; nothing until something was."""

    def __init__(self, measured: Measured, registry: CollectorRegistry = REGISTRY) -> None:
        self._measured = measured
        self._registry = registry
        registry.register(self)

    def close(self) -> None:
        self._registry.unregister(self)

    def describe(self) -> list[Any]:
        return []  # so that registering does not collect

    def collect(self) -> Iterator[Any]:
        sample = self._measured.latest
        if sample is None:
            return
        server, kernels = sample.server, sample.kernels
        memory = [kernel.memory_bytes for kernel in kernels]
        cores = [kernel.cpu_cores for kernel in kernels]
        for name, text, value in (
            ("server_memory_bytes", "Memory of the server and its kernels", server.memory_bytes),
            ("server_memory_limit_bytes", "Its limit", server.memory_limit_bytes),
            ("server_cpu_cores", "Cores that they keep busy", server.cpu_cores),
            ("server_cpu_limit_cores", "Their limit", server.cpu_limit_cores),
            ("kernels", "Kernels that run", len(kernels)),
            ("kernel_memory_bytes", "Memory of all kernels together", sum(memory)),
            ("kernel_memory_max_bytes", "Memory of the largest kernel", max(memory, default=0)),
            ("kernel_cpu_cores", "Cores that all kernels together keep busy", sum(cores)),
            ("kernel_cpu_max_cores", "Cores of the busiest kernel", max(cores, default=0)),
            ("sample_timestamp_seconds", "When this was measured", sample.at.timestamp()),
            ("sample_listeners", "Pages that follow it", self._measured.listener_count),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"element_{name}", text, value)
        yield from _by_disk(sample)
        yield from _by_gpu(sample)
        deaths = CounterMetricFamily(
            "element_kernel_deaths", "Kernels that ended though nobody asked", labels=["reason"]
        )
        for code in DeathCode:
            deaths.add_metric([code.value], self._measured.death_counts.get(code.value, 0))
        yield deaths


def _by_disk(sample: Sample) -> Iterator[Any]:
    used = GaugeMetricFamily("element_disk_used_bytes", "Used of a disk", labels=["disk"])
    size = GaugeMetricFamily("element_disk_size_bytes", "Size of a disk", labels=["disk"])
    for disk in sample.disks:
        used.add_metric([disk.name], disk.used_bytes)
        size.add_metric([disk.name], disk.size_bytes)
    yield from (used, size)


def _by_gpu(sample: Sample) -> Iterator[Any]:
    if not sample.gpus:
        return
    busy = GaugeMetricFamily(
        "element_gpu_utilization_ratio", "Part of the time that a GPU was busy", labels=["gpu"]
    )
    used = GaugeMetricFamily("element_gpu_memory_bytes", "Used memory of a GPU", labels=["gpu"])
    size = GaugeMetricFamily("element_gpu_memory_size_bytes", "Memory of a GPU", labels=["gpu"])
    for gpu in sample.gpus:
        if gpu.utilization is not None:
            busy.add_metric([str(gpu.index)], gpu.utilization)
        used.add_metric([str(gpu.index)], gpu.memory_bytes)
        size.add_metric([str(gpu.index)], gpu.memory_size_bytes)
    yield from (busy, used, size)
