"""What a person sees in JupyterLab: the button, the menus, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server.running import JUPYTER_TOKEN, Lab, running_lab

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
BUILT = Path(__file__).parents[2] / "element_jupyter" / "labextension"
OUTAGE = (
    "daily.ipynb was not started: The Element platform is not running. Start it with `element up`."
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with the front end as it was built, and no platform behind it."""
    assert (BUILT / "package.json").is_file(), "The front end is not built: run `make setup`."
    home = tmp_path_factory.mktemp("lab")
    scope = home / "labextensions" / "@element"
    scope.mkdir(parents=True)
    (scope / "labextension").symlink_to(BUILT)
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with running_lab(
        home,
        f"--LabApp.extra_labextensions_path={home / 'labextensions'}",
        program="jupyterlab",
    ) as lab:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("print(1)")],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, lab.root / "daily.ipynb")
        (lab.root / "notes.txt").write_text("Not a notebook.")
        yield lab


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{lab.url}lab/workspaces/a-test/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.get_by_role("tab", name="daily.ipynb")).to_be_visible(timeout=60_000)
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible(timeout=60_000)
    yield page
    context.close()
    assert complaints == []


def notice(page: Page) -> str:
    """The text of the one notice that is on the screen."""
    toast = page.get_by_role("alert")
    expect(toast).to_have_count(1)
    return re.sub(r"\s+", " ", toast.inner_text()).strip()


def test_the_button_of_the_notebook_says_that_the_platform_is_not_running(page: Page):
    button = page.get_by_role("button", name="Run this notebook in the background now")

    button.click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()
    assert notice(page) == OUTAGE


def test_unsaved_changes_are_saved_before_the_notebook_is_sent(page: Page, lab: Lab):
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.type("  # changed\n")

    page.get_by_role("button", name="Run this notebook in the background now").click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()
    assert "# changed" in (lab.root / "daily.ipynb").read_text()


def test_the_command_palette_knows_it(page: Page):
    page.get_by_role("menuitem", name="View").click()
    page.get_by_role("menuitem", name="Activate Command Palette").click()
    palette = page.locator(".jp-ModalCommandPalette")
    palette.locator("input").fill("background now")

    palette.get_by_text("Run in Background Now").click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()


def test_the_file_browser_offers_it_for_notebooks_only(page: Page):
    files = page.get_by_role("region", name="File Browser Section")
    entry = page.get_by_role("menuitem", name="Run in Background Now")

    files.get_by_text("notes.txt").click(button="right")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_visible()
    expect(entry).to_have_count(0)
    page.keyboard.press("Escape")

    files.get_by_text("daily.ipynb").click(button="right")
    entry.click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()
