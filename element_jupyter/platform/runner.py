"""The process of one run, and `element run` in the caller's own process.

`run_file` is called in a child of the fork server, which has imported this module, or by
`python -m element_jupyter.runner RUN.json`. Exit codes: 0 succeeded, 1 failed, 2 the request was
bad, 143 stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import IPython.paths  # noqa: F401 - what finds kernels imports it at first use, in each fork anew
from pydantic import ValidationError

from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.core.errors import ElementError, Invalid
from element_jupyter.core.notebooks import (
    as_json,
    kernel_environment,
    kernel_of,
    names_are_checked,
    parameters_of,
    parse_parameter,
    resolve_parameters,
)
from element_jupyter.core.runs import Event, RunFinished, RunSpec, RunState
from element_jupyter.runner.artifacts import State, collect, survey
from element_jupyter.runner.control_plane import HttpControlPlane
from element_jupyter.runner.documents import prepare, read_document
from element_jupyter.runner.events import EventLog, now
from element_jupyter.runner.kernel import find_kernel
from element_jupyter.runner.processes import adopt_orphans
from element_jupyter.runner.report import EventReporter, Heart
from element_jupyter.runner.session import Session, Work

__all__ = ["InPlace", "run_file", "run_in_place"]

DEFAULT_KERNEL = "python3"
EXIT_CODES: Mapping[RunState, int] = {
    RunState.SUCCEEDED: 0,
    RunState.FAILED: 1,
    RunState.STOPPED: 128 + signal.SIGTERM,
}


class _Control:
    """Passes stop requests on to the session, or keeps them until there is one."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self._session: Session | None = None

    def stop(self, reason: str, *, now: bool = False) -> None:
        self.requested = self.requested or reason
        if self._session is not None:
            self._session.stop(reason, now=now)

    def attach(self, session: Session) -> None:
        self._session = session
        if self.requested is not None:
            session.stop(self.requested)


# ------------------------------------------------------------------------------ a run by `RUN.json`


def run_file(path: str) -> int:
    """Execute the run that a `run.json` describes; returns the exit code of the process."""
    try:
        spec = RunSpec.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"{path} cannot be read as a run: {error}\n")
        return Invalid.exit_code
    Path(spec.output_directory).mkdir(parents=True, exist_ok=True)
    adopting = adopt_orphans()
    # the token's path and our own variables are not the notebook's business
    environment = kernel_environment({**os.environ}, spec.environment)
    return asyncio.run(_run_reported(spec, environment, adopting=adopting))


async def _run_reported(spec: RunSpec, environment: Mapping[str, str], *, adopting: bool) -> int:
    loop = asyncio.get_running_loop()
    control = _Control()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stop, "The run was stopped.")
    events_path = Path(spec.output_directory) / "events.jsonl"
    log = EventLog(events_path)
    reporter = heart = None
    if spec.report_url is not None:
        token = Path(spec.token_file) if spec.token_file else None
        control_plane = HttpControlPlane(spec.report_url, token)
        reporter = EventReporter(events_path, control_plane)
        log.on_flush = reporter.wake
        heart = Heart(
            control_plane,
            spec.heartbeat_seconds,
            lambda reason: _from_thread(loop, control.stop, reason or "The run was stopped."),
        )
        reporter.start()
        heart.start()
    code = await _run_told(spec, environment, log, control, adopting=adopting)
    log.close()
    if reporter is not None and heart is not None:
        await asyncio.to_thread(reporter.finish)
        heart.stop()
    return code


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[[str], None], reason: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the run
        loop.call_soon_threadsafe(call, reason)


async def _run_told(
    spec: RunSpec,
    environment: Mapping[str, str],
    log: EventLog,
    control: _Control,
    *,
    adopting: bool,
) -> int:
    """Run; whatever happens, the last event says how it ended."""
    started = time.monotonic()
    output, project = Path(spec.output_directory), Path(spec.project_directory)
    before: State = {}
    try:
        await asyncio.to_thread(_restore, spec)
        work = make_work(spec, environment, output_path=output / "output.ipynb", adopting=adopting)
        session = Session(work, log)
        control.attach(session)
        finished = await session.run(
            before_cells=lambda: before.update(survey(project, without=output)),
            after_cells=lambda: collect(project, before, output / "artifacts", without=output),
        )
        return EXIT_CODES[finished.state]
    except ElementError as error:
        reason, code = f"{error.message} {error.hint}".strip(), error.exit_code
    except Exception as error:  # noqa: BLE001 - the top of the process: it must say how it ended
        traceback.print_exc()
        reason, code = f"The runner itself failed: {type(error).__name__}: {error}", 1
    state = RunState.FAILED
    if control.requested is not None:
        state, reason = RunState.STOPPED, control.requested
        code = EXIT_CODES[state]
    duration = time.monotonic() - started
    log.tell(RunFinished(at=now(), state=state, reason=reason, duration_seconds=duration))
    return code


