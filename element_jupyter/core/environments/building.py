"""What happens while an environment is made, and what can go wrong, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from element_jupyter.core.environments.definitions import Definition, Found, Origin, Requirement
from element_jupyter.core.environments.identity import (
    Artefact,
    Backend,
    EnvironmentId,
    Interpreter,
)
from element_jupyter.core.errors import ElementError
from element_jupyter.core.values import Digest, UtcTime, Value

# ---------------------------------------------------------------------------------------- failures


class FailureCode(StrEnum):
    """Why an environment could not be made; programs may rely on these words."""

    PARSE_ERROR = "parse_error"
    UNKNOWN_PACKAGE = "unknown_package"
    NO_SOLUTION = "no_solution"
    PYTHON_MISMATCH = "python_mismatch"
    NO_WHEEL = "no_wheel"
    HASH_MISMATCH = "hash_mismatch"
    AUTH_REQUIRED = "auth_required"
    OFFLINE = "offline"
    """The index cannot be reached, answers with errors, or is too slow."""
    NEEDS_TRUST = "needs_trust"
    """It takes packages from where the administrator has not allowed it, or runs build scripts."""
    NOT_SUPPORTED = "not_supported"
    TIMEOUT = "timeout"
    DISK_FULL = "disk_full"
    CANCELLED = "cancelled"
    DAMAGED = "damaged"
    """Built, and yet it does not work or is not what the lock says."""
    INTERNAL = "internal"


class Failure(Value):
    """Why there is no environment, for a person; see `EnvironmentFailed`."""

    code: FailureCode
    title: str
    """A few words: `Two requirements contradict each other`."""
    summary: str
    """One to three sentences: which requirement wants what."""
    hints: tuple[str, ...] = ()
    """What would solve it, best first."""
    culprits: tuple[Requirement, ...] = ()
    origins: tuple[Origin, ...] = ()
    """What would have to be trusted."""
    tool_output: str = ""
    """What the tool said, verbatim but for credentials; shortened to 20,000 characters."""
    retryable: bool = False
    """Whether the same may succeed later, unchanged."""

    @property
    def text(self) -> str:
        """The whole as people read it, in a terminal or a diagnostic kernel."""
        lines = [f"{self.title}.", "", self.summary]
        lines += ["", *(f"→ {hint}" for hint in self.hints)] if self.hints else []
        where = [
            f"  {each.spec}  ({each.file}{f', line {each.line}' if each.line else ''})"
            for each in self.culprits
        ]
        lines += ["", "It is about:", *where] if where else []
        lines += ["", *self.tool_output.splitlines()] if self.tool_output else []
        return "\n".join(lines)


class EnvironmentFailed(ElementError):
    """An environment cannot be made, and why."""

    code, status, exit_code = "environment_failed", 422, 1

    def __init__(self, failure: Failure, *, field: str | None = "environment") -> None:
        super().__init__(
            failure.summary, " ".join(failure.hints), field=field, details=failure.tool_output
        )
        self.failure = failure


# ---------------------------------------------------------------------------------------- progress


class Phase(StrEnum):
    """Where a build is; `done` and `total` count packages."""

    WAITING = "waiting"
    """For another that builds the same."""
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in {Phase.READY, Phase.FAILED}


class BuildEvent(Value):
    """One thing that a build tells; the last one is `ready` or `failed`."""

    sequence: int
    """1, 2, 3 … : the id of the server-sent event."""
    at: UtcTime
    phase: Phase
    done: int | None = None
    total: int | None = None
    message: str = ""
    """A line for the log."""
    environment_id: EnvironmentId | None = None
    """Known once it is resolved."""
    lock_id: Digest | None = None
    failure: Failure | None = None
    """When it has failed."""


class Tell(Protocol):
    """Is told how far a build is."""

    def __call__(
        self, phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None: ...


# ------------------------------------------------------------------------------- what backends do


@dataclass(frozen=True)
class Rules:
    """What the deployment allows and has; no secrets (an index's credentials are looked up)."""

    index_urls: tuple[str, ...] = ("https://pypi.org/simple",)
    """The deployment's own, most trusted first: uv's first match wins."""
    find_links: tuple[str, ...] = ()
    """Directories or pages of wheels that the deployment offers besides."""
    channels: tuple[str, ...] = ("https://conda.anaconda.org/conda-forge",)
    trusted: frozenset[Origin] = frozenset()
    """What the administrator allows, and what the person has trusted; `named_in` is empty."""
    builds_allowed: frozenset[str] = frozenset()
    """Names of packages whose source may be built, in the sandbox; `*` is all."""
    offline: bool = False
    exclude_newer: str | None = None
    timeout_seconds: float = 900.0
    variables: Mapping[str, str] = field(default_factory=dict)
    """The process environment for tools: HOME, PATH, certificates, proxies, credentials."""


@dataclass(frozen=True)
class Lock:
    """A lock as bytes: PEP 751 `pylock.toml` for uv, a document of its own for rattler.

    Whole: it has the kernel's packages too, every artefact with its URL and sha256, and in
    `[tool.element]` the definition's `meaning`, the backend, and Python's version. No time, no
    path, no credentials: locking the same twice gives the same bytes.
    """

    backend: Backend
    content: bytes
    python: str
    """Full version of the interpreter it was made for; of a conda lock, the one in it."""


class Engine(Protocol):
    """Locks definitions and installs locks. Blocking; called in a process made for it.

    Everything that goes wrong is an `EnvironmentFailed`.
    """

    def lock(
        self,
        found: Found,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        previous: bytes | None = None,
        upgrade: bool = False,
        scratch: Path,
    ) -> Lock:
        """Resolve a definition; `previous` is an earlier lock whose versions are kept if they can.

        A fresh lock of the person's own (`definition.lock_path`) is taken as it is, and neither the
        network nor `previous` matters then; the kernel's packages are added to it.
        """
        ...

    def artefacts(self, content: bytes, interpreter: Interpreter | None) -> tuple[Artefact, ...]:
        """Return what of a lock is installed for an interpreter, sorted by name."""
        ...

    def install(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        prefix: Path,
        final: Path,
        cache: Path,
    ) -> None:
        """Make the environment in `prefix`, which will be renamed to `final`.

        Verifies every artefact's hash. `cache` is on the store's file system; files are hard-linked
        from it.
        """
        ...

    def check(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        *,
        prefix: Path,
        cache: Path,
    ) -> None:
        """Return when the packages that were installed in `prefix` go together; only reads.

        Raises:
            EnvironmentFailed: they do not.
        """
        ...


class Locked(Value):
    """A definition and what it has become: enough to build it anywhere."""

    definition: Definition
    environment_id: EnvironmentId
    lock_id: Digest
