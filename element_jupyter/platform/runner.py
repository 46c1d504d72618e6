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
from typing import Any, Protocol

import IPython.paths  # noqa: F401 - what finds kernels imports it at first use, in each fork anew
from pydantic import ValidationError

from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.core.environments.building import EnvironmentFailed, Tell
from element_jupyter.core.environments.definitions import Pointer
from element_jupyter.core.errors import ElementError, Invalid, NotFound
from element_jupyter.core.kernel_variables import kernel_environment
from element_jupyter.core.notebooks import (
    ORDINARY_KERNEL,
    as_json,
    is_ordinary,
    kernel_of,
    names_are_checked,
    parameters_of,
    parse_parameter,
    resolve_parameters,
)
from element_jupyter.core.runs import Artifact, Event, RunFinished, RunSpec, RunState
from element_jupyter.platform.machine import this_machine
from element_jupyter.platform.run_building import BuildNotes, StoppedWaiting, unless_stopped
from element_jupyter.platform.run_environment import (
    KernelEnvironment,
    environment_of_notebook,
    environment_of_run,
)
from element_jupyter.runner.artifacts import State, collect, survey
from element_jupyter.runner.control_plane import HttpControlPlane, run_client
from element_jupyter.runner.documents import prepare, read_document
from element_jupyter.runner.events import EventLog, now
from element_jupyter.runner.kernel import find_kernel
from element_jupyter.runner.processes import adopt_orphans
from element_jupyter.runner.report import (
    LAST_EFFORT_SECONDS,
    ControlPlane,
    EventReporter,
    Heart,
)
from element_jupyter.runner.session import Session, Work

__all__ = ["InPlace", "Place", "run_file", "run_in_place", "run_remote", "run_reported"]

EXIT_CODES: Mapping[RunState, int] = {
    RunState.SUCCEEDED: 0,
    RunState.FAILED: 1,
    RunState.STOPPED: 128 + signal.SIGTERM,
}


class _Control:
    """Passes stop requests on to the session, or keeps them until there is one."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self.asked = asyncio.Event()
        self._session: Session | None = None

    def stop(self, reason: str, *, now: bool = False) -> None:
        self.requested = self.requested or reason
        self.asked.set()
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
    return run_reported(OnThisDisk(spec))[0]


def run_remote() -> int:
    """Execute the run that the environment names; returns the exit code of the process."""
    from element_jupyter.platform import remote_runner  # which imports this

    return remote_runner.run_remote()


class Place(Protocol):
    """Where a run's project comes from, and what it leaves goes: this disk, or a URL."""

    spec: RunSpec
    """Its directories are of this machine."""
    control_plane: ControlPlane | None
    """Whom the run is reported to, if anybody."""
    patience_seconds: float
    """How long what it told is still tried to be reported after its end."""

    def restore(self, note: Callable[[str], None]) -> None:
        """See that the project is there; blocks.

        Raises:
            ElementError: it cannot be had.
        """

    def lock(self, lock_id: str) -> bytes:
        """Raises: NotFound."""

    def keep_lock(self, lock_id: str, content: bytes) -> None: ...

    def hand_over(
        self, artifacts: Sequence[Artifact], note: Callable[[str], None]
    ) -> Sequence[Artifact]:
        """See that people find the notebook, and the files, which are returned; blocks."""


class OnThisDisk:
    """The place of a run whose control plane shares this disk."""

    patience_seconds = LAST_EFFORT_SECONDS

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.control_plane: ControlPlane | None = None
        if spec.report_url is not None:
            token = Path(spec.token_file).read_text().strip() if spec.token_file else None
            self.control_plane = HttpControlPlane(run_client(spec.report_url, token))

    def restore(self, note: Callable[[str], None]) -> None:
        project = Path(self.spec.project_directory)
        if project.is_dir():
            return
        if self.spec.snapshot_id is None or self.spec.blob_url is None:
            raise Invalid(f"There is no directory {project}.", field="project_directory")
        restore(FsspecBlobs(self.spec.blob_url), self.spec.snapshot_id, project)

    def lock(self, lock_id: str) -> bytes:
        if self.spec.blob_url is None:
            raise NotFound("There is no blob store.")
        with FsspecBlobs(self.spec.blob_url).open(lock_id) as file:
            return file.read()

    def keep_lock(self, lock_id: str, content: bytes) -> None:
        if self.spec.blob_url is None:
            return
        blobs = FsspecBlobs(self.spec.blob_url)
        if blobs.missing({lock_id}):
            blobs.put(lock_id, content)

    def hand_over(
        self,
        artifacts: Sequence[Artifact],
        note: Callable[[str], None],
    ) -> Sequence[Artifact]:
        return artifacts


