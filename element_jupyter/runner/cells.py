"""Executes the cells of one notebook in one kernel.

`nbclient.NotebookClient` knows how messages become outputs (display ids, widgets, clearing); this
adds what it lacks for unattended runs: outputs of a thread land in the cell that started it, a
stream's pieces are joined in bounded memory, a finished cell is recognised by both channels however
long the outputs take, and a dead kernel is noticed at once.
"""

# nbformat has no types
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from element_jupyter.core.errors import ElementError
from element_jupyter.core.runs import RECORD_TYPES
from element_jupyter.runner.events import LiveOutputs, size_of
from element_jupyter.runner.kernel import Kernel, KernelDied, Message
from element_jupyter.runner.streams import Text

SILENCE_SECONDS: Final = 4.0
"""After the reply, a kernel that neither says more nor that it is idle is taken to be done."""

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")

LARGEST_NOTEBOOK_BYTES: Final = 500_000_000
"""Outputs beyond are not kept: they would neither fit into memory nor ever be opened."""

Recorder = Callable[[str, Any], None]
Teller = Callable[[str], None]


class CellFailed(ElementError):
    """A cell raised an error that it was not tagged to raise."""

    code = "cell_failed"

    def __init__(self, ename: str, evalue: str, traceback: str) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback


def without_colours(text: str) -> str:
    """Return text without terminal escape sequences (ECMA-48)."""
    return _ANSI.sub("", text)


