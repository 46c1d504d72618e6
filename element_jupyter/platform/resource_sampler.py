"""Measures what a Jupyter server and its kernels use, in one thread.

All that must not keep an event loop is here: reading processes, control groups, GPUs and disks.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import psutil

from element_jupyter.adapters.resources.cgroups import Cgroups
from element_jupyter.core.resources.deaths import Evidence, KillCounts, judge
from element_jupyter.core.resources.gpus import (
    PATIENCE_SECONDS,
    Gpu,
    GpuReader,
    busy_part,
    memory_of,
)
from element_jupyter.core.resources.history import Measured, Series
from element_jupyter.core.resources.limits import Limit, choose
from element_jupyter.core.resources.metering import CounterMeter, CpuMeter
from element_jupyter.core.resources.processes import Belonging, Process, ProcessReader
from element_jupyter.core.resources.samples import (
    Death,
    DiskUsage,
    GpuUsage,
    KernelDetails,
    KernelUsage,
    ProcessUsage,
    Sample,
    ServerUsage,
)
from element_jupyter.server.running_kernels import RunningKernel

FEW_PROCESSES: Final = 500
"""Up to so many on the machine, new ones are looked for at each sample, …"""
SCAN_SECONDS: Final = 5.0
"""… else this often, …"""
WHOLE_SCAN_SECONDS: Final = 60.0
"""… and this often those are read anew that belong to somebody else, as a pid may come again."""
DISK_SECONDS: Final = 60.0
MOST_PSS_BYTES: Final = 8 * 1024**3
"""Splitting up shared memory takes about 17 ms of processor time for each GiB."""

_SERVER: Final = "server"


@dataclass(frozen=True)
class Places:
    """The directories whose file systems are told of."""

    home: Path
    project: Path


def history_clock() -> float:
    """Return seconds of a clock that never jumps, and goes on while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True)
class Clocks:
    """Two that never jump, in seconds."""

    awake: Callable[[], float] = time.monotonic
    """Stands still while the machine is suspended, as processes do."""
    always: Callable[[], float] = history_clock
    """Goes on then."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What a server did since the sample before, apart from being there."""

    busy_cores: float = 0.0
    """By kernels that say that they are busy."""
    other_cores: float = 0.0
    """By all else but the server's own process: terminals, workers, idle kernels."""
    gpu: float | None = None
    """The part of the time in which its processes used a GPU; None where that is not told."""


