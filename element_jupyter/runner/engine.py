"""The engine for papermill: `papermill IN.ipynb OUT.ipynb --engine element`.

`platform.papermill_engine` makes of it what papermill is given. Papermill imports this module while
it is itself being imported, so nothing of papermill may be imported at the top.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from element_jupyter.core.kernel_variables import kernel_environment
from element_jupyter.core.runs import RunState
from element_jupyter.runner.machine import Machine


class ElementEngine:
    """Executes a notebook that papermill has prepared, as a run of Element's own."""

    @classmethod
    def machine(cls) -> Machine:
        """Return the machine that it is on."""
        raise NotImplementedError

    @classmethod
    def execute_notebook(
        cls,
        nb: NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        *,
        start_timeout: float = 60,
        execution_timeout: float | None = None,
        **_options: Any,
    ) -> NotebookNode:
        """Execute; papermill reads from the outputs whether it failed, and writes the result.

        Raises:
            PapermillExecutionError: the run failed in a way that no output tells.
        """
        from papermill.exceptions import PapermillException

        from element_jupyter.runner.events import EventLog
        from element_jupyter.runner.session import Session, Work

        local = output_path is not None and "://" not in output_path and output_path != "-"
        work = Work(
            run_id="papermill",
            notebook=nb,
            kernel=kernel_name,
            directory=Path.cwd(),
            output_path=Path(output_path) if local and output_path else None,
            environment=kernel_environment({**os.environ}),
            cell_time_limit_seconds=execution_timeout,
            start_timeout_seconds=start_timeout,
            pid=os.getpid(),
        )
        finished = asyncio.run(Session(work, EventLog(), cls.machine()).run())
        if finished.state is not RunState.SUCCEEDED and finished.failing_cell is None:
            raise PapermillException(finished.reason)
        return nb

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        from papermill.utils import nb_language

        return str(nb_language(nb, language))