class Cells(NotebookClient):
    """The cells of a notebook, executed one after the other by a kernel that is ready."""

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        live: LiveOutputs,
        on_record: Recorder,
        on_note: Teller,
    ) -> None:
        super().__init__(notebook)
        self.kc = kernel.client
        self._kernel = kernel
        self._live = live
        self._on_record = on_record
        self._on_note = on_note
        self._kept_bytes = 0
        self._full = False
        self._places: dict[str, tuple[NotebookNode, int]] = {}
        self._texts: dict[int, tuple[NotebookNode, Text]] = {}
        self._current = ""
        self._reply: asyncio.Future[Message]
        self._idle: asyncio.Future[None]
        self._heard_at = 0.0
        self.changed = False
        """Whether something has come since this was last set to False."""

    def listen(self) -> None:
        """Take the kernel's messages from now on."""
        self._kernel.on_shell = self._on_shell
        self._kernel.on_output = self._on_output

    # ---------------------------------------------------------------------------------- executing

    async def run_cell(self, cell: NotebookNode, index: int) -> bool:
        """Execute a code cell; returns False when the notebook asked to end here (`exit()`).

        Raises:
            CellFailed: it raised, and is not tagged `raises-exception`.
            KernelDied: the kernel's process ended.
        """
        loop = asyncio.get_running_loop()
        self._reply, self._idle = loop.create_future(), loop.create_future()
        allowed = "raises-exception" in cell.metadata.get("tags", [])
        cell.metadata["execution"] = {}
        self.clear_before_next_output = False
        self._current = self._kernel.client.execute(
            cell.source, store_history=True, allow_stdin=False, stop_on_error=not allowed
        )
        self._places[self._current] = (cell, index)
        try:
            reply = await self._finished()
        finally:
            self._live.flush()
            self.settle()
        content = reply["content"]
        cell.execution_count = content.get("execution_count", cell.execution_count)
        if content["status"] == "error" and not allowed:
            ename, evalue = str(content.get("ename", "Error")), str(content.get("evalue", ""))
            if ename == "SystemExit" and evalue in {"", "0", "None"}:
                return False
            lines = content.get("traceback") or []
            raise CellFailed(
                ename, without_colours(evalue), without_colours("\n".join(map(str, lines)))
            )
        if content["status"] in {"abort", "aborted"}:
            raise CellFailed("Aborted", "The kernel did not execute the cell.", "")
        payloads = content.get("payload") or []
        return not any(payload.get("source") == "ask_exit" for payload in payloads)

    async def _finished(self) -> Message:
        """Wait for the reply, and for all outputs that came before it."""
        died = self._kernel.died
        loop = asyncio.get_running_loop()
        first: set[asyncio.Future[Any]] = {self._reply, died}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        while not self._idle.done():
            since = loop.time()
            await asyncio.wait({self._idle}, timeout=0.3 if died.done() else SILENCE_SECONDS)
            if not self._idle.done() and self._heard_at < since:
                break
        if not self._reply.done():
            raise KernelDied(f"The kernel {died.result()}.")
        return self._reply.result()

    def _on_shell(self, message: Message) -> None:
        wanted = message["parent_header"].get("msg_id") == self._current
        if wanted and message["msg_type"] == "execute_reply" and not self._reply.done():
            cell, _ = self._places[self._current]
            cell.metadata["execution"]["shell.execute_reply"] = _stamp(message)
            self._reply.set_result(message)

    def _on_output(self, message: Message) -> None:
        parent = message["parent_header"].get("msg_id")
        if parent not in self._places:
            return
        self._heard_at = asyncio.get_running_loop().time()
        self.changed = True
        cell, index = self._places[parent]
        if message["msg_type"] == "stream" and not self.output_hook_stack[parent]:
            self._add_stream(cell, index, message["content"])
            return
        try:
            self.process_message(message, cell, index)
        except CellExecutionComplete:
            if parent == self._current and not self._idle.done():
                self._idle.set_result(None)

    # ------------------------------------------------------------------------------------ outputs

    def _add_stream(self, cell: NotebookNode, index: int, content: dict[str, Any]) -> None:
        name, text = content["name"], content["text"]
        if not text or not self._has_room():
            return
        self._clear_if_asked(cell.outputs, index)
        last = cell.outputs[-1] if cell.outputs else None
        if last is None or last.output_type != "stream" or last.name != name:
            last = NotebookNode(output_type="stream", name=name, text="")
            cell.outputs.append(last)
            self._kept_bytes += size_of(last)
        if id(last) not in self._texts:
            grown = Text()
            grown.append(last.text)
            self._texts[id(last)] = (last, grown)
        self._texts[id(last)][1].append(text)
        self._live.stream(index, cell.get("id", ""), name, text)

    def settle(self) -> None:
        """Put what the streams have gathered into their outputs."""
        for output, text in self._texts.values():
            self._kept_bytes -= size_of(output)
            output.text = str(text)
            self._kept_bytes += size_of(output)
        self._texts.clear()

    def _has_room(self) -> bool:
        if self._kept_bytes >= LARGEST_NOTEBOOK_BYTES and not self._full:
            self._full = True
            self._on_note("The outputs are larger than 500 MB; what comes now is not kept.")
        return not self._full

    def _clear_if_asked(self, outputs: list[NotebookNode], index: int) -> None:
        if self.clear_before_next_output:
            self._forget(outputs)
            outputs[:] = []
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False

    def _forget(self, outputs: list[NotebookNode]) -> None:
        for output in outputs:
            self._kept_bytes -= size_of(output)
            self._texts.pop(id(output), None)

    def process_message(
        self, msg: Message, cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """Add what a message brings to the notebook, and tell it."""
        if msg["msg_type"] == "update_display_data":
            content = msg["content"]
            told = {key: content.get(key) or {} for key in ("data", "metadata", "transient")}
            self._live.output(
                cell_index, cell.get("id", ""), {"output_type": "update_display_data", **told}
            )
        return super().process_message(msg, cell, cell_index)

    def output(
        self, outs: list[NotebookNode], msg: Message, display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Append an output, and tell it; what was recorded is told as such."""
        if not self._has_room():
            return None
        if not self.output_hook_stack[msg["parent_header"].get("msg_id")]:
            self._clear_if_asked(outs, cell_index)
        added = super().output(outs, msg, display_id, cell_index)
        if added is None:
            return None
        self._kept_bytes += size_of(added)
        told = dict(added)
        if display_id:
            told["transient"] = {"display_id": display_id}
        self._live.output(cell_index, self.nb.cells[cell_index].get("id", ""), told)
        for kind in RECORD_TYPES:
            recorded = added.get("data", {}).get(kind)
            if isinstance(recorded, dict):
                self._record(kind, recorded)
        return added

    def _record(self, kind: str, recorded: dict[str, Any]) -> None:
        if kind == RECORD_TYPES[0]:
            for name, value in recorded.items():
                self._on_record(name, value)
        elif isinstance(recorded.get("name"), str):
            self._on_record(recorded["name"], recorded.get("data"))

    def clear_output(self, outs: list[NotebookNode], msg: Message, cell_index: int) -> None:
        """Clear the outputs of a cell, now or before the next one comes."""
        hooked = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if not hooked:
            wait = bool(msg["content"].get("wait"))
            cell_id = self.nb.cells[cell_index].get("id", "")
            self._live.output(cell_index, cell_id, {"output_type": "clear_output", "wait": wait})
            if not wait:
                self._forget(outs)
        super().clear_output(outs, msg, cell_index)


def _stamp(message: Message) -> str:
    return str(message["header"]["date"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