class Sampler:
    """One for a server; `measure` is called by one thread at a time."""

    def __init__(
        self,
        reader: ProcessReader,
        groups: Cgroups,
        gpus: GpuReader,
        places: Places,
        variables: Mapping[str, str],
        *,
        clocks: Clocks = Clocks(),
    ) -> None:
        self._clocks = clocks
        self._reader = reader
        self._groups = groups
        self._gpus = gpus
        self._disks = _Disks(places)
        self._variables = variables
        self._machine_cores = float(os.cpu_count() or 1)
        self._cores = float(_cores_of_this_process())
        self._memory_bytes = psutil.virtual_memory().total
        self._tree = _Tree(reader)
        self._meters: dict[str, CpuMeter] = {}
        self._server_meter = CpuMeter(self._machine_cores)
        self._group_meter = CounterMeter(self._machine_cores)
        self._own_meter = CpuMeter(self._machine_cores)
        self.doing = Doing()
        self._kills = KillCounts()
        self._before: float | None = None
        self._last_known: dict[str, tuple[int, ServerUsage]] = {}
        """By kernel: its memory when it was last seen alive, and the server then."""
        self.history: dict[str, Series] = {_SERVER: Series()}

    @property
    def server_history(self) -> Series:
        return self.history[_SERVER]

    def close(self) -> None:
        """Give back what is held of the system."""
        self._gpus.close()

    def measure(self, kernels: Iterable[RunningKernel]) -> Sample:
        """Look at everything once, and remember it."""
        kernels = list(kernels)
        listed = {kernel.kernel_id for kernel in kernels}
        here = {kernel.kernel_id: kernel for kernel in kernels if kernel.pid is not None}
        at = self._clocks.awake()
        kills = self._groups.oom_kills()
        self._kills.note(at, kills.group, kills.machine)
        owned = self._tree.read(
            {kernel.pid: name for name, kernel in here.items() if kernel.pid is not None}, at
        )
        gpus = self._gpus.read()
        found = []
        for name, kernel in here.items():
            processes = owned.get(name, [])
            # one that has ended, though nobody has noticed, is told of when it is there again
            if any(each.pid == kernel.pid and not each.zombie for each in processes):
                pids = {process.pid for process in processes}
                found.append(
                    self._kernel(kernel, processes, at, memory_of(gpus, pids) if gpus else None)
                )
        self._meters = {name: meter for name, meter in self._meters.items() if name in here}
        sample = Sample(
            at=datetime.now(UTC),
            server=self._server(owned, at),
            disks=self._disks.read(),
            gpus=tuple(
                GpuUsage(
                    index=gpu.index,
                    name=gpu.name,
                    utilization=gpu.utilization,
                    memory_bytes=gpu.memory_bytes,
                    memory_size_bytes=gpu.memory_size_bytes,
                )
                for gpu in gpus
            ),
            gpu_trouble=(
                "The GPU driver does not answer."
                if self._gpus.silent_seconds >= PATIENCE_SECONDS
                else None
            ),
            kernels=tuple(found),
        )
        self.doing = self._doing(sample, owned, gpus, at)
        # the first tells no processor time, so it is none to remember
        if self._before is not None:
            self._remember(sample, listed)
        self._before = at
        self._last_known = {
            name: known for name, known in self._last_known.items() if name in listed
        } | {kernel.kernel_id: (kernel.memory_bytes, sample.server) for kernel in found}
        return sample

    def _doing(
        self,
        sample: Sample,
        owned: Mapping[str, list[Process]],
        gpus: tuple[Gpu, ...],
        at: float,
    ) -> Doing:
        own = [each for each in owned.get(_SERVER, ()) if each.pid == os.getpid()]
        own_cores = self._own_meter.cores(own, at, None)
        busy_cores = sum(
            each.cpu_cores for each in sample.kernels if each.execution_state == "busy"
        )
        pids = {process.pid for processes in owned.values() for process in processes}
        return Doing(
            busy_cores=busy_cores,
            other_cores=max(0.0, sample.server.cpu_cores - busy_cores - own_cores),
            gpu=busy_part(gpus, pids),
        )

    def _kernel(
        self, kernel: RunningKernel, processes: list[Process], at: float, gpu_bytes: int | None
    ) -> KernelUsage:
        meter = self._meters.get(kernel.kernel_id)
        if meter is None:
            meter = self._meters[kernel.kernel_id] = CpuMeter(self._machine_cores)
        alive = [process for process in processes if not process.zombie]
        return KernelUsage(
            kernel_id=kernel.kernel_id,
            notebook=kernel.notebook,
            kernel_name=kernel.name,
            # it was not there at the sample before, so all it has used it has used since
            cpu_cores=round(meter.cores(processes, at, self._before), 3),
            memory_bytes=sum(process.memory_bytes for process in processes),
            gpu_memory_bytes=gpu_bytes,
            threads=sum(process.threads for process in alive),
            processes=len(alive),
            idle_seconds=None if kernel.idle_seconds is None else round(kernel.idle_seconds, 1),
            execution_state=kernel.state,
        )

    def _server(self, owned: Mapping[str, list[Process]], at: float) -> ServerUsage:
        everything = [process for processes in owned.values() for process in processes]
        own_cores = self._server_meter.cores(everything, at, None)
        own_bytes = sum(process.memory_bytes for process in everything)
        memory = self._groups.memory()
        cpu = self._groups.cpu()
        memory_limit = choose(
            memory.limit_bytes if memory else None,
            self._variables.get("MEM_LIMIT"),
            self._memory_bytes,
        )
        cpu_limit = choose(
            cpu.limit_cores if cpu else None, self._variables.get("CPU_LIMIT"), self._cores
        )
        cores = own_cores
        if cpu is not None and cpu.cpu_seconds is not None:
            counted = self._group_meter.cores(cpu.cpu_seconds, at)
            cores = counted if cpu_limit.enforced else own_cores
        return ServerUsage(
            cpu_cores=round(cores, 3),
            cpu_limit_cores=cpu_limit.amount,
            cpu_limit_source=cpu_limit.source,
            memory_bytes=memory.used_bytes if memory and memory_limit.enforced else own_bytes,
            memory_limit_bytes=_whole(memory_limit),
            memory_limit_source=memory_limit.source,
        )

    def _remember(self, sample: Sample, there: Iterable[str]) -> None:
        at = self._clocks.always()
        there = {_SERVER, *there}
        for gone in self.history.keys() - there:
            del self.history[gone]
        gpu = sum(gpu.memory_bytes for gpu in sample.gpus) if sample.gpus else None
        server = sample.server
        self.server_history.add(Measured(at, server.cpu_cores, server.memory_bytes, gpu))
        for kernel in sample.kernels:
            series = self.history.setdefault(kernel.kernel_id, Series())
            series.add(Measured(at, kernel.cpu_cores, kernel.memory_bytes, kernel.gpu_memory_bytes))

    def death(self, kernel: RunningKernel, exit_code: int | None) -> Death:
        """Say why a kernel has ended."""
        kills = self._groups.oom_kills()
        self._kills.note(self._clocks.awake(), kills.group, kills.machine)
        group, machine = self._kills.lately()
        memory_bytes, server = self._last_known.get(kernel.kernel_id, (None, None))
        seen = Evidence(
            exit_code=exit_code,
            group_kills=group or 0,
            machine_kills=machine or 0,
            kills_told=group is not None or machine is not None,
            memory_bytes=memory_bytes,
            server_memory_bytes=server.memory_bytes if server else None,
            group_peak_bytes=self._groups.memory_peak_bytes(),
            memory_limit_bytes=server.memory_limit_bytes if server else None,
            limit_source=server.memory_limit_source if server else "",
        )
        code, sentence = judge(seen)
        if code == code.OUT_OF_MEMORY:
            self._kills.explain()
        return Death(
            kernel_id=kernel.kernel_id,
            notebook=kernel.notebook,
            at=datetime.now(UTC),
            code=code,
            sentence=sentence,
            memory_bytes=memory_bytes,
            memory_limit_bytes=seen.memory_limit_bytes,
        )

    def details(self, kernel_id: str) -> KernelDetails:
        """Look at each process of a kernel; in a thread of its own, as it may take long."""
        processes = self._reader.some(self._tree.pids_of(kernel_id))
        processes.sort(key=lambda process: process.memory_bytes, reverse=True)
        memory_bytes = sum(process.memory_bytes for process in processes)
        reason = None
        pss: dict[int, int | None] = {}
        if memory_bytes > MOST_PSS_BYTES:
            reason = "It uses more than 8 GiB, and splitting up shared memory would take long."
        else:
            pss = {process.pid: self._reader.pss_bytes(process.pid) for process in processes}
            if None in pss.values():
                reason = "The system does not tell how the memory of each process is shared."
        shares = [each for each in pss.values() if each is not None]
        return KernelDetails(
            kernel_id=kernel_id,
            at=datetime.now(UTC),
            processes=tuple(
                ProcessUsage(
                    pid=process.pid,
                    name=self._reader.name(process.pid) or "?",
                    cpu_seconds=process.cpu_seconds,
                    memory_bytes=process.memory_bytes,
                    pss_bytes=pss.get(process.pid),
                    threads=process.threads,
                )
                for process in processes
            ),
            memory_bytes=memory_bytes,
            pss_bytes=sum(shares) if reason is None else None,
            pss_reason=reason,
        )


