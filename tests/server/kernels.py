"""Notebooks with real kernels, opened as JupyterLab does it."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nbformat
from jupyter_client.blocking.client import BlockingKernelClient

from tests.server.running import JUPYTER_TOKEN, Lab

READY_SECONDS = 90.0
CELL_SECONDS = 90.0


@dataclass(frozen=True)
class Output:
    """What a cell has shown."""

    text: str
    """Of its streams, and the text of its displays."""
    error: str = ""
    """Its traceback, without colours."""
    displays: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass
class Notebook:
    """A notebook below the server's root, and its kernel."""

    lab: Lab
    path: str
    kernel_id: str = ""

    @property
    def file(self) -> Path:
        return self.lab.root / self.path

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return httpx.request(
            method,
            f"{self.lab.url}{path}",
            headers={"Authorization": f"token {JUPYTER_TOKEN}"},
            trust_env=False,
            timeout=60,
            **arguments,
        )

    def open(self, kernel: str = "python3") -> float:
        """Start its kernel; returns how many seconds the request took."""
        session = {
            # JupyterLab's own: a made-up path, and the notebook's name
            "path": f"{self.path.rpartition('/')[0]}/0b1c2d3e",
            "name": self.file.name,
            "type": "notebook",
            "kernel": {"name": kernel},
        }
        began = time.perf_counter()
        answer = self.ask("POST", "api/sessions", json=session)
        took = time.perf_counter() - began
        assert answer.status_code == 201, answer.text
        self.kernel_id = answer.json()["kernel"]["id"]
        return took

    def restart(self) -> None:
        answer = self.ask("POST", f"api/kernels/{self.kernel_id}/restart")
        assert answer.status_code == 200, answer.text

    def interrupt(self) -> None:
        answer = self.ask("POST", f"api/kernels/{self.kernel_id}/interrupt")
        assert answer.status_code == 204, answer.text

    def close(self) -> None:
        if self.kernel_id:
            self.ask("DELETE", f"api/kernels/{self.kernel_id}")

    def environment(self) -> dict[str, Any]:
        answer = self.ask("GET", "element/api/v1/environments/of", params={"path": self.path})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def run(self, code: str, answer: str | None = None) -> Output:
        """Execute a cell once the kernel is there; `answer` is typed when it asks."""
        file = self.lab.root.parent / "runtime" / f"kernel-{self.kernel_id}.json"
        with connected(file) as client:
            return executed(client, code, answer)


@contextlib.contextmanager
def connected(connection_file: Path) -> Iterator[BlockingKernelClient]:
    """A client of a kernel that answers."""
    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels()
    try:
        # nothing beats while it waits for its environment, so `wait_for_ready` would give it up
        deadline = time.monotonic() + READY_SECONDS
        with_answer = False
        while not with_answer:
            assert time.monotonic() < deadline, "The kernel did not answer in time."
            client.kernel_info()
            with contextlib.suppress(queue.Empty):
                with_answer = bool(client.get_shell_msg(timeout=0.5))
        client.wait_for_ready(timeout=READY_SECONDS)
        yield client
    finally:
        client.stop_channels()


def executed(client: BlockingKernelClient, code: str, answer: str | None = None) -> Output:
    texts: list[str] = []
    errors: list[str] = []
    displays: list[Mapping[str, Any]] = []

    def on_output(message: Mapping[str, Any]) -> None:
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                texts.append(content["text"])
            case "display_data" | "execute_result":
                displays.append(content["data"])
                texts.append(content["data"].get("text/plain", "") + "\n")
            case "error":
                errors.extend(content["traceback"])

    def on_input(message: Mapping[str, Any]) -> None:
        texts.append(message["content"]["prompt"])
        client.input(answer or "")

    client.execute_interactive(
        code,
        allow_stdin=answer is not None,
        output_hook=on_output,
        stdin_hook=on_input,
        timeout=CELL_SECONDS,
    )
    return Output("".join(texts), re.sub(r"\x1b\[[\d;]*m", "", "\n".join(errors)), displays)


def new_notebook(
    lab: Lab, path: str, *, files: Mapping[str, str] | None = None, source: str = "1"
) -> Notebook:
    """Write a notebook, and the files of its project beside it."""
    notebook = Notebook(lab, path)
    notebook.file.parent.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (notebook.file.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (notebook.file.parent / name).write_text(text)
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(document, notebook.file)
    return notebook


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until a condition holds; returns what it was."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)
    return found


def server_sent(text: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the events of a stream, with their ids."""
    found = re.findall(r"id: (\d+)\ndata: (.*)\n\n", text)
    return [(int(number), json.loads(data)) for number, data in found]
