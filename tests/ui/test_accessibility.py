"""People who see, hear or move differently can use every panel, in each of JupyterLab's themes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.server.running import Lab
from tests.ui.accessibility import THEMES, use_theme, violations

pytestmark = pytest.mark.browser

OpenNotebook = Callable[[Lab], Page]


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
