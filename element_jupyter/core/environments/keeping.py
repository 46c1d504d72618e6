"""What the store remembers, and what is told of it."""

from __future__ import annotations

from enum import StrEnum

from element_jupyter.core.environments.building import Failure
from element_jupyter.core.environments.definitions import Definition, Ignored
from element_jupyter.core.environments.identity import (
    Artefact,
    Backend,
    EnvironmentId,
    Interpreter,
)
from element_jupyter.core.values import Digest, UtcTime, Value


class Pin(Value):
    """What a job keeps and a run is given, so that each of its runs has the same environment."""

    environment_id: EnvironmentId
    lock_id: Digest
    definition: str
    """`Definition.title`, for people."""
    python: str = ""
    """Full version of Python."""


class Manifest(Value):
    """`.element/manifest.json` of an environment: what it is made of."""

    environment_id: EnvironmentId
    schema_version: int = 1
    backend: Backend
    lock_id: Digest
    definition: str
    """Title of the definition that it was first built for."""
    python: str
    """Full version."""
    platform: str
    interpreter: Interpreter | None = None
    """None for conda, whose interpreter is among the packages."""
    packages: tuple[Artefact, ...]
    built_at: UtcTime
    build_seconds: float


class HolderKind(StrEnum):
    KERNEL = "kernel"
    RUN = "run"


class Holder(Value):
    """A process that uses an environment: it is not pruned while that lives."""

    kind: HolderKind
    id: str
    """The kernel's or the run's."""
    pid: int
    started_ticks: int
    what: str = ""
    """The notebook, for people."""
    user: str = ""


class State(StrEnum):
    """What the environment of a definition is right now."""

    READY = "ready"
    MISSING = "missing"
    """Not built, or not locked; building it takes a moment."""
    BUILDING = "building"
    FAILED = "failed"


class NotebookEnvironment(Value):
    """Everything to show about the environment of one notebook."""

    state: State
    definition: Definition | None
    """None when reading it failed."""
    definition_file: str | None = None
    """The file to edit: absolute, or, as a Jupyter server tells it, below that server's root."""
    ignored: tuple[Ignored, ...] = ()
    notices: tuple[str, ...] = ()
    build_id: str | None = None
    """What to build or to follow."""
    environment_id: EnvironmentId | None = None
    """When it is locked."""
    lock_id: Digest | None = None
    python: str | None = None
    packages: int | None = None
    kernel_environment_id: EnvironmentId | None = None
    """Of the kernel that runs for the notebook; another one than `environment_id` is outdated."""
    failure: Failure | None = None


class EnvironmentSummary(Value):
    """One environment of the store, as `element env list` shows it."""

    environment_id: EnvironmentId
    names: tuple[str, ...] = ()
    """Of shared environments that are this one."""
    definition: str
    python: str
    packages: int
    own_bytes: int
    """What removing it frees."""
    shared_bytes: int
    """What it shares with other environments and the cache."""
    built_at: UtcTime
    last_used_at: UtcTime | None = None
    holders: tuple[Holder, ...] = ()
    jobs: tuple[str, ...] = ()
    """Of the jobs that are pinned to it."""


class EnvironmentLock(Value):
    """What an environment was made from: every package with its version and hashes."""

    lock_id: Digest
    text: str


class Fault(Value):
    """A file of an environment that is not what its lock says."""

    path: str
    problem: str
    """`changed`, `missing`, `not in the lock`, …"""


class Verification(Value):
    """What comparing an environment with its lock has found."""

    environment_id: EnvironmentId
    files: int
    """Compared."""
    seconds: float
    faults: tuple[Fault, ...] = ()
