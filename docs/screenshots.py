"""`python -m docs.screenshots`: take the pictures of JupyterLab that the pages here show.

A real JupyterLab and a real platform, in Debian's Chromium; `make screenshots`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import nbformat
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.hub_platform import OWNER, HubPlatform, hub_platform
from tests.platform_fixture import wait_until
from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import use_theme
from tests.ui.admin_pages import PAGES, AdminPages, database
from tests.ui.conftest import CHROMIUM, running_jupyterlab, running_platform
from tests.ui.runs import code, finish, markdown, start
from tests.ui.test_jobs_panel import asking

IMAGES: Final = Path(__file__).parent / "images"
THEMES: Final = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
PARAMETERS: Final = """\
days: int = 7  # how far back
dry_run = False
since = "2026-10-31"
regions = ["EMEA", "APAC"]
"""
READ: Final = "sales = {'EMEA': 412, 'APAC': 290}\nprint(sum(sales.values()), 'orders')"
DRAW: Final = """\
from IPython.display import SVG, display
from element_jupyter import record

def bar(at):
    high = 90 * rate**at
    return f'<rect x="{40 * at}" y="{90 - high:.0f}" width="30" height="{high:.0f}"/>'


bars = "".join(bar(at) for at in range(6))
size = 'xmlns="http://www.w3.org/2000/svg" width="240" height="90"'
display(SVG(f'<svg {size} fill="#6a8fc9">{bars}</svg>'))
record(loss=round(rate**5, 4), accuracy=round(0.95 - rate / 10, 3))"""
FAIL: Final = "share = sales['AMER'] / sum(sales.values())"


def main() -> None:
    """Write every picture, in both themes."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="element-docs-") as home:
        root = Path(home)
        (root / "hub").mkdir()
        with (
            running_jupyterlab(root, {"MEM_LIMIT": "4294967296"}) as lab,
            running_platform(lab, root / "up.log"),
            sync_playwright() as playwright,
        ):
            _prepare(lab)
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            for name, theme in THEMES.items():
                _take(browser, lab, name, theme)
            with hub_platform(root / "hub") as hub:
                _take_pages_of_the_hub(browser, hub)
                _take_pages_of_administrators(browser, AdminPages(hub))
            browser.close()


TEAMS = f"""
teams:
  ml:
    title: Machine learning
    lead: {{people: [{OWNER}]}}
  sales:
    title: Sales
    viewer: {{people: [{OWNER}]}}
"""


def _take_pages_of_the_hub(browser: Browser, hub: HubPlatform) -> None:
    (hub.data / "teams.yaml").write_text(TEAMS)
    cookies = [
        {"name": cookie.name, "value": cookie.value or "", "url": hub.url}
        for cookie in hub.sign_in().cookies.jar
        if cookie.path in {"/", "/hub/"}
    ]
    for name in THEMES:
        window = browser.new_context(
            viewport={"width": 1200, "height": 620},
            color_scheme="dark" if name == "dark" else "light",
        )
        window.add_cookies(cookies)  # type: ignore[arg-type]
        page = window.new_page()
        page.goto(f"{hub.url}/hub/spawn")
        expect(page.get_by_role("button", name="Start")).to_be_visible()
        _shoot(page, f"spawn-{name}")
        page.goto(f"{hub.url}/hub/teams")
        expect(page.get_by_text("Machine learning")).to_be_visible()
        _shoot(page, f"teams-{name}")
        window.clear_cookies()
        page.goto(f"{hub.url}/hub/login")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        _shoot(page, f"sign-in-{name}")
        window.close()


QUOTAS = """
contact: help@example.org
quotas:
  - {who: everyone, largest: {cpu: 8, gpu: 1}, at_once: {servers: 2, runs: 10}}
  - {who: "team:*", budgets: [{per: calendar month, money: 500}]}
  - {who: "team:ml", at_once: {gpu: 8, cpu: 64}, budgets: [{per: calendar month, money: 3000}]}
  - {who: "person:ada", until: 2026-12-31, reason: the deadline of the paper, at_once: {gpu: 4}}
"""
PRICES = """
currency: EUR
prices:
  - {from: 2026-01-01, cpu_hour: 0.05, gib_hour: 0.006, gpu_hour: 1.90}
"""
USED = """
INSERT INTO allocations (id, kind, person, server, job, notebook, team, size, cpu, memory_bytes,
    gpu, price_per_hour, begun_at, ended_at, ended_how, cpu_seconds)
SELECT 's-' || lpad(n::text, 26, '0'), CASE WHEN n % 3 = 0 THEN 'editor' ELSE 'run' END,
    (ARRAY['ada', 'ben', 'cleo', 'dan', 'eva'])[1 + n % 5], '',
    CASE WHEN n % 3 > 0 THEN
        (ARRAY['ml/training', 'ml/report', 'sales/nightly', 'risk/scores'])[1 + n % 4] END,
    'notebook.ipynb', (ARRAY['ml', 'ml', 'sales', 'risk'])[1 + n % 4],
    (ARRAY['small', 'medium', 'large'])[1 + n % 3], 2 << (n % 3), (4::bigint << 30) << (n % 3),
    CASE WHEN n % 12 = 0 THEN 1 ELSE 0 END, NULL,
    now() - n * interval '71 minutes', now() - n * interval '71 minutes' + interval '3 hours',
    'succeeded', 3600 * (1 + n % 5) FROM generate_series(3, 500) AS n
"""


