"""The environment of a run: found or pinned, made where it is not there, checked, and held.

Everything here blocks; `platform.runner` calls it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from element_jupyter import config, in_kernel
from element_jupyter.adapters.environment_store.holding import started_ticks
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    FailureCode,
    Tell,
)
from element_jupyter.core.environments.definitions import Found, Pointer, parse_pointer
from element_jupyter.core.environments.identity import environment_id
from element_jupyter.core.environments.keeping import Holder, HolderKind, Manifest, Pin
from element_jupyter.core.errors import NotFound
from element_jupyter.core.kernel_variables import kernel_environment
from element_jupyter.core.runs import RunSpec
from element_jupyter.platform.environments.composition import (
    Environment,
    Environments,
    environments,
)

_START: Final = Path(in_kernel.__file__).with_name("start.py")

Wanted = Callable[[Environments], tuple[Environment, Pin]]


class Locks(Protocol):
    """Where the locks of environments are kept beside snapshots."""

    def lock(self, lock_id: str) -> bytes:
        """Raises: NotFound."""

    def keep_lock(self, lock_id: str, content: bytes) -> None: ...


@dataclass(frozen=True)
class KernelEnvironment:
    """What the kernel of a run is started with."""

    pin: Pin
    directory: Path

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start the kernel."""
        return (
            str(self.directory / "bin" / "python"),
            str(_START),
            *("--environment", self.pin.environment_id),
            "--batch",
            *("-f", "{connection_file}"),
        )

    def variables(self, added: Mapping[str, str], project: Path) -> dict[str, str]:
        """Return the variables that the kernel sees."""
        return kernel_environment(
            {**os.environ},
            added,
            prefix=self.directory,
            environment_id=self.pin.environment_id,
            lock_id=self.pin.lock_id,
            project=project,
        )


def environment_of_run(
    spec: RunSpec,
    document: Mapping[str, Any],
    locks: Locks,
    tell: Tell,
    note: Callable[[str], None],
) -> KernelEnvironment | None:
    """Return the environment that a run is pinned to, or that its project says.

    None where environments are switched off.

    Raises:
        EnvironmentFailed: it cannot be made, or is not what it should be.
        NotFound: the lock is not stored.
    """

    def pinned(made: Environments, pin: Pin) -> tuple[Environment, Pin]:
        if (there := made.get(pin.environment_id)) is not None:
            return there, pin
        try:
            return made.ensure_locked(pin, _lock(made, pin, locks), tell), pin
        except EnvironmentFailed as error:
            if error.failure.code is FailureCode.PYTHON_MISMATCH:
                raise EnvironmentFailed(_without_python(pin, error.failure)) from error
            raise

    def found(made: Environments) -> tuple[Environment, Pin]:
        from element_jupyter.adapters.definitions import DiskFiles

        pointer = parse_pointer(spec.environment_pointer) if spec.environment_pointer else None
        files = DiskFiles(Path(spec.project_directory))
        definition = made.find_in(files, spec.notebook, document=document, pointer=pointer)
        note(
            "The run is not pinned to an environment:"
            f" {definition.definition.title} is taken as it is locked now."
        )
        ensured = _ensured(made, definition, tell)
        _keep_lock(made, ensured[1], locks)
        return ensured

    def wanted(made: Environments) -> tuple[Environment, Pin]:
        return found(made) if spec.pin is None else pinned(made, spec.pin)

    return _prepared(spec.data_directory, wanted, run_id=spec.run_id, what=spec.notebook)


def environment_of_notebook(
    notebook: Path,
    document: Mapping[str, Any],
    pointer: Pointer | None,
    data_directory: Path,
    tell: Tell,
) -> KernelEnvironment | None:
    """Return the environment of a notebook where it lies; raises as `environment_of_run`."""

    def wanted(made: Environments) -> tuple[Environment, Pin]:
        return _ensured(made, made.find(notebook, document=document, pointer=pointer), tell)

    return _prepared(
        str(data_directory), wanted, run_id=f"in-place-{os.getpid()}", what=str(notebook)
    )


def _prepared(
    data_directory: str | None, wanted: Wanted, *, run_id: str, what: str
) -> KernelEnvironment | None:
    if data_directory is None:
        return None
    settings = config.load(data_dir=data_directory)
    made = environments(settings)
    if made is None:
        return None
    holder = Holder(
        kind=HolderKind.RUN,
        id=run_id,
        pid=os.getpid(),
        started_ticks=started_ticks(os.getpid()) or 0,
        what=what,
        user=settings.owner,
    )
    environment, pin = wanted(made)
    while not made.hold(pin.environment_id, holder):
        # it was taken away in between
        environment, pin = wanted(made)
    _check(environment.manifest, pin)
    return KernelEnvironment(pin, environment.directory)


def _ensured(made: Environments, found: Found, tell: Tell) -> tuple[Environment, Pin]:
    environment = made.ensure(found, tell)
    manifest = environment.manifest
    return environment, Pin(
        environment_id=manifest.environment_id,
        lock_id=made.state_of(found).lock_id or manifest.lock_id,
        definition=found.definition.title,
        python=manifest.python,
    )


def _lock(made: Environments, pin: Pin, locks: Locks) -> bytes:
    """Return the lock of a pin, from the store of environments or from where locks are kept."""
    content = made.lock_content(pin.lock_id)
    if content is not None:
        return content
    try:
        return locks.lock(pin.lock_id)
    except NotFound as error:
        raise NotFound(
            f"The lock of {pin.definition} is not stored any more.",
            "Save the job again: it is then pinned to what the definition says now.",
        ) from error


def _without_python(pin: Pin, why: Failure) -> Failure:
    return Failure(
        code=FailureCode.PYTHON_MISMATCH,
        title="The Python that the job was saved with is not here",
        summary=f"The environment of {pin.definition} was locked for Python {pin.python}, and the"
        " very build of it is not installed here (any more).",
        hints=(
            f"Have Python {pin.python} installed here again.",
            "Or save the job again: it is then pinned to an environment for the Python of today.",
        ),
        tool_output=why.summary,
    )


def _keep_lock(made: Environments, pin: Pin, locks: Locks) -> None:
    """Put a lock where it is found when the run is to be repeated."""
    content = made.lock_content(pin.lock_id)
    if content is not None:
        locks.keep_lock(pin.lock_id, content)


def _check(manifest: Manifest, pin: Pin) -> None:
    """Return when the environment is made of what its id says.

    Raises:
        EnvironmentFailed: it is not.
    """
    made_of = environment_id(
        manifest.backend, manifest.platform, manifest.packages, manifest.interpreter
    )
    if manifest.environment_id == pin.environment_id == made_of:
        return
    raise EnvironmentFailed(
        Failure(
            code=FailureCode.DAMAGED,
            title="The environment is not the one that was pinned",
            summary=f"What is kept as {pin.environment_id} ({pin.definition}) says that it is made"
            " of something else: somebody has changed it. Nothing was run.",
            hints=("`element env verify` shows what differs, and how it is mended.",),
        )
    )
