"""The kernel where there is no environment: every cell says why.

    python -m element_jupyter.platform.environments.diagnostic_kernel [ARGUMENT …]

Standard input has the `Failure` as JSON; the arguments are ipykernel's. Lines for the shell (`!…`)
and comments are run, so that the mending can begin here; no other cell is.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from element_jupyter.core.environments.building import Failure
from element_jupyter.in_kernel.pip_magic import request_in

ENDING = (
    "When this is mended, restart the kernel. Until then, only lines that begin with ! are run."
)


class DiagnosticKernel(IPythonKernel):
    """Fails every cell with the same words."""

    failure: Failure

    @property
    def banner(self) -> str:  # type: ignore[override]
        return f"{self.failure.text}\n\n{ENDING}\n"

    async def do_execute(
        self,
        code: str,
        silent: bool,  # noqa: FBT001 - as overridden
        *arguments: Any,
        **more: Any,
    ) -> Any:
        if silent or all(_is_for_the_shell(line) for line in _lines(code)):
            run = super().do_execute(code, silent, *arguments, **more)  # type: ignore[no-untyped-call]
            return await run
        content = {
            "ename": "EnvironmentFailed",
            "evalue": self.failure.summary,
            "traceback": [*self.failure.text.splitlines(), "", ENDING],
        }
        self.send_response(self.iopub_socket, "error", content)  # type: ignore[no-untyped-call]
        return {"status": "error", "execution_count": self.execution_count, **content}


def _lines(code: str) -> list[str]:
    return [line.strip() for line in code.splitlines() if line.strip()]


def _is_for_the_shell(line: str) -> bool:
    # what installs packages would install them into some other Python
    return line.startswith("#") or (line.startswith("!") and request_in(line[1:]) is None)


def main() -> None:
    """Be the kernel until it ends."""
    DiagnosticKernel.failure = Failure.model_validate_json(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    IPKernelApp.launch_instance(kernel_class=DiagnosticKernel)


if __name__ == "__main__":
    main()