def _restore(spec: RunSpec) -> None:
    project = Path(spec.project_directory)
    if project.is_dir():
        return
    if spec.snapshot_id is None or spec.blob_url is None:
        raise Invalid(f"There is no directory {project}.", field="project_directory")
    restore(FsspecBlobs(spec.blob_url), spec.snapshot_id, project)


def make_work(
    spec: RunSpec,
    environment: Mapping[str, str],
    *,
    output_path: Path,
    adopting: bool = False,
) -> Work:
    """Read and check everything that can be before a kernel starts.

    Raises:
        Invalid: the notebook, a parameter or the kernel; the field says which.
    """
    parts = spec.notebook.split("/")
    if spec.notebook.startswith("/") or ".." in parts or "\0" in spec.notebook:
        raise Invalid("The notebook's path must stay inside the project.", field="notebook")
    path = Path(spec.project_directory) / spec.notebook
    document = read_document(path)
    parameters = resolve_parameters(
        document, spec.parameters, allow_extra=spec.allow_extra_parameters
    )
    kernel = spec.kernel or kernel_of(document)
    if kernel is None:
        if not names_are_checked(document):
            raise Invalid(
                "The notebook does not say which kernel it is for.",
                "Open it in JupyterLab and choose one, or name one for the run.",
                field="kernel",
            )
        kernel = DEFAULT_KERNEL
    language = find_kernel(kernel).language.lower() if spec.kernel else ""
    return Work(
        run_id=spec.run_id,
        notebook=prepare(document, parameters=parameters, kernel=kernel, language=language),
        kernel=kernel,
        directory=path.parent,
        output_path=output_path,
        environment=environment,
        parameters=as_json(parameters),
        snapshot_id=spec.snapshot_id,
        time_limit_seconds=spec.time_limit_seconds,
        cell_time_limit_seconds=spec.cell_time_limit_seconds,
        stop_grace_seconds=spec.stop_grace_seconds,
        adopting=adopting,
        pid=os.getpid(),
    )


# -------------------------------------------------------------------------------- a run in place


@dataclass(frozen=True)
class InPlace:
    """What `element run` was told; values of parameters as they were typed."""

    notebook: Path
    output: Path | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    allow_extra_parameters: bool = False
    kernel: str | None = None
    time_limit_seconds: float | None = None
    stop_grace_seconds: float = 10.0


def run_in_place(
    request: InPlace,
    on_event: Callable[[Event], None],
    on_prepared: Callable[[Sequence[str]], None] = lambda _sources: None,
) -> RunFinished:
    """Run a notebook where it lies; what it writes stays where it is written.

    Ctrl-C and SIGTERM stop it, a second time at once. Call it in the main thread of a process that
    does nothing else: what the notebook leaves running is ended. `on_prepared` gets the sources of
    all cells, the injected one included, before the kernel starts.

    Raises:
        Invalid: the notebook, a parameter, the kernel or the output; the field says which.
    """
    notebook = request.notebook.absolute()
    output = (request.output or notebook.with_name(f"{notebook.stem}-output.ipynb")).absolute()
    if output.resolve() == notebook.resolve():
        raise Invalid("The output would overwrite the notebook itself.", field="output")
    if not output.parent.is_dir():
        raise Invalid(f"There is no directory {output.parent}.", field="output")
    document = read_document(notebook)
    declared = {parameter.name: parameter for parameter in parameters_of(document)}
    spec = RunSpec(
        run_id="in-place",
        notebook=notebook.name,
        project_directory=str(notebook.parent),
        output_directory=str(output.parent),
        parameters={
            name: parse_parameter(declared.get(name), text)
            for name, text in request.parameters.items()
        },
        allow_extra_parameters=request.allow_extra_parameters,
        kernel=request.kernel,
        time_limit_seconds=request.time_limit_seconds,
        stop_grace_seconds=request.stop_grace_seconds,
    )
    environment = kernel_environment({**os.environ})
    work = make_work(spec, environment, output_path=output)
    work = replace(work, adopting=adopt_orphans())
    return asyncio.run(_run_in_place(work, on_event, on_prepared))


async def _run_in_place(
    work: Work, on_event: Callable[[Event], None], on_prepared: Callable[[Sequence[str]], None]
) -> RunFinished:
    control = _Control()
    asked = 0

    def interrupt() -> None:
        nonlocal asked
        asked += 1
        control.stop("The run was stopped.", now=asked > 1)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    session = Session(work, EventLog(listener=on_event))
    control.attach(session)
    on_prepared([cell.source for cell in work.notebook.cells])
    return await session.run()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("Usage: python -m element_jupyter.runner RUN.json\n")
        sys.exit(2)
    sys.exit(run_file(sys.argv[1]))
