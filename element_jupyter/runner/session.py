"""One run of one notebook, from the kernel's start to the written result."""

# nbformat has no types
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nbformat import NotebookNode
from papermill.engines import NotebookExecutionManager
from pydantic import JsonValue

from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import ElementError
from element_jupyter.core.notebooks import first_line
from element_jupyter.core.runs import (
    Artifact,
    CellFinished,
    CellStarted,
    FailingCell,
    NotebookSaved,
    Recorded,
    RunFinished,
    RunStarted,
    RunState,
)
from element_jupyter.runner.cells import CellFailed, Cells
from element_jupyter.runner.documents import snapshot, write_notebook
from element_jupyter.runner.events import EventLog, LiveOutputs, now
from element_jupyter.runner.kernel import START_TIMEOUT_SECONDS, Kernel, KernelDied
from element_jupyter.runner.machine import Machine
from element_jupyter.runner.metering import Meter

SAVE_SECONDS: Final = 30.0
LARGEST_RECORD_CHARACTERS: Final = 100_000
_SHUTDOWN_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Work:
    """What a session executes; the notebook is `documents.prepare`d."""

    run_id: str
    notebook: NotebookNode
    kernel: str
    directory: Path
    """Where the kernel starts."""
    output_path: Path | None
    environment: Mapping[str, str]
    command: Sequence[str] = ()
    """What starts the kernel, when it is not an installed one."""
    pin: Pin | None = None
    """The environment that the kernel has."""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    snapshot_id: str | None = None
    time_limit_seconds: float | None = None
    cell_time_limit_seconds: float | None = None
    stop_grace_seconds: float = 10.0
    start_timeout_seconds: float = START_TIMEOUT_SECONDS
    adopting: bool = False
    """Whether this process exists for the run alone and has adopted orphans."""
    pid: int = 0


@dataclass
class _Stop:
    state: RunState
    reason: str
    ename: str


