"""Accessibility of what is on the screen, by the rules of axe (WCAG 2.2, levels A and AA)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

AXE: Final = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
THEMES: Final = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page, *within: str) -> list[str]:
    """Return what is wrong with what some selectors find, each as a line to read.

    Left out are outputs, whose colours are those of JupyterLab's own renderers.
    """
    if not page.evaluate("Boolean(window.axe)"):
        page.add_script_tag(content=AXE.read_text())
        # JupyterLab's body is 0 px high and cuts off what is outside; axe takes all for hidden
        page.add_style_tag(content="body { height: 100vh }")
    found = page.evaluate(
        """async ([include, values]) => (await axe.run(
            { include, exclude: [['.jp-OutputArea']] },
            { runOnly: { type: 'tag', values }, resultTypes: ['violations'] }
        )).violations""",
        [[[each] for each in within], RULES],
    )
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        for node in each["nodes"]
    ]


def use_theme(page: Page, theme: str) -> None:
    """Choose a theme of JupyterLab from its menu."""
    page.get_by_role("menuitem", name="Settings").click()
    menus = page.locator(".lm-Menu-itemLabel")
    menus.get_by_text("Theme", exact=True).click()
    menus.get_by_text(theme, exact=True).click()
    expect(page.locator(f"body[data-jp-theme-name='{theme}']")).to_be_attached()