def run_reported(place: Place) -> tuple[int, bool]:
    """Execute a run; returns the exit code of its process, and whether all was reported.

    Raises:
        OSError: the disk does not take what it tells.
    """
    return asyncio.run(_run_reported(place, adopting=adopt_orphans()))


async def _run_reported(place: Place, *, adopting: bool) -> tuple[int, bool]:
    spec = place.spec
    loop = asyncio.get_running_loop()
    control = _Control()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stop, "The run was stopped.")
    events_path = Path(spec.output_directory) / "events.jsonl"
    log = EventLog(events_path)
    reporter = heart = None
    reported = True
    if place.control_plane is not None:
        reporter = EventReporter(events_path, place.control_plane)
        log.on_flush = reporter.wake
        heart = Heart(
            place.control_plane,
            spec.heartbeat_seconds,
            lambda reason: _from_thread(loop, control.stop, reason or "The run was stopped."),
        )
        reporter.start()
        heart.start()
    code = await _run_told(place, log, control, adopting=adopting)
    log.close()
    if reporter is not None and heart is not None:
        reported = await asyncio.to_thread(reporter.finish, place.patience_seconds)
        heart.stop()
    return code, reported


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[[str], None], reason: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the run
        loop.call_soon_threadsafe(call, reason)


async def _run_told(place: Place, log: EventLog, control: _Control, *, adopting: bool) -> int:
    """Run; whatever happens, the last event says how it ended."""
    loop, started, spec = asyncio.get_running_loop(), time.monotonic(), place.spec
    output, project = Path(spec.output_directory), Path(spec.project_directory)
    before: State = {}

    def note(sentence: str) -> None:
        _from_thread(loop, lambda text: log.note(text, "info"), sentence)

    def left() -> list[Artifact]:
        kept = collect(project, before, output / "artifacts", without=output)
        return [*place.hand_over(kept, note)]

    try:
        await unless_stopped(lambda: place.restore(note), control.asked)
        asked = _read(spec)
        made = None
        if asked.gets_environment:
            made = await unless_stopped(
                lambda: environment_of_run(spec, asked.document, place, BuildNotes(note), note),
                control.asked,
            )
        work = replace(
            _work(spec, asked, made, output_path=output / "output.ipynb"), adopting=adopting
        )
        session = Session(work, log, this_machine())
        control.attach(session)
        finished = await session.run(
            before_cells=lambda: before.update(survey(project, without=output)),
            after_cells=left,
        )
        return EXIT_CODES[finished.state]
    except ElementError as error:
        reason, code = f"{error.message} {error.hint}".strip(), error.exit_code
        if details := _details(error):
            log.note(details)
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


def _details(error: ElementError) -> str:
    """Return what an error has to say besides its message and hint."""
    return error.failure.text if isinstance(error, EnvironmentFailed) else error.details


@dataclass(frozen=True)
class _Asked:
    """A notebook that has been read, and what is to be done with it."""

    path: Path
    document: Mapping[str, Any]
    parameters: Mapping[str, Any]
    kernel: str
    language: str
    gets_environment: bool


def _read(spec: RunSpec) -> _Asked:
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
        kernel = ORDINARY_KERNEL
    installed = find_kernel(kernel) if spec.kernel or spec.data_directory is not None else None
    return _Asked(
        path=path,
        document=document,
        parameters=parameters,
        kernel=kernel,
        language=installed.language.lower() if installed and spec.kernel else "",
        gets_environment=(
            spec.data_directory is not None
            and installed is not None
            and is_ordinary(kernel, installed.argv)
        ),
    )


