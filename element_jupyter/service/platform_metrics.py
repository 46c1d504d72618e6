"""What Prometheus is told of how full the platform is: no label holds the name of a person."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import Counter, Gauge

from element_jupyter.core.errors import ElementError
from element_jupyter.core.platform_readings import BudgetsUsed, Readings, budgets_used
from element_jupyter.core.quotas.rules import Kind, Quotas
from element_jupyter.core.quotas.use import Use, beginnings
from element_jupyter.service import run_metrics

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 15.0
BUDGETS_EVERY_SECONDS: Final = 300.0
"""Which adds up all that was given in the longest window."""
PERSONAL: Final = "(personal)"
"""Stands for all teams of one; no team can be called so."""

CPU: Final = Gauge("element_reserved_cpu_cores", "Cores that are given now, by team.", ["team"])
MEMORY: Final = Gauge(
    "element_reserved_memory_bytes", "Memory that is given now, by team.", ["team"]
)
GPUS: Final = Gauge("element_reserved_gpus", "GPUs that are given now, by team.", ["team"])
SERVERS: Final = Gauge("element_reserved_servers", "Servers that are open, by team.", ["team"])
RUNS: Final = Gauge("element_reserved_runs", "Runs that are open, by team.", ["team"])
COST: Final = Gauge(
    "element_reserved_cost_per_hour", "What an hour of what is open costs, by team.", ["team"]
)
BUDGET: Final = Gauge(
    "element_team_budget_used_ratio",
    "The share of a team's budget that is used up.",
    ["team", "resource", "per"],
)
PEOPLE: Final = Gauge(
    "element_people_over_budget_share",
    "People who have used at least this share of a budget of theirs.",
    ["share"],
)
LONGEST_WAIT: Final = Gauge(
    "element_queue_longest_wait_seconds", "How long the run that waits longest has waited."
)
DISK_FREE: Final = Gauge(
    "element_platform_disk_free_bytes", "What is free where this lies.", ["place"]
)
DISK_SIZE: Final = Gauge(
    "element_platform_disk_size_bytes", "How large the disk is on which this lies.", ["place"]
)
KEPT: Final = Gauge(
    "element_kept_bytes", "What is kept, by place, as it was last measured.", ["place"]
)
MEASURED: Final = Gauge(
    "element_kept_measured_timestamp_seconds", "When what is kept was last measured; 0: never."
)
REFUSED: Final = Counter(
    "element_refused_starts", "Servers and runs that a limit has refused, by its kind.", ["kind"]
)
for _kind in Kind:
    REFUSED.labels(_kind.value)


class ReadingsStore(Protocol):
    """See `adapters.sql.platform_readings`."""

    async def read(self, now: datetime) -> Readings: ...


class PlatformMetrics:
    """Reads now and then; a scrape is answered with what was read last."""

    def __init__(
        self,
        store: ReadingsStore,
        use: Callable[[Collection[datetime], datetime], Awaitable[Use]],
        quotas: Callable[[], Quotas],
        disks: Mapping[str, Path],
    ) -> None:
        self._store = store
        self._use = use
        self._quotas = quotas
        self._disks = disks

    async def keep_reading(self) -> None:
        """Read now, and again and again."""
        await asyncio.gather(
            _again(EVERY_SECONDS, self._read_open),
            _again(BUDGETS_EVERY_SECONDS, self._read_budgets),
            # apart: a file system of the network may not answer
            _again(EVERY_SECONDS, self._read_disks),
        )

    async def _read_open(self) -> None:
        found = await self._store.read(datetime.now(UTC))
        run_metrics.QUEUE.set(found.queued)
        LONGEST_WAIT.set(found.longest_wait_seconds)
        MEASURED.set(found.measured_at.timestamp() if found.measured_at else 0)
        for gauge in (CPU, MEMORY, GPUS, SERVERS, RUNS, COST, KEPT):
            gauge.clear()
        for place, used_bytes in found.kept.items():
            KEPT.labels(place.value).set(used_bytes)
        for each in found.reserved:
            team = each.team or PERSONAL
            CPU.labels(team).set(each.cpu)
            MEMORY.labels(team).set(each.memory_bytes)
            GPUS.labels(team).set(each.gpu)
            SERVERS.labels(team).set(each.servers)
            RUNS.labels(team).set(each.runs)
            COST.labels(team).set(each.price_per_hour)

    async def _read_budgets(self) -> None:
        quotas, now = self._quotas(), datetime.now(UTC)
        use = await self._use(beginnings([quotas], now), now)
        found: BudgetsUsed = await asyncio.to_thread(budgets_used, quotas, use)
        BUDGET.clear()
        for labels, share in found.teams.items():
            BUDGET.labels(*labels).set(share)
        for least, count in found.people.items():
            PEOPLE.labels(f"{least:g}").set(count)

    async def _read_disks(self) -> None:
        for place, path in self._disks.items():
            try:
                disk = await asyncio.to_thread(os.statvfs, path)
            except OSError as error:
                log.debug("%s: %s", path, error.strerror)
                continue
            DISK_FREE.labels(place).set(disk.f_bavail * disk.f_frsize)
            DISK_SIZE.labels(place).set(disk.f_blocks * disk.f_frsize)


async def _again(pause_seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except ElementError as error:
            log.debug("metrics are read later: %s", error.message)
        except Exception:
            # one bad round must not be the last
            log.exception("metrics were not read")
        await asyncio.sleep(pause_seconds)
