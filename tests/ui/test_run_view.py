"""What a person sees of a run: live, failed, stopped, repeated, and while the server is away."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server.running import Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.runs import OpenRun, finish, markdown, rest, start, waits_for

pytestmark = pytest.mark.browser

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TABLE = "<table><tr><th>rate</th></tr><tr><td>0.25</td></tr></table>"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "go"


def state(page: Page) -> Locator:
    return page.locator(".jp-ElementRun-state")


def cell(page: Page, number: int) -> Locator:
    return page.get_by_role("group", name=f"Cell {number}", exact=True)


def test_outputs_come_while_the_notebook_runs_and_are_there_again_after_a_reload(
    lab_with_platform: Lab, open_run: OpenRun, gate: Path
):
    lab = lab_with_platform
    show = "from IPython.display import clear_output, display, HTML, Image, SVG\nimport base64"
    run_id = start(
        lab,
        "live.ipynb",
        markdown("# A *daily* report"),
        f"{show}\nprint('first')\ndisplay(HTML({TABLE!r}))\n"
        f"display(Image(base64.b64decode({IMAGE!r})))\n"
        'display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>\'))',
        "handle = display('10 %', display_id=True)\n"
        "for step in range(5):\n    clear_output(wait=True)\n    print('step', step)",
        waits_for(gate),
        "handle.update('100 %')\nprint('the end')",
    )
    page = open_run(lab, run_id)

    def seen(page: Page) -> None:
        expect(page.get_by_role("heading", name="A daily report")).to_be_visible()
        expect(state(page)).to_contain_text("Running")
        expect(page.locator(".jp-ElementRun-now")).to_contain_text("2 of 4 cells")
        expect(cell(page, 2)).to_contain_text("first")
        expect(cell(page, 2).get_by_role("cell", name="0.25")).to_be_visible()
        expect(cell(page, 2).locator(".jp-RenderedImage img")).to_be_visible()
        expect(cell(page, 2).locator(".jp-RenderedSVG img")).to_have_count(1)
        expect(cell(page, 3).locator(".jp-OutputArea")).to_have_text("step 4")
        source = cell(page, 3).locator(".jp-ElementCell-source").bounding_box()
        below = cell(page, 3).locator(".jp-OutputArea").bounding_box()
        assert source
        assert below
        assert source["y"] + source["height"] <= below["y"]
        expect(cell(page, 4)).to_have_attribute("data-state", "running")
        expect(page.locator(".jp-ElementRun-now code")).to_have_text("import pathlib, time")

    seen(page)
    expect(page.get_by_role("tab", name="live", exact=True)).to_be_visible()
    page.reload()
    seen(page)

    gate.touch()

    expect(state(page)).to_contain_text("Succeeded")
    expect(cell(page, 5)).to_contain_text("the end")
    expect(cell(page, 4)).to_contain_text("[3]")
    expect(page.locator(".jp-ElementRun-progress")).to_have_count(0)
    assert rest(lab, "GET", f"/runs/{run_id}")["state"] == "succeeded"


def test_a_failure_is_told_in_words_and_opened_where_it_happened(
    lab_with_platform: Lab, open_run: OpenRun
):
    lab = lab_with_platform
    cells = [
        nbformat.v4.new_code_cell("zero = 1", metadata={"tags": ["parameters"]}),
        "import pathlib\npathlib.Path('left.csv').write_text('name,rate\\nann,0.5\\n')",
        "print('before')\nrate = 1 / zero\nprint('after')",
    ]
    good = start(lab, "rates.ipynb", *cells)
    assert finish(lab, good)["state"] == "succeeded"
    bad = start(lab, "rates.ipynb", *cells, parameters={"zero": 0})
    assert finish(lab, bad)["state"] == "failed"
    original = (lab.root / "rates.ipynb").read_bytes()
    page = open_run(lab, bad)

    box = page.get_by_role("region", name="Why it failed")
    expect(box).to_contain_text("Cell 4 failed")
    expect(box).to_contain_text("ZeroDivisionError: division by zero")
    trace = box.locator("details pre")
    expect(trace).to_be_hidden()
    box.get_by_text("Traceback", exact=True).click()
    expect(trace).to_contain_text("rate = 1 / zero")
    expect(cell(page, 4)).to_contain_text("before")
    expect(cell(page, 4)).to_have_attribute("data-state", "failed")
    since = page.locator("details", has_text="Since the last success")
    expect(since).to_contain_text("zero: not given, now 0")
    page.get_by_text("1 parameter", exact=True).click()
    expect(page.get_by_role("row", name="zero 0")).to_be_visible()
    page.get_by_text("1 file", exact=True).click()
    page.get_by_text("Preview").click()
    expect(page.get_by_role("row", name="ann 0.5")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert saved.value.path().read_text() == "name,rate\nann,0.5\n"
    page.get_by_text("Log", exact=True).click()
    page.get_by_role("searchbox", name="Search the log").fill("zerodivision")
    expect(page.get_by_role("log")).to_contain_text("ZeroDivisionError: division by zero")
    expect(page.get_by_role("log")).not_to_contain_text("Cell 4 failed")
    for theme in THEMES:
        use_theme(page, theme)
        assert violations(page, ".jp-ElementRun-front", ".jp-ElementCell-prompt") == []

    box.get_by_role("button", name="Open at the failing cell").click()

    output = f"rates-output-{bad[-6:]}.ipynb"
    expect(page.get_by_role("tab", name=output)).to_be_visible()
    active = page.locator(".jp-NotebookPanel:visible .jp-Cell.jp-mod-active")
    expect(active).to_contain_text("rate = 1 / zero")
    expect(active).to_contain_text("ZeroDivisionError")
    page.get_by_role("tab", name="rates", exact=True).click()
    box.get_by_role("button", name="Open as notebook to debug").click()
    expect(page.get_by_role("tab", name="rates-debug.ipynb")).to_be_visible()
    expect(active).to_contain_text("rate = 1 / zero")
    page.get_by_role("tab", name="rates", exact=True).click()
    box.get_by_role("button", name="Open as notebook to debug").click()
    expect(page.get_by_role("tab", name="rates-debug-1.ipynb")).to_be_visible()

    debug = nbformat.read(lab.root / "rates-debug.ipynb", as_version=4)
    assert debug.cells[1].source.strip().endswith("zero = 0")
    assert debug.metadata.kernelspec.name == "python3"
    assert (lab.root / "rates.ipynb").read_bytes() == original

    page.get_by_role("tab", name="rates", exact=True).click()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("tab", name="rates", exact=True)).to_have_count(2)
    again = page.locator(".jp-ElementRun:visible")
    expect(again.locator(".jp-ElementRun-state")).to_contain_text("Failed")
    runs = rest(lab, "GET", "/runs")["items"]
    assert runs[0]["parameters"] == {"zero": 0}
    assert runs[0]["run_id"] != bad


def test_a_run_is_stopped_in_one_window_and_seen_to_be_in_another(
    lab_with_platform: Lab, open_run: OpenRun, gate: Path
):
    run_id = start(lab_with_platform, "endless.ipynb", "print('here')", waits_for(gate))
    pages = [open_run(lab_with_platform, run_id) for _ in range(2)]
    for page in pages:
        expect(cell(page, 1)).to_contain_text("here")
        expect(cell(page, 2)).to_have_attribute("data-state", "running")

    pages[0].get_by_role("button", name="Stop").click()

    expect(state(pages[0])).to_contain_text(re.compile("Stopping…|Stopped"))
    for page in pages:
        expect(state(page)).to_contain_text("Stopped")
        expect(cell(page, 2)).to_have_attribute("data-state", "stopped")
        expect(page.get_by_text("asked it to stop")).to_be_visible()


def test_a_run_that_is_not_there_is_said_to_be_missing(lab_with_platform: Lab, open_run: OpenRun):
    page = open_run(lab_with_platform, "r-00000000000000000000000000")

    expect(page.get_by_role("alert")).to_contain_text("There is no such run")
    page.get_by_role("button", name="Show all runs").click()
    expect(page.get_by_role("tab", name="Jobs")).to_be_visible()


def test_an_outage_is_told_and_what_came_meanwhile_is_shown_after_it(
    lab_with_platform: Lab, open_run: OpenRun, gate: Path
):
    lab = lab_with_platform
    run_id = start(lab, "outage.ipynb", "print('before')", waits_for(gate), "print('meanwhile')")
    page = open_run(lab, run_id)
    expect(cell(page, 1)).to_contain_text("before")

    page.context.set_offline(True)
    banner = page.get_by_role("alert").filter(has_text="Not updated since")
    expect(banner).to_be_visible()
    expect(cell(page, 1)).to_contain_text("before")
    gate.touch()
    finish(lab, run_id)
    page.context.set_offline(False)

    banner.get_by_role("button", name="Try again").click()
    expect(banner).to_have_count(0)
    expect(state(page)).to_contain_text("Succeeded")
    expect(cell(page, 3)).to_contain_text("meanwhile")


def test_nothing_is_followed_behind_another_tab_and_a_narrow_window_will_do(
    lab_with_platform: Lab, open_run: OpenRun, gate: Path
):
    lab = lab_with_platform
    cells = ("print('a' * 500)", waits_for(gate), "print('later')")
    gate.touch()
    finish(lab, start(lab, "narrow.ipynb", *cells))
    gate.unlink()
    run_id = start(lab, "narrow.ipynb", *cells)
    page = open_run(lab, run_id, width=340, theme="Dark")
    expect(cell(page, 1)).to_contain_text("aaa")
    # by how long the run before has taken
    left = re.compile("about .* left|longer than the usual")
    expect(page.locator(".jp-ElementRun-now")).to_have_text(left)
    view = page.locator(".jp-ElementRun")
    assert view.evaluate("each => each.clientWidth <= 280 && each.scrollWidth <= each.clientWidth")

    with page.expect_event("requestfailed", lambda request: "/events" in request.url):
        page.get_by_role("button", name="New Launcher").click()
    gate.touch()
    finish(lab, run_id)
    with page.expect_request(lambda request: "/events?after=" in request.url):
        page.get_by_role("tab", name="narrow", exact=True).click()
    expect(cell(page, 3)).to_contain_text("later")
    expect(cell(page, 1).locator(".jp-OutputArea")).to_have_text("a" * 500)


def test_of_a_long_notebook_what_is_near_is_drawn_and_the_rest_when_it_is_reached(
    lab_with_platform: Lab, open_run: OpenRun
):
    lab = lab_with_platform
    run_id = start(lab, "long.ipynb", *(f"print({number}, 'x' * 20_000)" for number in range(200)))
    assert finish(lab, run_id)["state"] == "succeeded"
    page = open_run(lab, run_id)
    expect(page.locator(".jp-ElementCell")).to_have_count(200)
    expect(cell(page, 1)).to_contain_text("xxx")
    assert page.locator(".jp-ElementRun .jp-OutputArea").count() < 50

    cell(page, 200).scroll_into_view_if_needed()

    expect(cell(page, 200)).to_contain_text("199 xxx")
