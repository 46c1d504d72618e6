"""What the extension adds to JupyterLab's start: the time in which its plugins are activated."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.conftest import CHROMIUM, running_jupyterlab

WRAP = Path(__file__).parents[1] / "ui" / "activation.js"
STARTS = 9
BAR_MS = 20.0
MEASURES = """() => performance.getEntriesByType('measure')
    .filter(each => each.name.startsWith('activate @element/'))
    .map(each => each.duration)"""


def measure() -> list[dict[str, Any]]:
    """Start JupyterLab in windows of their own; the median of the sums of all plugins."""
    with (
        tempfile.TemporaryDirectory(prefix="element-bench-", ignore_cleanup_errors=True) as home,
        running_jupyterlab(Path(home)) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        took = [_activation_ms(browser, lab) for _ in range(STARTS)]
        browser.close()
    median = statistics.median(took)
    return [
        {
            "name": "lab_activation",
            "ours": median,
            "peer": None,
            "unit": "ms",
            "ratio": None,
            "bar": f"≤ {BAR_MS:.0f} ms",
            "holds": median <= BAR_MS,
            "rounds": took,
        }
    ]


def _activation_ms(browser: Browser, lab: Lab) -> float:
    window = browser.new_context()
    page = window.new_page()
    page.add_init_script(path=WRAP)
    # a Jupyter Server that is stopped before it has answered this does not end
    with page.expect_response(lambda answer: "api/nbconvert" in answer.url):
        page.goto(f"{lab.url}lab/workspaces/bench/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-ElementIndicator")).to_be_visible()
    durations: list[float] = page.evaluate(MEASURES)
    window.close()
    if not durations:
        raise AssertionError("no plugin of Element was seen to be activated")
    return sum(durations)
