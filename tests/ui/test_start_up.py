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


def test_from_the_launcher_a_notebook_is_chosen_and_scheduled(lab: Lab, browser: Browser):
    window = browser.new_context(locale="en-US")
    page = window.new_page()
    (lab.root / "reports").mkdir()
    (lab.root / "reports" / "weekly.ipynb").write_bytes((lab.root / "daily.ipynb").read_bytes())
    page.goto(f"{lab.url}lab/workspaces/start?reset&token={JUPYTER_TOKEN}")

    page.locator(".jp-LauncherCard", has_text="Schedule Notebook").click()

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Choose a notebook to schedule")
    listed = dialog.locator(".jp-DirListing-item")
    expect(listed.filter(has_text="daily.ipynb")).to_be_visible()
    expect(listed.filter(has_text="notes.txt")).to_have_count(0)
    listed.filter(has_text="reports").click()
    dialog.get_by_role("button", name="Select").click()
    listed.filter(has_text="weekly.ipynb").click()
    dialog.get_by_role("button", name="Select").click()
    expect(dialog.get_by_role("group", name="When")).to_be_visible()
    expect(dialog).to_contain_text("weekly")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.locator(".jp-LauncherCard", has_text="Schedule Notebook").click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    window.close()