class _Tree:
    """The processes of the server and its kernels, as few of all as possible being read."""

    def __init__(self, reader: ProcessReader) -> None:
        self._reader = reader
        self._belonging = Belonging()
        self._foreign: set[int] = set()
        self._owners: dict[tuple[int, int], str] = {}
        self._roots: dict[int, str] = {}
        self._few = False
        self._scanned = self._read_whole = -math.inf

    def read(self, kernels: Mapping[int, str], at: float) -> dict[str, list[Process]]:
        """Return the processes by whose they are."""
        roots = {os.getpid(): _SERVER, **kernels}
        if roots != self._roots or self._few or at - self._scanned >= SCAN_SECONDS:
            processes = self._scan(roots, at)
        else:
            known = self._reader.some(pid for pid, _ in self._owners)
            processes = [process for process in known if process.identity in self._owners]
        owned: dict[str, list[Process]] = {}
        for process in processes:
            owned.setdefault(self._owners[process.identity], []).append(process)
        return owned

    def pids_of(self, name: str) -> list[int]:
        return [pid for (pid, _), owner in self._owners.items() if owner == name]

    def _scan(self, roots: Mapping[int, str], at: float) -> list[Process]:
        pids = self._reader.pids()
        whole = at - self._read_whole >= WHOLE_SCAN_SECONDS
        # a kernel may have been there before it was known to be one, and have children
        if whole or self._foreign & roots.keys():
            self._foreign = set()
            self._read_whole = at
        processes = self._reader.some(pids - self._foreign)
        by_pid = self._belonging.sort(processes, roots)
        self._foreign = pids - by_pid.keys()
        mine = [process for process in processes if process.pid in by_pid]
        self._owners = {process.identity: by_pid[process.pid] for process in mine}
        self._roots, self._scanned = dict(roots), at
        self._few = len(pids) <= FEW_PROCESSES
        return mine


class _Disks:
    """The file systems; asked in a thread of their own, since a network's may not answer."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._asked = -math.inf
        self._asking: threading.Thread | None = None
        self._known: tuple[DiskUsage, ...] = ()

    def read(self) -> tuple[DiskUsage, ...]:
        """Return what was known a minute ago, or less."""
        idle = self._asking is None or not self._asking.is_alive()
        if idle and time.monotonic() - self._asked >= DISK_SECONDS:
            first = self._asking is None
            self._asked = time.monotonic()
            self._asking = threading.Thread(target=self._ask, name="element-disks", daemon=True)
            self._asking.start()
            if first:
                self._asking.join(timeout=0.2)
        return self._known

    def _ask(self) -> None:
        home = _disk("home", self._places.home)
        project = _disk("project", self._places.project)
        if home and project and home[0] == project[0]:
            project = None  # the same file system twice tells nothing
        self._known = tuple(each[1] for each in (home, project) if each is not None)


def _disk(name: Literal["home", "project"], path: Path) -> tuple[object, DiskUsage] | None:
    try:
        told, device = os.statvfs(path), path.stat().st_dev
    except OSError:
        return None
    used_bytes = (told.f_blocks - told.f_bfree) * told.f_frsize
    # what is kept for the system's own administrator cannot be filled
    size_bytes = used_bytes + told.f_bavail * told.f_frsize
    usage = DiskUsage(name=name, path=str(path), used_bytes=used_bytes, size_bytes=size_bytes)
    # quotas may tell two directories of one device apart
    return (device, size_bytes), usage


def _cores_of_this_process() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _whole(limit: Limit) -> int | None:
    return int(limit.amount)
