"""A kernel's process while its environment is built: waits, then becomes the kernel.

    python -m element_jupyter.platform.environments.kernel_launcher --build ID [ARGUMENT …]

The arguments are the kernel's own. Standard input has a JSON object: `kernel_id`, `notebook`,
`project`, and as `definition` what `kernel_start.about` says. The pid stays the same, so for
Jupyter it is one kernel that starts slowly. When the build fails, it becomes the diagnostic kernel.

An interrupt while it waits is answered in the server's log, since a kernel that has not started
cannot be heard; a second one ends the waiting, and the diagnostic kernel says so. The build itself
goes on: others may wait for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from element_jupyter import config
from element_jupyter.core.environments.building import Failure, FailureCode, Phase
from element_jupyter.core.errors import ElementError
from element_jupyter.platform.environments.composition import (
    Environment,
    Environments,
    environments,
)
from element_jupyter.platform.environments.kernel_start import (
    NOT_ENCRYPTED,
    diagnosing,
    failure_of,
    holder,
    in_environment,
)
from element_jupyter.server.provisioner import Start

PARENT: Final = "JPY_PARENT_PID"
"""Jupyter's variable for its own pid: a kernel ends when that process has gone."""

NOT_WAITED_FOR: Final = Failure(
    code=FailureCode.CANCELLED,
    title="The environment is still being built",
    summary="The kernel was interrupted twice while it waited for its environment. It waits no"
    " longer; the build goes on.",
    hints=("Restart the kernel to wait for it again.",),
    retryable=True,
)
GONE: Final = Failure(
    code=FailureCode.INTERNAL,
    title="The environment is gone",
    summary="The environment was built, and removed before the kernel could use it.",
    hints=("Restart the kernel to build it again.",),
    retryable=True,
)


class _Waiting:
    """Follows a build until it ends, somebody has enough, or the server has gone."""

    def __init__(self, known: Environments, build_id: str, definition: str) -> None:
        self._known = known
        self._build_id = build_id
        self._definition = definition
        self._interrupts = 0
        self._parent = os.getppid()

    def interrupt(self, *_: object) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            sys.stderr.write(
                f"The kernel waits for the environment of {self._definition}, which is being"
                " built. Interrupt it once more to stop waiting.\n"
            )

    def result(self) -> Environment | Failure:
        """Return what the build has made."""
        for event in self._known.events(self._build_id):
            if os.getppid() != self._parent:
                sys.exit("The Jupyter server has gone; nobody waits for this kernel.")
            if self._interrupts > 1:
                return NOT_WAITED_FOR
            if event is None or not event.phase.ended:
                continue
            if event.phase is Phase.READY and event.environment_id is not None:
                return self._known.get(event.environment_id) or GONE
            return event.failure or GONE
        return GONE


def become(start: Start, arguments: Sequence[str]) -> NoReturn:
    """Be another program from now on, given what it wants on its standard input."""
    given = os.memfd_create("element-kernel")
    os.write(given, json.dumps(dict(start.given)).encode())
    os.lseek(given, 0, os.SEEK_SET)
    os.dup2(given, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ipykernel minds them when it can
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.stdout.flush()
    sys.stderr.flush()
    variables = {**start.variables}
    if PARENT in os.environ:
        variables[PARENT] = os.environ[PARENT]
    os.execve(start.command[0], [*start.command, *arguments], variables)  # noqa: S606


def main(arguments: Sequence[str]) -> NoReturn:
    """Wait, and become the kernel."""
    given: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    _, build_id, *kernel_arguments = arguments
    variables = {**os.environ}
    become(_start(build_id, given, variables, kernel_arguments), kernel_arguments)


def _start(
    build_id: str, given: dict[str, Any], variables: dict[str, str], arguments: Sequence[str]
) -> Start:
    try:
        known = environments(config.load())
        if known is None:
            return diagnosing(GONE, variables)
        waiting = _Waiting(known, build_id, given["definition"]["definition"])
        signal.signal(signal.SIGINT, waiting.interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        made = waiting.result()
        if isinstance(made, Failure):
            return diagnosing(made, variables)
        start = in_environment(
            made,
            variables=variables,
            notebook=Path(given["notebook"]) if given["notebook"] else None,
            project=Path(given["project"]),
            definition=given["definition"],
        )
        if not start.encrypts and _must_encrypt(arguments):
            return diagnosing(NOT_ENCRYPTED, variables)
        held = holder(given["kernel_id"], os.getpid(), given["notebook"])
        if held is not None and not known.hold(made.manifest.environment_id, held):
            return diagnosing(GONE, variables)
    except (ElementError, OSError) as error:
        return diagnosing(failure_of(error), variables)
    return start


def _must_encrypt(arguments: Sequence[str]) -> bool:
    """Tell whether the client of the connection file encrypts."""
    connection = json.loads(Path(arguments[arguments.index("-f") + 1]).read_bytes())
    return "curve_secretkey" in connection


if __name__ == "__main__":
    main(sys.argv[1:])