def _work(
    spec: RunSpec, asked: _Asked, made: KernelEnvironment | None, *, output_path: Path
) -> Work:
    # the token's path and our own variables are not the notebook's business
    variables = (
        kernel_environment({**os.environ}, spec.environment)
        if made is None
        else made.variables(spec.environment, Path(spec.project_directory))
    )
    return Work(
        run_id=spec.run_id,
        notebook=prepare(
            asked.document,
            parameters=asked.parameters,
            kernel=asked.kernel,
            language=asked.language,
        ),
        kernel=asked.kernel,
        directory=asked.path.parent,
        output_path=output_path,
        environment=variables,
        command=made.command if made else (),
        pin=made.pin if made else None,
        parameters=as_json(asked.parameters),
        snapshot_id=spec.snapshot_id,
        time_limit_seconds=spec.time_limit_seconds,
        cell_time_limit_seconds=spec.cell_time_limit_seconds,
        stop_grace_seconds=spec.stop_grace_seconds,
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
    environment: Pointer | None = None
    """Relative to the notebook."""
    data_directory: Path | None = None
    """Where settings of environments are read; None: the kernels installed here are used."""
    time_limit_seconds: float | None = None
    stop_grace_seconds: float = 10.0


def run_in_place(
    request: InPlace,
    on_event: Callable[[Event], None],
    on_prepared: Callable[[Sequence[str]], None] = lambda _sources: None,
    on_build: Tell | None = None,
) -> RunFinished:
    """Run a notebook where it lies; what it writes stays where it is written.

    Ctrl-C and SIGTERM stop it, a second time at once. Call it in the main thread of a process that
    does nothing else: what the notebook leaves running is ended. `on_prepared` gets the sources of
    all cells, the injected one included, before the kernel starts. `on_build` is told, in another
    thread, how far the environment is; without it, notes tell it.

    Raises:
        Invalid: the notebook, a parameter, the kernel or the output; the field says which.
        EnvironmentFailed: the notebook's environment cannot be made.
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
        data_directory=str(request.data_directory) if request.data_directory else None,
    )
    asked = _read(spec)
    adopting = adopt_orphans()

    def make(note: Callable[[str], None]) -> KernelEnvironment | None:
        if request.data_directory is None or not asked.gets_environment:
            return None
        tell = on_build or BuildNotes(note)
        return environment_of_notebook(
            notebook, asked.document, request.environment, request.data_directory, tell
        )

    def prepared(made: KernelEnvironment | None) -> Work:
        work = replace(_work(spec, asked, made, output_path=output), adopting=adopting)
        on_prepared([cell.source for cell in work.notebook.cells])
        return work

    return asyncio.run(_run_in_place(make, prepared, EventLog(listener=on_event)))


async def _run_in_place(
    make: Callable[[Callable[[str], None]], KernelEnvironment | None],
    prepared: Callable[[KernelEnvironment | None], Work],
    log: EventLog,
) -> RunFinished:
    control, started = _Control(), time.monotonic()
    loop = asyncio.get_running_loop()
    asked = 0

    def interrupt() -> None:
        nonlocal asked
        asked += 1
        control.stop("The run was stopped.", now=asked > 1)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)

    def note(sentence: str) -> None:
        _from_thread(loop, lambda text: log.note(text, "info"), sentence)

    try:
        made = await unless_stopped(lambda: make(note), control.asked)
    except StoppedWaiting:
        finished = RunFinished(
            at=now(),
            state=RunState.STOPPED,
            reason=control.requested or "",
            duration_seconds=time.monotonic() - started,
        )
        log.tell(finished)
        return finished
    session = Session(prepared(made), log, this_machine())
    control.attach(session)
    return await session.run()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("Usage: python -m element_jupyter.runner RUN.json\n")
        sys.exit(2)
    sys.exit(run_file(sys.argv[1]))