def _take_pages_of_administrators(browser: Browser, pages: AdminPages) -> None:
    hub = pages.hub
    (hub.data / "quotas.yaml").write_text(QUOTAS)
    (hub.data / "prices.yaml").write_text(PRICES)
    with database(pages) as connection:
        connection.execute(USED)
    for name in THEMES:
        with pages.window(browser, pages.root, dark=name == "dark", width=1200) as page:
            wait_until(lambda: _shows(page, "quotas", "the deadline of the paper"), 60)
            _shoot(page, f"quotas-{name}")
            wait_until(lambda: _shows(page, "usage", "risk"), 120)
            _shoot(page, f"usage-{name}")


def _shows(page: Page, path: str, text: str) -> bool:
    page.goto(f"{PAGES}{path}")
    return page.get_by_text(text).first.is_visible()


def _prepare(lab: Lab) -> None:
    heading = markdown("# Sales of the week")
    notebook = nbformat.v4.new_notebook(
        cells=[heading, code(PARAMETERS, metadata={"tags": ["parameters"]}), code(READ)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, lab.root / "sales.ipynb")
    with asking(lab) as platform:
        platform.job("report", READ)
        platform.job("clean-up", READ)
    for each in ("daily.ipynb", "notes.txt"):
        (lab.root / each).unlink()
    for rate in (0.9, 0.7):
        given = {"rate": rate, "epochs": 6}
        parameters = code("rate, epochs = 0.5, 6", metadata={"tags": ["parameters"]}, id="given")
        cells = (parameters, code(READ, id="read"), code(DRAW, id="draw"))
        finish(lab, start(lab, "training.ipynb", *cells, parameters=given))
    finish(lab, start(lab, "shares.ipynb", heading, READ, FAIL))


def _take(browser: Browser, lab: Lab, name: str, theme: str) -> None:
    window = browser.new_context(viewport={"width": 1200, "height": 750}, locale="en-US")
    page = window.new_page()
    page.goto(f"{lab.url}lab/workspaces/docs/tree/sales.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
    use_theme(page, theme)
    expect(page.locator(".jp-ElementIndicator")).to_contain_text("ready", timeout=180_000)

    page.get_by_role("button", name="Run this notebook at set times").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("On a schedule").check()
    expect(dialog.get_by_text("Weekdays at")).to_be_visible()
    expect(dialog.get_by_label("days")).to_be_visible()
    _shoot(page, f"schedule-{name}")
    page.keyboard.press("Escape")

    page.locator(".jp-ElementIndicator").get_by_role("button").click()
    expect(page.get_by_role("region", name="Environment", exact=True)).to_be_visible()
    _shoot(page, f"environment-{name}")
    page.get_by_role("tab", name="Environment").click()

    page.locator(".jp-Notebook .cm-content").last.click()
    page.keyboard.press("Control+Enter")
    page.locator(".jp-ElementStatus").get_by_role("button").click()
    resources = page.get_by_role("region", name="Resources", exact=True)
    expect(resources.get_by_role("listitem").filter(has_text="memory")).to_be_visible()
    resources.get_by_role("button", name="Memory in the last ten minutes").click()
    expect(resources.get_by_role("img", name="Memory in the last hour")).to_be_visible()
    _shoot(page, f"resources-{name}")
    page.get_by_role("tab", name="Resources").click()

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Jobs").click()
    panel = page.locator(".jp-ElementJobs")
    panel.get_by_role("tab", name="Schedules").click()
    expect(panel.get_by_text("report").first).to_be_visible()
    _shoot(page, f"schedules-{name}")
    panel.get_by_role("tab", name="Runs").click()
    failed = panel.get_by_role("row").filter(has_text="AMER")
    expect(failed).to_be_visible()
    _shoot(page, f"runs-{name}")
    failed.get_by_role("button").first.click()
    expect(page.locator(".jp-ElementRun").get_by_text("KeyError").first).to_be_visible()
    expect(page.locator(".jp-ElementRun").get_by_text("702 orders")).to_be_visible()
    _shoot(page, f"run-{name}")
    page.get_by_role("tab", name="Jobs").click()
    for box in panel.get_by_role("checkbox", name="Choose training").all():
        box.check()
    panel.get_by_role("button", name="Compare", exact=True).click()
    compared = page.locator(".jp-ElementCompare")
    expect(compared.locator(".jp-RenderedSVG img")).to_have_count(2)
    _shoot(page, f"compare-{name}")
    window.close()


def _shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
