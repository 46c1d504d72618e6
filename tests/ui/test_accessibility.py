"""People who see, hear or move differently can use every panel, in each of JupyterLab's themes."""

from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.conftest import choose_from_palette
from tests.ui.runs import finish, start
from tests.ui.test_jobs_panel import asking

pytestmark = pytest.mark.browser

OpenNotebook = Callable[[Lab], Page]

PARAMETERS = """\
days: int = 7  # how far back
dry = False
since = "2026-10-31"
tags = ["x"]
"""


def test_the_environment_panel(lab: Lab, open_notebook: OpenNotebook):
    page = open_notebook(lab)
    page.locator(".jp-ElementIndicator").get_by_role("button").click()
    panel = page.get_by_role("region", name="Environment", exact=True)
    expect(panel).to_contain_text("ready", ignore_case=True, timeout=180_000)

    for theme in THEMES:
        use_theme(page, theme)

        assert violations(page, ".jp-ElementIndicator", ".jp-ElementPanel") == []

    page.add_style_tag(content=".jp-ElementPanel * { color: #444 !important }")
    assert any("contrast" in each for each in violations(page, ".jp-ElementPanel"))


def test_jobs_runs_and_the_dialog(lab_with_platform: Lab, open_notebook: OpenNotebook):
    lab = lab_with_platform
    with asking(lab) as platform:
        platform.job("nightly")
    finish(lab, start(lab, "good.ipynb", "print('fine')", nbformat.v4.new_markdown_cell("# Good")))
    finish(lab, start(lab, "bad.ipynb", "1", "raise ValueError('no rows')"))
    document = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(document, lab.root / "daily.ipynb")
    page = open_notebook(lab)

    for theme in THEMES:
        use_theme(page, theme)
        found: dict[str, list[str]] = {}

        page.get_by_role("tab", name="daily.ipynb").click()
        page.get_by_role("button", name="Run this notebook at set times").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("days")).to_be_visible()
        dialog.get_by_label("On a schedule").check()
        dialog.get_by_text("More options").click()
        found["dialog"] = violations(page, ".jp-ElementSchedule")
        page.keyboard.press("Escape")

        page.get_by_role("menuitem", name="File", exact=True).click()
        page.get_by_role("menuitem", name="Jobs").click()
        panel = page.locator(".jp-ElementJobs")
        panel.get_by_role("tab", name="Runs").click()
        expect(panel.get_by_text("no rows")).to_be_visible()
        found["runs"] = violations(page, ".jp-ElementJobs")
        panel.get_by_role("tab", name="Schedules").click()
        expect(panel.get_by_text("nightly").first).to_be_visible()
        found["schedules"] = violations(page, ".jp-ElementJobs")

        panel.get_by_role("tab", name="Runs").click()
        panel.get_by_role("row").filter(has_text="no rows").get_by_role("button").first.click()
        expect(page.locator(".jp-ElementRun").get_by_text("no rows").first).to_be_visible()
        found["run"] = violations(page, ".jp-ElementRun")

        assert found == {panel: [] for panel in found}


def is_whole(page: Page, part: Locator) -> None:
    """Nothing of it is cut off, and neither it nor the page is scrolled sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert part.evaluate("each => each.scrollWidth <= each.clientWidth")
    box = part.bounding_box()
    size = page.viewport_size
    assert box
    assert size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    assert box["y"] + box["height"] <= size["height"]


def test_twice_as_large_nothing_is_cut_off(lab_with_platform: Lab, browser: Browser):
    lab = lab_with_platform
    finish(lab, start(lab, "large.ipynb", "1", "raise ValueError('too large')"))
    # what a browser makes of a window of 1280 x 800 at 200 %
    window = browser.new_context(
        viewport={"width": 640, "height": 400}, device_scale_factor=2, locale="en-US"
    )
    page = window.new_page()
    page.goto(f"{lab.url}lab/workspaces/large/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()

    choose_from_palette(page, "Schedule Notebook")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("On a schedule").check()
    for part in (dialog.locator(".jp-Dialog-content"), dialog.locator(".jp-ElementSchedule-form")):
        assert part.evaluate("each => each.scrollWidth <= each.clientWidth")
    is_whole(page, dialog.locator(".jp-Dialog-content"))
    for name in ("Cancel", "Schedule"):
        button = dialog.get_by_role("button", name=name, exact=True)
        button.scroll_into_view_if_needed()
        expect(button).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Jobs").click()
    panel = page.locator(".jp-ElementJobs")
    failed = panel.get_by_role("row").filter(has_text="too large")
    expect(failed).to_be_visible()
    is_whole(page, panel)
    failed.get_by_role("button").first.click()
    view = page.locator(".jp-ElementRun")
    expect(view.get_by_text("too large").first).to_be_visible()
    is_whole(page, view)
    window.close()
