"""What a Jupyter server and its kernels use: what its `resources/…` routes answer.

What cannot be measured is null or left out; zero is always a measurement.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from element_jupyter.core.values import UtcTime, Value

Cores = Annotated[float, Field(ge=0)]
"""Processor time by time: 1.5 is one and a half cores kept busy."""

Bytes = Annotated[int, Field(ge=0)]

Part = Annotated[float, Field(ge=0, le=1)]


class Point(Value):
    """One moment of a history."""

    at: UtcTime
    cpu_cores: Cores
    memory_bytes: Bytes
    gpu_memory_bytes: Bytes | None = None


class ServerUsage(Value):
    """The server with all that it has started; with a limit, all that counts against it."""

    cpu_cores: Cores
    cpu_limit_cores: Annotated[float, Field(gt=0)]
    cpu_limit_source: str
    """A phrase for people: 'set by your hub', 'limit of the container', 'this machine'."""
    memory_bytes: Bytes
    memory_limit_bytes: Bytes | None
    memory_limit_source: str


class DiskUsage(Value):
    """A file system, as far as its person can fill it."""

    name: Literal["home", "project"]
    path: str
    used_bytes: Bytes
    size_bytes: Bytes


class GpuUsage(Value):
    """One device, whoever uses it."""

    index: Annotated[int, Field(ge=0)]
    name: str
    utilization: Part | None
    memory_bytes: Bytes
    memory_size_bytes: Bytes


class KernelUsage(Value):
    """A kernel with all that it has started."""

    kernel_id: str
    notebook: str | None
    """Its path, as JupyterLab knows it."""
    kernel_name: str
    cpu_cores: Cores
    memory_bytes: Bytes
    gpu_memory_bytes: Bytes | None
    threads: Annotated[int, Field(ge=0)]
    processes: Annotated[int, Field(ge=0)]
    idle_seconds: Annotated[float, Field(ge=0)] | None
    """Since when it has had nothing to do; null while it works."""
    execution_state: str
    """In Jupyter's words: 'idle', 'busy', 'starting', …"""


class Sample(Value):
    """What is used now."""

    at: UtcTime
    server: ServerUsage
    disks: tuple[DiskUsage, ...]
    gpus: tuple[GpuUsage, ...]
    gpu_trouble: str | None = None
    """Why nothing is told of GPUs that are there, in a sentence."""
    kernels: tuple[KernelUsage, ...]


class History(Value):
    """What was used, the oldest first. Where nothing was measured, points are missing."""

    server: tuple[Point, ...]
    kernels: dict[str, tuple[Point, ...]]
    """By `kernel_id`."""


class DeathCode(StrEnum):
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    CRASHED = "crashed"
    EXITED = "exited"
    UNKNOWN = "unknown"


class Death(Value):
    """A kernel that has ended though nobody asked it to, and why, as far as it can be known."""

    kernel_id: str
    notebook: str | None
    at: UtcTime
    code: DeathCode
    sentence: str
    memory_bytes: Bytes | None
    """What it used when it was last measured, …"""
    memory_limit_bytes: Bytes | None
    """… and the limit of the whole server."""


class DeathList(Value):
    """The deaths of the last ten minutes, the oldest first."""

    items: tuple[Death, ...]


class ProcessUsage(Value):
    """One process of a kernel."""

    pid: int
    name: str
    cpu_seconds: Annotated[float, Field(ge=0)]
    memory_bytes: Bytes
    pss_bytes: Bytes | None
    """With memory that processes share counted in part."""
    threads: Annotated[int, Field(ge=0)]


class KernelDetails(Value):
    """The processes of a kernel, the largest first; measured at most every 30 seconds."""

    kernel_id: str
    at: UtcTime
    processes: tuple[ProcessUsage, ...]
    memory_bytes: Bytes
    pss_bytes: Bytes | None
    """Of all processes; null where it was not measured, …"""
    pss_reason: str | None
    """… and why not, in a sentence."""
