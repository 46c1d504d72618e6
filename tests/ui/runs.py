"""Runs for the tests of what a person sees of them: started through REST, opened by a deep link."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
from playwright.sync_api import Browser, Page, expect

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.complaints import hear

code, markdown = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell

OpenRun = Callable[..., Page]


def client(lab: Lab) -> httpx.Client:
    return httpx.Client(
        base_url=lab.url,
        headers={"Authorization": f"token {JUPYTER_TOKEN}"},
        trust_env=False,
        timeout=60,
    )


def rest(lab: Lab, verb: str, path: str, body: Any = None) -> Any:
    with client(lab) as http:
        answer = http.request(verb, f"element/api/v1{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def start(lab: Lab, name: str, *cells: Any, parameters: dict[str, Any] | None = None) -> str:
    """Write a notebook and start it; texts are code. The id of the run."""
    notebook = nbformat.v4.new_notebook(
        cells=[code(cell) if isinstance(cell, str) else cell for cell in cells],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, lab.root / name)
    snapshot = rest(lab, "POST", "/snapshots", {"path": name})
    body = {
        "notebook": snapshot["notebook"],
        "snapshot_id": snapshot["snapshot_id"],
        "parameters": parameters or {},
        "trigger": "manual",
    }
    return str(rest(lab, "POST", "/runs", body)["run_id"])


def finish(lab: Lab, run_id: str) -> dict[str, Any]:
    """Follow a run to its end; the record."""
    with (
        client(lab) as http,
        http.stream("GET", f"element/api/v1/runs/{run_id}/events", timeout=120) as events,
    ):
        for _ in events.iter_lines():
            pass
    return dict(rest(lab, "GET", f"/runs/{run_id}"))


def waits_for(gate: Path) -> str:
    """The source of a cell that waits for a file."""
    return (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n"
        "    time.sleep(0.05)"
    )


@contextlib.contextmanager
def opening(browser: Browser, complaints: list[str]) -> Iterator[OpenRun]:
    """Open a run, or two beside each other, in a window of its own, as a reload of JupyterLab does."""
    with contextlib.ExitStack() as windows:

        def opened(
            lab: Lab,
            run_id: str,
            *,
            width: int = 1280,
            theme: str = "Light",
            beside: str | None = None,
            watched: Callable[[str], None] = lambda _: None,
        ) -> Page:
            shown = f"element-runs:{run_id}"
            state: dict[str, str] = {"run_id": run_id}
            if beside is not None:
                shown = f"element-comparisons:{run_id}-{beside}"
                state = {"first": run_id, "second": beside}
            layout = {
                "main": {"dock": {"type": "tab-area", "currentIndex": 0, "widgets": [shown]}},
                "left": {"collapsed": True},
                "right": {"collapsed": True},
            }
            workspace = f"run-{run_id}"
            with client(lab) as http:
                http.put(
                    f"lab/api/workspaces/{workspace}",
                    json={
                        "data": {
                            "layout-restorer:data": layout,
                            shown: {"data": state},
                        },
                        "metadata": {"id": workspace},
                    },
                ).raise_for_status()
                http.put(
                    "lab/api/settings/@jupyterlab/apputils-extension:themes",
                    json={"raw": f'{{"theme": "JupyterLab {theme}"}}'},
                ).raise_for_status()
            window = browser.new_context(viewport={"width": width, "height": 800}, locale="en-US")
            windows.callback(window.close)
            page = window.new_page()
            page.on("request", lambda request: watched(request.url))
            hear(page, complaints)
            page.goto(f"{lab.url}lab/workspaces/{workspace}?token={JUPYTER_TOKEN}")
            expect(page.locator(".jp-ElementRun")).to_be_visible()
            return page

        yield opened
