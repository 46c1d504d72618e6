"""The whole platform at rest: memory, and the time until it is ready on a warm machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.platform_fixture import free_ports, running_platform

STARTS = 3
SETTLE_SECONDS = 20
GIGABYTE = 1e9


def measure() -> list[dict[str, Any]]:
    """Start three times on one data directory; weigh the last once it has settled."""
    with tempfile.TemporaryDirectory(prefix="element-bench-") as temporary:
        data, ports = Path(temporary) / "data", free_ports() | {"ELEMENT_HUB": "true"}
        with running_platform(data, **ports):
            pass  # the first start makes the databases; what counts is the next
        ready, memory_bytes = [], 0
        for _ in range(STARTS):
            begin = time.monotonic()
            with running_platform(data, **ports) as platform:
                ready.append(time.monotonic() - begin)
                if len(ready) == STARTS:
                    time.sleep(SETTLE_SECONDS)
                    memory_bytes = sum(map(_pss_bytes, platform.processes()))
    return [
        _row("up_ready", statistics.median(ready), "s", 30),
        _row("idle_memory", memory_bytes / GIGABYTE, "GB PSS", 1.0),
    ]


def _row(name: str, value: float, unit: str, bar: float) -> dict[str, Any]:
    return {
        "name": name,
        "ours": value,
        "peer": None,
        "unit": unit,
        "ratio": None,
        "bar": f"≤ {bar} {unit}",
        "holds": value <= bar,
    }


def _pss_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
