"""What is started for a kernel: in an environment, to wait for one, or to say why there is none.

The editor's provisioner and the launcher that waits make the same of an environment here.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import element_jupyter
from element_jupyter.adapters.environment_store import started_ticks
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.keeping import Holder, HolderKind
from element_jupyter.core.errors import ElementError
from element_jupyter.core.kernel_variables import command_environment, kernel_environment
from element_jupyter.platform.environments.composition import Environment
from element_jupyter.platform.environments.finding import DEFAULT
from element_jupyter.server.provisioner import Start

START: Final = Path(element_jupyter.__file__).with_name("in_kernel") / "start.py"

OURS: Final = (sys.executable, "-P", "-m")
"""-P: a module in the notebook's directory is not ours to import."""


def in_environment(
    environment: Environment,
    *,
    variables: Mapping[str, str],
    notebook: Path | None,
    project: Path | None,
    definition: Mapping[str, str],
) -> Start:
    """Return how a kernel is started in an environment.

    `variables` are the server's, `definition` is what `about` says of it.
    """
    manifest, prefix = environment.manifest, environment.directory
    environment_id = manifest.environment_id
    return Start(
        command=(
            str(environment.python),
            str(START),
            "--environment",
            environment_id,
            "--settings",
        ),
        variables=kernel_environment(
            variables,
            prefix=prefix,
            environment_id=environment_id,
            lock_id=manifest.lock_id,
            project=project,
        ),
        given={
            "command": [*OURS, "element_jupyter.cli"],
            "variables": command_environment(variables),
            "notebook": str(notebook or ""),
            **definition,
        },
        environment_id=environment_id,
        encrypts=encrypts(prefix),
    )


def about(found: Found, notebook: Path | None) -> dict[str, str]:
    """Return what people call a definition, its kind, and the file that packages are added to."""
    definition = found.definition
    said = {"definition": definition.title, "kind": definition.kind, "adds_to": definition.title}
    if definition.name == DEFAULT and notebook is not None:
        beside = notebook.with_name("requirements.txt")
        return said | {"adds_to": "a new requirements.txt", "file": str(beside)}
    return said | ({"file": str(found.root / definition.path)} if found.root else {})


def encrypts(prefix: Path) -> bool:
    """Tell whether the ipykernel of an environment says that it can."""
    kernelspec = prefix / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    try:
        return b'"supported_encryption"' in kernelspec.read_bytes()
    except OSError:
        return False


def diagnosing(failure: Failure, variables: Mapping[str, str]) -> Start:
    """Return how a kernel is started that says why there is no environment."""
    return Start(
        command=(*OURS, "element_jupyter.platform.environments.diagnostic_kernel"),
        variables=kernel_environment(variables),
        given=failure.model_dump(mode="json"),
        encrypts=True,
    )


def holder(kernel_id: str, pid: int, what: str) -> Holder | None:
    """Return what says that a kernel's process uses an environment; None when it has ended."""
    ticks = started_ticks(pid)
    if ticks is None:
        return None
    return Holder(
        kind=HolderKind.KERNEL,
        id=kernel_id,
        pid=pid,
        started_ticks=ticks,
        what=what,
        user=getpass.getuser(),
    )


def failure_of(error: Exception) -> Failure:
    """Say for a person why there is no environment."""
    if isinstance(error, EnvironmentFailed):
        return error.failure
    if isinstance(error, ElementError):
        return Failure(
            code=FailureCode.PARSE_ERROR,
            title="The environment of this notebook cannot be told",
            summary=error.message,
            hints=(error.hint,) if error.hint else (),
            tool_output=error.details,
        )
    return Failure(
        code=FailureCode.INTERNAL,
        title="The environment of this notebook could not be prepared",
        summary=f"{type(error).__name__}: {error}.",
        hints=("The log of the Jupyter server says more.",),
        retryable=True,
    )


NOT_ENCRYPTED: Final = Failure(
    code=FailureCode.NOT_SUPPORTED,
    title="The kernel of this environment cannot encrypt its messages",
    summary="This server requires encryption, and the ipykernel of the environment is too old.",
    hints=("Ask for ipykernel>=7.3 where its packages are named, and restart the kernel.",),
)
