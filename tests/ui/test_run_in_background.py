"""What a person sees in JupyterLab: the button, the menus, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.server.running import Lab
from tests.ui.conftest import choose_from_palette

pytestmark = pytest.mark.browser

OUTAGE = (
    "daily.ipynb was not started: The Element platform is not running. Start it with `element up`."
)

OpenNotebook = Callable[[Lab], Page]


@pytest.fixture
def page(lab: Lab, open_notebook: OpenNotebook) -> Page:
    return open_notebook(lab)


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
    choose_from_palette(page, "Run in Background Now")

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


def test_a_notebook_runs_to_its_end_in_the_background(
    lab_with_platform: Lab, open_notebook: OpenNotebook
):
    page = open_notebook(lab_with_platform)

    page.get_by_role("button", name="Run this notebook in the background now").click()

    sent = page.get_by_text("Running daily.ipynb in the background.")
    expect(sent).to_be_visible()
    expect(page.get_by_text("daily.ipynb has run.")).to_be_visible()


def test_a_notebook_that_fails_is_told_with_its_error(
    lab_with_platform: Lab, open_notebook: OpenNotebook
):
    failing = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(failing, lab_with_platform.root / "failing.ipynb")
    page = open_notebook(lab_with_platform)
    files = page.get_by_role("region", name="File Browser Section")

    files.get_by_text("failing.ipynb").click(button="right")
    page.get_by_role("menuitem", name="Run in Background Now").click()

    toast = page.get_by_role("alert").filter(has_text="failing.ipynb failed")
    expect(toast).to_contain_text("ZeroDivisionError")