class Session:
    """Executes work once, telling events on the way."""

    def __init__(self, work: Work, log: EventLog, machine: Machine) -> None:
        self._work = work
        self._machine = machine
        self._log = log
        self._notebook = work.notebook
        # keeps papermill's metadata; writing is done here, off the event loop and not per cell
        self._papermill = NotebookExecutionManager(
            work.notebook, output_path=None, progress_bar=False, autosave_cell_every=0
        )
        self._kernel: Kernel | None = None
        self._cells: Cells | None = None
        self._stop: _Stop | None = None
        self._at: tuple[int, NotebookNode] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._kills: set[asyncio.Task[None]] = set()
        self._failing: FailingCell | None = None
        self._recorded: dict[str, JsonValue] = {}
        self._meter = Meter(log, machine.gpus, lambda: self._at[0] if self._at else None)
        self._started = time.monotonic()

    # ------------------------------------------------------------------------------------ control

    def stop(self, reason: str, *, now: bool = False) -> None:
        """Stop the run: interrupt, then after the grace (or `now`) kill all that is left of it."""
        self._halt(_Stop(RunState.STOPPED, reason, "Stopped"), grace=0 if now else None)

    def _halt(self, stop: _Stop, *, grace: float | None = None) -> None:
        again = self._stop is not None
        self._stop = self._stop or stop
        if self._kernel is None or (again and grace is None):
            return
        if grace is None:
            grace = self._work.stop_grace_seconds
        if self._at is None or not grace:
            self._kill()
            return
        self._kernel.interrupt()
        self._timers.append(asyncio.get_running_loop().call_later(grace, self._kill))

    def _kill(self) -> None:
        if self._kernel is not None:
            killing = asyncio.get_running_loop().create_task(self._kernel.kill_processes())
            self._kills.add(killing)
            killing.add_done_callback(self._kills.discard)

    def _run_is_late(self) -> None:
        where = ""
        if self._at is not None:
            index, cell = self._at
            where = f"; it was in {_name(index, cell)}"
        limit = _duration(self._work.time_limit_seconds or 0)
        reason = f"The run took longer than its time limit of {limit}{where}."
        self._halt(_Stop(RunState.FAILED, reason, "TimeLimit"))

    def _cell_is_late(self, index: int, cell: NotebookNode) -> None:
        limit = _duration(self._work.cell_time_limit_seconds or 0)
        named = _name(index, cell)
        reason = f"{named[0].upper()}{named[1:]} took longer than the limit of {limit} per cell."
        self._halt(_Stop(RunState.FAILED, reason, "TimeLimit"))

    # ---------------------------------------------------------------------------------- execution

    async def run(
        self,
        before_cells: Callable[[], None] = lambda: None,
        after_cells: Callable[[], list[Artifact]] = list,
    ) -> RunFinished:
        """Execute the notebook and write it; the last event is returned.

        Args:
            before_cells: called in a thread while the kernel starts.
            after_cells: called in a thread once nothing of the run is left running.

        Raises:
            Invalid: the kernel does not exist or cannot be started.
        """
        work = self._work
        if work.time_limit_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(work.time_limit_seconds, self._run_is_late))
        kernel = Kernel(
            work.kernel,
            directory=work.directory,
            environment=work.environment,
            machine=self._machine,
            command=work.command,
            adopting=work.adopting,
        )
        self._papermill.notebook_start()
        await kernel.start()
        self._kernel = kernel
        preparing = asyncio.ensure_future(asyncio.to_thread(before_cells))
        cells = Cells(self._notebook, kernel, LiveOutputs(self._log), self._record, self._log.note)
        self._cells = cells
        self._log.tell(
            RunStarted(
                at=now(),
                run_id=work.run_id,
                cells_total=sum(map(_is_executed, self._notebook.cells)),
                kernel=work.kernel,
                pid=work.pid,
                pin=work.pin,
            )
        )
        # for those who watch: from here on there is a document that the outputs belong to
        await self._save()
        background = [asyncio.create_task(self._meter.run(kernel.tree))]
        background.append(asyncio.create_task(self._save_now_and_then()))
        try:
            state, reason = await self._execute(kernel, cells, preparing)
        finally:
            for timer in self._timers:
                timer.cancel()
            self._meter.sample(kernel.tree)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, *self._kills, return_exceptions=True)
        ending = asyncio.create_task(
            kernel.shut_down(1.0 if self._stop is not None else _SHUTDOWN_SECONDS)
        )
        try:
            state, reason = await self._save_result(state, reason)
        finally:
            await ending
        artifacts = await asyncio.to_thread(after_cells)
        finished = RunFinished(
            at=now(),
            state=state,
            reason=reason,
            failing_cell=self._failing,
            duration_seconds=time.monotonic() - self._started,
            **self._meter.used.fields(),
            memory_limit_bytes=self._machine.memory_limit_bytes,
            out_of_memory=kernel.out_of_memory and self._stop is None,
            output_path=str(work.output_path) if work.output_path else None,
            artifacts=tuple(artifacts),
            recorded=self._recorded,
        )
        self._log.tell(finished)
        return finished

    async def _execute(
        self, kernel: Kernel, cells: Cells, preparing: asyncio.Future[None]
    ) -> tuple[RunState, str]:
        if self._stop is not None:
            await kernel.kill_processes()
        try:
            info = await kernel.ready(self._work.start_timeout_seconds)
        except KernelDied as error:
            await preparing
            if self._stop is not None:
                return self._stop.state, self._stop.reason
            hint = f" {error.hint}" if error.hint else ""
            return RunState.FAILED, f"{error.message}{hint}"
        cells.listen()
        self._notebook.metadata["language_info"] = info.get("language_info", {"name": "unknown"})
        await preparing
        for index, cell in enumerate(self._notebook.cells):
            if self._stop is not None:
                return self._stop.state, self._stop.reason
            self._papermill.cell_start(cell, index)
            try:
                goes_on = not _is_executed(cell) or await self._run_cell(cells, cell, index)
            except (CellFailed, KernelDied) as error:
                return self._failed(index, cell, error)
            finally:
                self._papermill.cell_complete(cell, cell_index=index)
            if not goes_on:
                self._log.note(f"The notebook ended itself in {_name(index, cell)}.")
                break
        if self._stop is not None:
            return self._stop.state, self._stop.reason
        return RunState.SUCCEEDED, ""

    async def _run_cell(self, cells: Cells, cell: NotebookNode, index: int) -> bool:
        cell_id, line = cell.get("id", ""), first_line(cell.source)
        self._log.tell(CellStarted(at=now(), index=index, cell_id=cell_id, first_line=line))
        assert self._kernel is not None  # noqa: S101 - it has been started
        self._meter.begin_cell(self._kernel.tree)
        self._at = (index, cell)
        timer = None
        if self._work.cell_time_limit_seconds is not None:
            timer = asyncio.get_running_loop().call_later(
                self._work.cell_time_limit_seconds, self._cell_is_late, index, cell
            )
        started = time.monotonic()
        ok = False
        try:
            goes_on = await cells.run_cell(cell, index)
            ok = True
            return goes_on
        except (CellFailed, KernelDied) as error:
            self._papermill.cell_exception(cell, cell_index=index, exception=error)
            self._meter.reached(self._kernel.peak_bytes)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._at = None
            duration = time.monotonic() - started
            used = self._meter.end_cell(self._kernel.tree)
            # beside what papermill keeps there of its time
            cell.metadata["element"] = used.fields()
            self._log.tell(
                CellFinished(
                    at=now(),
                    index=index,
                    cell_id=cell_id,
                    ok=ok,
                    duration_seconds=duration,
                    **used.fields(),
                )
            )

    def _failed(
        self, index: int, cell: NotebookNode, error: CellFailed | KernelDied
    ) -> tuple[RunState, str]:
        named = _name(index, cell)
        traceback = error.traceback if isinstance(error, CellFailed) else ""
        if self._stop is not None:
            state, reason = self._stop.state, self._stop.reason
            ename, evalue = self._stop.ename, reason
        elif isinstance(error, CellFailed):
            state, ename, evalue = RunState.FAILED, error.ename, error.evalue
            reason = f"{named[0].upper()}{named[1:]} failed: {error.message[:1000]}"
            if ename == "StdinNotImplementedError":
                reason = (
                    f"{named[0].upper()}{named[1:]} asks for input, and nobody is there to answer."
                )
        else:
            state, ename = RunState.FAILED, "DeadKernelError"
            reason = f"{error.message.rstrip('.')} in {named}."
            evalue = error.message
        shown = any(output.output_type == "error" for output in cell.outputs)
        if not shown:
            cell.outputs.append(
                NotebookNode(output_type="error", ename=ename, evalue=evalue, traceback=[reason])
            )
        if state is not RunState.STOPPED:
            self._failing = FailingCell(
                index=index,
                cell_id=cell.get("id", ""),
                first_line=first_line(cell.source),
                ename=ename,
                evalue=evalue,
                traceback=traceback,
            )
        return state, reason

    def _record(self, name: str, value: Any) -> None:
        if len(str(value)) > LARGEST_RECORD_CHARACTERS:
            self._log.note(
                f"What was recorded as '{name[:100]}' is too large to be kept; write it to a file."
            )
            return
        self._recorded[name] = value
        self._log.tell(Recorded(at=now(), name=name, value=value))

    # -------------------------------------------------------------------------------------- saving

    async def _save_now_and_then(self) -> None:
        pause = SAVE_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._cells is None or not self._cells.changed:
                continue
            self._cells.changed = False
            self._cells.settle()
            started = time.monotonic()
            saving = asyncio.ensure_future(self._save())
            try:
                # a save that has begun is not torn off by the end of the run
                await asyncio.shield(saving)
            except asyncio.CancelledError:
                await asyncio.wait({saving})
                raise
            # saving may take a tenth of the time at most
            pause = max(SAVE_SECONDS, 10 * (time.monotonic() - started))

    async def _save(self) -> None:
        try:
            await self._write(snapshot(self._notebook))
        except (OSError, ElementError) as error:
            self._log.note(f"The notebook could not be saved: {error}.")

    async def _write(self, notebook: NotebookNode) -> None:
        path = self._work.output_path
        if path is not None:
            size = await asyncio.to_thread(write_notebook, notebook, path)
            self._log.tell(NotebookSaved(at=now(), path=str(path), size_bytes=size))

    async def _save_result(self, state: RunState, reason: str) -> tuple[RunState, str]:
        if self._cells is not None:
            self._cells.settle()
            self._cells.set_widgets_metadata()
        self._papermill.notebook_complete()
        work = self._work
        pointed = self._notebook.metadata.get("element")
        environment = pointed.get("environment") if isinstance(pointed, dict) else None
        self._notebook.metadata["element"] = {
            **({"environment": environment} if environment is not None else {}),
            "run_id": work.run_id,
            "snapshot_id": work.snapshot_id,
            "parameters": dict(work.parameters),
            "state": state.value,
            "reason": reason,
            "usage": self._meter.used.fields(),
        }
        if work.pin is not None:
            self._notebook.metadata["element"]["run"] = {
                "environment_id": work.pin.environment_id,
                "lock_id": work.pin.lock_id,
                "snapshot_id": work.snapshot_id,
            }
        try:
            await self._write(self._notebook)
        except (OSError, ElementError) as error:
            return RunState.FAILED, f"The executed notebook could not be written: {error}."
        return state, reason


def _is_executed(cell: NotebookNode) -> bool:
    return (
        cell.cell_type == "code"
        and bool(cell.source.strip())
        and "skip-execution" not in cell.metadata.get("tags", [])
    )


def _name(index: int, cell: NotebookNode) -> str:
    line = first_line(cell.source)
    return f"cell {index + 1} (`{line[:60]}`)"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    if seconds < 7200:
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h"
