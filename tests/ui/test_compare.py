"""Two runs beside each other, as a person sees what differs between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server.running import Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.markup import MARKUP
from tests.ui.runs import OpenRun, code, finish, markdown, start, waits_for

pytestmark = pytest.mark.browser

NOTE = "".join(MARKUP)
PICTURE = """\
from IPython.display import Image, display
import base64
if rate > 0.2:
    display(Image(base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )))
else:
    print("no picture")
"""


def two_runs(lab: Lab) -> tuple[str, str]:
    """Runs of one notebook with other parameters, and a cell more in the second."""
    cells = [
        markdown("# Training", id="title"),
        code("rate = 0.1\nnote = ''", id="parameters", metadata={"tags": ["parameters"]}),
        code("print('loaded')", id="load"),
        code(f"from element_jupyter import record\n{PICTURE}", id="picture"),
        code("record(loss=1 - rate, epochs=3, eval={'f1': rate * 2})", id="record"),
    ]
    first = start(lab, "training.ipynb", *cells, parameters={"rate": 0.1, "note": "plain"})
    more = [*cells, code("print('checked')", id="check")]
    second = start(lab, "training.ipynb", *more, parameters={"rate": 0.25, "note": NOTE})
    for run_id in (first, second):
        run = finish(lab, run_id)
        assert run["state"] == "succeeded", run["reason"]
    return first, second


def row(page: Page, table: str, name: str) -> Locator:
    found = page.get_by_role("table", name=table).get_by_role("row")
    return found.filter(has=page.get_by_role("cell", name=name, exact=True))


def cell(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_two_runs_are_chosen_in_the_list_and_what_differs_is_shown(
    lab_with_platform: Lab, open_notebook: Callable[[Lab], Page]
):
    lab = lab_with_platform
    first, second = two_runs(lab)
    page = open_notebook(lab)
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Jobs").click()
    panel = page.locator(".jp-ElementJobs")
    boxes = panel.get_by_role("checkbox", name="Choose training to compare it")
    expect(boxes).to_have_count(2)
    compare = panel.get_by_role("button", name="Compare", exact=True)

    boxes.nth(0).press("Space")
    expect(panel.get_by_role("status")).to_contain_text("two can be compared")
    expect(compare).to_have_count(0)
    boxes.nth(1).press("Space")
    assert violations(page, ".jp-ElementJobs") == []
    compare.press("Enter")

    view = page.locator(f"#element-compare-{first}-{second}")

    def seen() -> None:
        expect(view.get_by_role("heading", name="Two runs of training")).to_be_visible()
        expect(row(page, "Parameters", "rate")).to_contain_text("+0.15 (+150%)")
        expect(row(page, "Parameters", "note")).to_contain_text("changed")
        expect(row(page, "Recorded values", "loss")).to_contain_text("-0.15 (-16.7%)")
        expect(row(page, "Recorded values", "eval.f1")).to_contain_text("+0.3 (+150%)")
        expect(row(page, "Recorded values", "epochs")).to_contain_text("the same")
        expect(row(page, "Runs", "Code")).to_contain_text("changed")

    seen()
    expect(row(page, "Parameters", "note").locator("code").last).to_have_text(NOTE)
    given = cell(page, "Cell 3")
    expect(given).to_contain_text("code differs")
    expect(given.get_by_label("Changes of the code")).to_contain_text("+ rate = 0.25")
    picture = cell(page, "Cell 5")
    expect(picture).to_contain_text("outputs differ")
    expect(picture).to_contain_text(re.compile(r"A [\d.]+ s, B [\d.]+ s"))
    picture.scroll_into_view_if_needed()  # outputs are drawn when they come near
    expect(picture.get_by_role("group", name="Outputs of A")).to_contain_text("no picture")
    shown = picture.get_by_role("group", name="Outputs of B").locator("img")
    expect(shown).to_be_visible()
    cell(page, "Cell 7").scroll_into_view_if_needed()
    expect(cell(page, "Cell 7")).to_contain_text("only in B")
    expect(cell(page, "Cell 7")).to_contain_text("checked")
    expect(page.get_by_text("loaded", exact=True)).to_have_count(0)
    view.get_by_text("1 cell is the same").click()
    expect(cell(page, "Cell 4")).to_contain_text("loaded")
    view.get_by_text("Files that differ").click()
    expect(view.get_by_text("training.ipynb was changed")).to_be_visible()
    assert page.evaluate("window.ran") is None

    for theme in THEMES:
        use_theme(page, theme)
        assert violations(page, f"#element-compare-{first}-{second}") == []

    # what is narrow, or enlarged to twice its size, is read without scrolling sideways
    content = view.locator(".jp-ElementCompare")
    for width in ("240px", "640px"):
        content.evaluate("(each, width) => { each.style.width = width; }", width)
        assert content.evaluate("each => each.scrollWidth - each.clientWidth") <= 0, width

    with page.expect_response(
        lambda answer: "/api/workspaces" in answer.url and answer.request.method == "PUT"
    ):
        page.get_by_role("tab", name="Two runs of training").click()
    page.reload()
    seen()
    view.get_by_role("button", name="training").first.click()
    expect(page.locator(f"#element-run-{first}")).to_be_visible()


def test_a_run_is_compared_from_its_view_also_while_it_goes_on(
    lab_with_platform: Lab, open_run: OpenRun, tmp_path: Path
):
    lab = lab_with_platform
    gate = tmp_path / "go"
    waits = f"print('waits', flush=True)\n{waits_for(gate)}"
    cells = [code("print('begun')", id="a"), code(waits, id="b")]
    gate.touch()
    good = start(lab, "live.ipynb", *cells)
    assert finish(lab, good)["state"] == "succeeded"
    bad = start(lab, "live.ipynb", code("1 / 0", id="a"))
    assert finish(lab, bad)["state"] == "failed"
    gate.unlink()
    running = start(lab, "live.ipynb", *cells)
    page = open_run(lab, running)
    expect(page.get_by_role("group", name="Cell 2", exact=True)).to_have_attribute(
        "data-state", "running"
    )

    page.get_by_text("Compare with…").click()
    others = page.get_by_label("Compare with")
    expect(others.get_by_role("option")).to_have_text(
        [re.compile("Succeeded"), re.compile("Failed")]
    )
    page.get_by_role("button", name="Compare", exact=True).click()

    view = page.locator(f"#element-compare-{good}-{running}")
    state = row(page, "Runs", "State")
    expect(state).to_contain_text("Running")
    expect(view.get_by_text("as they are now")).to_be_visible()
    # what has been printed is there, though the notebook is not saved in the middle of a cell
    told = cell(page, "Cell 2")
    expect(told.get_by_role("group", name="Outputs of B")).to_contain_text("waits")
    gate.touch()
    expect(state).to_contain_text("the same")
    expect(view.get_by_text("2 cells are the same")).to_be_visible()
    expect(view.get_by_text("as they are now")).to_have_count(0)


def test_a_run_that_is_not_there_cannot_be_compared(lab_with_platform: Lab, open_run: OpenRun):
    missing = "r-00000000000000000000000000"
    page = open_run(lab_with_platform, missing, beside=missing)

    view = page.locator(f"#element-compare-{missing}-{missing}")
    expect(view.get_by_role("alert")).to_contain_text("There is no such run")
    view.get_by_role("button", name="Show all runs").click()
    expect(page.get_by_role("tab", name="Jobs")).to_be_visible()
