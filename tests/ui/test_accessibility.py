"""People who see, hear or move differently can use every panel, in each of JupyterLab's themes."""

from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.server.running import Lab
from tests.ui.accessibility import THEMES, use_theme, violations
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
