"""How long JupyterLab stands still while a person scrolls through a large run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.ui.conftest import CHROMIUM, running_jupyterlab, running_platform
from tests.ui.runs import OpenRun, finish, opening, start

BAR_MS = 100.0
WHEELS = 120
LARGE = {
    "lab_scroll_2000_cells": [f"{number} + 1" for number in range(2_000)],
    "lab_scroll_50_mb": [f"print('{number:09} ' * 25_000)" for number in range(200)],
}
OBSERVE = """() => {
    window.stalls = [];
    new PerformanceObserver(list => list.getEntries().forEach(each => stalls.push(each.duration)))
        .observe({ type: 'longtask' });
}"""


def measure() -> list[dict[str, Any]]:
    """Scroll once through each in a window of its own; a task is seen from 50 ms on."""
    with (
        tempfile.TemporaryDirectory(prefix="element-bench-", ignore_cleanup_errors=True) as home,
        running_jupyterlab(Path(home)) as lab,
        running_platform(lab, Path(home) / "up.log"),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        rows = []
        for name, cells in LARGE.items():
            run_id = start(lab, f"{name}.ipynb", *cells)
            if finish(lab, run_id)["state"] != "succeeded":
                raise AssertionError(f"the run of {name} did not succeed")
            with opening(browser, []) as opened:
                stalls = _stalls_ms(opened, lab, run_id)
            longest = max(stalls, default=0.0)
            rows.append(
                {
                    "name": name,
                    "ours": longest,
                    "peer": None,
                    "unit": "ms",
                    "ratio": None,
                    "bar": f"≤ {BAR_MS:.0f} ms",
                    "holds": longest <= BAR_MS,
                    "rounds": stalls,
                }
            )
        browser.close()
    return rows


def _stalls_ms(opened: OpenRun, lab: Any, run_id: str) -> list[float]:
    page: Page = opened(lab, run_id)
    cell = page.locator(".jp-ElementRun .jp-ElementCell").first
    expect(cell).to_be_visible()
    page.wait_for_load_state("networkidle")
    cell.hover()
    page.evaluate(OBSERVE)
    for _ in range(WHEELS):
        page.mouse.wheel(0, 900)
        page.evaluate("() => new Promise(requestAnimationFrame)")
    expect(cell, "it was scrolled").not_to_be_in_viewport()
    found: list[float] = page.evaluate("stalls")
    return found
