"""JupyterLab comes up as fast as without the extension, which does nothing before it is needed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.server.running import JUPYTER_TOKEN, Lab

pytestmark = pytest.mark.browser


def test_without_a_notebook_the_platform_is_asked_at_most_one_thing(lab: Lab, browser: Browser):
    window = browser.new_context(locale="en-US")
    page = window.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{lab.url}lab/workspaces/start?reset&token={JUPYTER_TOKEN}")
    expect(page.get_by_role("tab", name="Launcher")).to_be_visible()
    page.wait_for_load_state("networkidle")

    assert any("lab/extensions/@element/labextension" in each for each in asked)
    assert len([each for each in asked if "/element/api/" in each]) <= 1
    window.close()
