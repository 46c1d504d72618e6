"""What a person sees of what runs use: over time, of each cell, and before the next run."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.runs import OpenRun, finish, start, waits_for

pytestmark = pytest.mark.browser

SECTION = ".jp-ElementRun-resources"


def test_cpu_and_memory_are_drawn_while_a_run_goes_on_and_when_it_has_ended(
    lab_with_platform: Lab, open_run: OpenRun, tmp_path: Path
):
    lab, gate = lab_with_platform, tmp_path / "go"
    run_id = start(lab, "hungry.ipynb", "held = bytearray(200_000_000)", waits_for(gate))
    page = open_run(lab, run_id)
    page.get_by_text("Resources", exact=True).click()
    memory = page.get_by_role("img", name=re.compile("^Memory: at most .* MiB, on average"))
    # not "visible": a line that is quite flat has no height
    expect(memory.locator("polyline")).to_have_count(1)
    expect(page.get_by_role("img", name=re.compile("^CPU: at most .* cores"))).to_be_visible()
    before = memory.locator("polyline").get_attribute("points")
    expect(memory.locator("polyline")).not_to_have_attribute("points", before or "")

    gate.touch()
    finish(lab, run_id)

    expect(page.locator(SECTION)).to_contain_text(re.compile(r"processor time · \d+ MiB of memory"))
    expect(page.locator(SECTION).get_by_text("GPU")).to_have_count(0)
    first = page.get_by_role("group", name="Cell 1", exact=True)
    expect(first.get_by_title("The highest memory while it ran")).to_have_text(re.compile("MiB"))

    again = open_run(lab, run_id, width=320)
    again.get_by_text("Resources", exact=True).click()
    expect(again.get_by_role("img", name=re.compile("^Memory"))).to_be_visible()
    view = again.locator(".jp-ElementRun")
    assert view.evaluate("each => each.scrollWidth <= each.clientWidth")
    expect(
        again.get_by_role("group", name="Cell 1", exact=True).get_by_title("The highest memory")
    ).to_have_text(re.compile("MiB"))
    for theme in THEMES:
        use_theme(page, theme)
        assert violations(page, SECTION) == []


def test_before_the_next_run_it_is_said_what_the_last_ones_needed(
    lab_with_platform: Lab, browser: Browser
):
    lab = lab_with_platform
    runs = [start(lab, "often.ipynb", f"x = {number}") for number in range(3)]
    assert [finish(lab, run_id)["state"] for run_id in runs] == ["succeeded"] * 3

    page = browser.new_page(locale="en-US")
    page.goto(f"{lab.url}lab/workspaces/a/tree/{quote('often.ipynb')}?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
    page.get_by_role("button", name="Run this notebook at set times").click()

    expect(page.get_by_role("dialog").locator(".jp-ElementPreflight")).to_contain_text(
        re.compile(r"The last 3 runs needed up to \d+ MiB of memory; the size Small is enough\.")
    )
    page.close()
