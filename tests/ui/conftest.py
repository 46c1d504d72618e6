"""A real JupyterLab with the front end as it was built, in Debian's Chromium."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime

from element_jupyter.platform.hub.people import serves_one_because
from element_jupyter.platform.state import read_state
from labextension import build as front_end
from tests.platform_fixture import free_ports
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab
from tests.ui.admin_pages import AdminPages, admin_pages
from tests.ui.complaints import hear
from tests.ui.runs import OpenRun, opening

CHROMIUM = Path("/usr/bin/chromium")

# a deadline for a busy machine; what is there is seen at once
expect.set_options(timeout=60_000)


@contextlib.contextmanager
def running_jupyterlab(home: Path, variables: Mapping[str, str] | None = None) -> Iterator[Lab]:
    assert front_end.is_current(), "The front end is not built from its sources: `make setup`."
    scope = home / "labextensions" / "@element"
    scope.mkdir(parents=True)
    (scope / "labextension").symlink_to(front_end.BUILT)
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with running_lab(
        home,
        f"--LabApp.extra_labextensions_path={home / 'labextensions'}",
        program="jupyterlab",
        # most tests want an outage to be one
        variables={"ELEMENT_ON_DEMAND_SECONDS": "0", **(variables or {})},
    ) as lab:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("print(1)")],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, lab.root / "daily.ipynb")
        (lab.root / "notes.txt").write_text("Not a notebook.")
        yield lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with no platform behind it."""
    with running_jupyterlab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def lab_with_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with everything of `element up` behind it but Airflow."""
    home = tmp_path_factory.mktemp("lab")
    with running_jupyterlab(home) as lab, running_platform(lab, home / "up.log"):
        yield lab


@contextlib.contextmanager
def running_platform(lab: Lab, log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "element_jupyter.cli", "up", "--data", str(lab.data)],
            env={**os.environ, **free_ports(), "ELEMENT_AIRFLOW": "false"},
            stdout=said,
            stderr=said,
        )
    try:
        deadline = time.monotonic() + 240
        while not ((state := read_state(lab.data / "state.json")) and state.ready):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The platform did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminPages]:
    """A platform with a Hub and its people, for the pages of quotas and usage."""
    if (reason := serves_one_because()) is not None:
        pytest.skip(f"one person only: {reason}")
    with admin_pages(tmp_path_factory.mktemp("pages")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; ended with the module, since no other event loop can run beside Playwright's."""
    assert CHROMIUM.exists(), "Chromium is not installed: `make test` does that."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


def choose_from_palette(page: Page, command: str) -> None:
    """Run a command of JupyterLab's palette."""
    palette = page.locator(".jp-ModalCommandPalette")
    for left in (2, 1, 0):
        page.get_by_role("menuitem", name="View").click()
        page.get_by_role("menuitem", name="Activate Command Palette").click()
        try:
            palette.locator("input").fill(command, timeout=10_000)
            break
        except NotInTime:
            # it closes when the notebook takes the focus, which it does once more when it is ready
            if not left:
                raise
    palette.get_by_text(command).click()


@pytest.fixture
def open_notebook(browser: Browser) -> Iterator[Callable[[Lab], Page]]:
    """Open `daily.ipynb` in a window of its own; at the end, nothing may have gone wrong in it."""
    complaints: list[str] = []
    with contextlib.ExitStack() as windows:

        def opened(lab: Lab) -> Page:
            window = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
            windows.callback(window.close)
            page = window.new_page()
            hear(page, complaints)
            page.goto(
                f"{lab.url}lab/workspaces/a-test/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}"
            )
            expect(page.get_by_role("tab", name="daily.ipynb")).to_be_visible()
            ready = page.locator(".jp-Notebook-ExecutionIndicator")
            expect(ready).to_be_visible()
            return page

        yield opened
    assert complaints == []


@pytest.fixture
def open_run(browser: Browser) -> Iterator[OpenRun]:
    """Open the view of a run in a window of its own; nothing may have gone wrong in it."""
    complaints: list[str] = []
    with opening(browser, complaints) as opened:
        yield opened
    assert complaints == []
