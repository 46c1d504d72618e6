"""What a person sees who schedules a notebook, in a real browser against the real platform."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import nbformat
import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.complaints import hear
from tests.ui.conftest import choose_from_palette
from tests.ui.markup import MARKUP

pytestmark = pytest.mark.browser

PARAMETERS = """\
days: int = 7  # how far back
rate = 0.5
dry = False
label = "a"
since = "2026-10-31"
tags = ["x"]
limits = {"a": 1}
nothing = None
untouched = "as it is"
"""

CHECKS = """\
assert (days, rate, dry, label, since) == (8, 0.25, True, "two words", "2026-11-01")
assert (tags, limits, nothing, untouched) == ([1, "two"], {"a": {"b": None}}, "x", "as it is")
"""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """One window for all, so that JupyterLab is fetched once."""
    window = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", timezone_id="Europe/Zurich"
    )
    yield window
    window.close()


@pytest.fixture
def opened(window: BrowserContext) -> Iterator[Open]:
    """Write a notebook and open it; nothing may have gone wrong in it."""
    complaints: list[str] = []
    with contextlib.ExitStack() as pages:

        def opened(
            lab: Lab,
            name: str,
            *cells: str,
            parameters: str | None = None,
            counts: Sequence[int] | None = None,
        ) -> Page:
            notebook = nbformat.v4.new_notebook(
                cells=[
                    nbformat.v4.new_code_cell(cell, execution_count=count or None)
                    for cell, count in zip(cells, counts or [0] * len(cells), strict=True)
                ],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            )
            if parameters is not None:
                cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
                notebook.cells.insert(0, cell)
            nbformat.write(notebook, lab.root / name)
            page = window.new_page()
            pages.callback(page.close)
            hear(page, complaints)
            page.goto(f"{lab.url}lab/workspaces/s/tree/{quote(name)}?reset&token={JUPYTER_TOKEN}")
            expect(page.get_by_role("tab", name=name.rpartition("/")[2])).to_be_visible()
            expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
            return page

        yield opened
    assert complaints == []


def asked(lab: Lab, path: str) -> Any:
    """What the REST interface answers to this person."""
    answer = httpx.get(
        f"{lab.url}element/api/v1{path}",
        headers={"Authorization": f"token {JUPYTER_TOKEN}"},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def job_of(lab: Lab, name: str) -> Mapping[str, Any]:
    """The job of that name, as it is stored; the person has one team."""
    (found,) = (
        entry["stored"]
        for entry in asked(lab, "/jobs")["items"]
        if entry["stored"]["job"]["name"] == name
    )
    return found


def open_dialog(page: Page) -> Locator:
    page.get_by_role("button", name="Run this notebook at set times").click()
    return filled_in(page)


def filled_in(page: Page) -> Locator:
    """The dialog, once it knows the notebook."""
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("group", name="When")).to_be_visible()
    expect(dialog.get_by_text("Reading the notebook…")).to_have_count(0)
    return dialog


def test_enter_runs_it_now_with_what_was_typed_and_remembers_that(
    lab_with_platform: Lab, opened: Open
):
    lab = lab_with_platform
    page = opened(lab, "report.ipynb", CHECKS, parameters=PARAMETERS)
    dialog = open_dialog(page)
    expect(dialog.get_by_role("radio", name="Now")).to_be_focused()

    dialog.get_by_label("days").fill("8")
    dialog.get_by_label("rate").fill("0.25")
    dialog.get_by_role("switch", name="dry").check()
    dialog.get_by_label("label").fill("two words")
    dialog.get_by_label("since").fill("2026-11-01")
    dialog.get_by_label("tags").fill('[1, "two"]')
    dialog.get_by_label("limits").fill('{"a": {"b": null}}')
    dialog.get_by_label("nothing").fill("x")
    dialog.get_by_label("nothing").press("Enter")

    expect(dialog).to_have_count(0)
    toast = page.get_by_role("alert").filter(has_text="Running report.ipynb in the background.")
    toast.get_by_role("button", name="See run").click()
    expect(page.locator(".lm-TabBar-tab[data-id^='element-run-']")).to_be_visible()
    run = ended(lab, "report.ipynb")
    assert run["state"] == "succeeded", run["reason"]
    assert run["trigger"] == "manual"
    assert run["parameters"] == {
        "days": 8,
        "rate": 0.25,
        "dry": True,
        "label": "two words",
        "since": "2026-11-01",
        "tags": [1, "two"],
        "limits": {"a": {"b": None}},
        "nothing": "x",
    }

    page.get_by_role("tab", name="report.ipynb").first.click()
    dialog = open_dialog(page)
    days = dialog.get_by_label("days")
    expect(days).to_have_value("8")
    expect(dialog.get_by_label("limits")).to_have_value('{"a":{"b":null}}')
    dialog.get_by_title("Use what the notebook has for days").click()
    expect(days).to_have_value("7")
    expect(days).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def ended(lab: Lab, notebook: str) -> Mapping[str, Any]:
    """The one run of a notebook, once it has ended."""
    deadline = time.monotonic() + 120
    while True:
        (run,) = (run for run in asked(lab, "/runs")["items"] if run["notebook"] == notebook)
        if run["state"] in {"succeeded", "failed", "stopped", "lost"}:
            return run
        assert time.monotonic() < deadline, run
        time.sleep(0.2)


def test_a_daily_schedule_becomes_a_job_and_is_replaced_and_edited(
    lab_with_platform: Lab, opened: Open
):
    lab = lab_with_platform
    page = opened(lab, "Sales (v2).ipynb", "1", parameters="days = 7\n")

    dialog = open_dialog(page)
    dialog.get_by_role("radio", name="On a schedule").check()
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("sales-v2")
    expect(dialog.get_by_label("Time zone")).to_have_value("Europe/Zurich")
    dialog.get_by_label("Repeat").select_option("Every day")
    dialog.get_by_label("Time", exact=True).fill("07:30")
    expect(dialog.get_by_role("status")).to_contain_text("Every day at 07:30 Europe/Zurich")
    expect(dialog.get_by_role("list", name="Next times").get_by_role("listitem")).to_have_count(4)
    dialog.get_by_role("button", name="Schedule").click()

    expect(dialog).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text="Scheduled sales-v2: next")).to_contain_text(
        "07:30"
    )
    stored = job_of(lab, "sales-v2")
    assert stored["version"] == 1
    assert stored["job"]["schedule"] == {
        "kind": "cron",
        "expression": "30 7 * * *",
        "timezone": "Europe/Zurich",
        "start": None,
        "end": None,
    }

    # the same name again
    dialog = open_dialog(page)
    dialog.get_by_role("radio", name="On a schedule").check()
    dialog.get_by_label("Repeat").select_option("Every week")
    dialog.get_by_role("checkbox", name="Wed").check()
    dialog.get_by_label("days").fill("8")
    dialog.get_by_role("button", name="Schedule").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is a job sales-v2 already.")
    changes = dialog.get_by_label("Changes", exact=True)
    expect(changes.get_by_role("term")).to_have_text(["parameters.days", "schedule.expression"])
    expect(changes.get_by_role("deletion").filter(has_text="30 7 * * *")).to_be_visible()
    expect(changes.get_by_role("insertion").filter(has_text="0 6 * * 1,3")).to_be_visible()
    dialog.get_by_role("button", name="Replace").click()
    toast = page.get_by_role("alert").filter(has_text=re.compile("Scheduled sales-v2: next.*06:00"))
    toast.get_by_role("button", name="See schedules").click()
    expect(dialog).to_have_count(0)
    stored = job_of(lab, "sales-v2")
    assert stored["version"] == 2
    assert stored["job"]["tasks"][0]["parameters"] == {"days": 8}

    # what it is now, to edit
    kept = stored["job"]["snapshot_id"]
    dialog = edit(page, "sales-v2")
    expect(dialog.get_by_label("Repeat")).to_have_value("weekly")
    expect(dialog.get_by_role("checkbox", name="Wed")).to_be_checked()
    expect(dialog.get_by_label("days")).to_have_value("8")
    dialog.get_by_role("checkbox", name="Wed").uncheck()
    dialog.get_by_label("days").fill("10")
    dialog.get_by_text("More options").click()
    dialog.get_by_label("Tries after a failure").fill("2")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    stored = job_of(lab, "sales-v2")
    assert stored["job"]["schedule"]["expression"] == "0 6 * * 1"
    assert stored["job"]["snapshot_id"] == kept
    (task,) = stored["job"]["tasks"]
    assert (task["parameters"], task["retries"]) == ({"days": 10}, 2)

    # with the notebook as it is now
    page.get_by_role("tab", name="Sales (v2).ipynb").click()
    page.locator(".jp-Notebook .cm-content").last.click()
    page.keyboard.type("  # changed\n")
    dialog = edit(page, "sales-v2")
    dialog.get_by_role("checkbox", name="Update the job to what Sales (v2).ipynb is now").check()
    expect(dialog.get_by_text("Saves and copies the notebook as it is now.")).to_be_visible()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    stored = job_of(lab, "sales-v2")
    assert stored["version"] == 4
    assert stored["job"]["snapshot_id"] != kept
    assert "# changed" in (lab.root / "Sales (v2).ipynb").read_text()


def test_once_and_when_another_job_has_succeeded_are_chosen_by_click(
    lab_with_platform: Lab, opened: Open
):
    lab = lab_with_platform
    page = opened(lab, "yearly.ipynb", "1")
    at = f"{time.gmtime().tm_year + 1}-07-01T09:30"

    dialog = open_dialog(page)
    dialog.get_by_role("radio", name="Once").check()
    dialog.get_by_label("Date and time").fill(at)
    expect(dialog.get_by_label("Time zone")).to_have_value("Europe/Zurich")
    times = dialog.get_by_role("list", name="Next times").get_by_role("listitem")
    expect(times).to_have_count(1)
    expect(times).to_contain_text("09:30")
    dialog.get_by_role("button", name="Schedule").click()
    toast = page.get_by_role("alert").filter(has_text="Scheduled yearly: next")
    expect(toast).to_contain_text("09:30")
    expect(dialog).to_have_count(0)

    dialog = open_dialog(page)
    dialog.get_by_role("radio", name="When other jobs have succeeded").check()
    team = job_of(lab, "yearly")["job"]["team"]
    dialog.get_by_label("Job to wait for").fill(f"{team}/yearly")
    expect(dialog.get_by_role("status")).to_contain_text(f"{team}/yearly")
    dialog.get_by_label("Name", exact=True).fill("after-yearly")
    dialog.get_by_role("button", name="Schedule").click()
    page.get_by_role("alert").filter(has_text="after-yearly").get_by_role(
        "button", name="See schedules"
    ).click()

    jobs = lab.data / "jobs" / team
    once = yaml.safe_load((jobs / "yearly" / "job.yaml").read_text())["schedule"]
    assert (once["kind"], str(once["at"])[:16].replace(" ", "T")) == ("once", f"{at[:11]}07:30")
    after = yaml.safe_load((jobs / "after-yearly" / "job.yaml").read_text())["schedule"]
    assert after == {"kind": "asset", "jobs": [f"{team}/yearly"]}
    row = page.get_by_role("row").filter
    listed = row(has=page.locator("[title='Show the runs of " + f"{team}/yearly']"))
    expect(listed).to_contain_text("Once, ")
    expect(listed.get_by_role("time")).to_have_attribute("datetime", re.compile(r"-07-01T07:30"))
    waiting = row(has=page.locator("[title='Show the runs of " + f"{team}/after-yearly']"))
    expect(waiting).to_contain_text(f"{team}/yearly")


def edit(page: Page, job: str) -> Locator:
    """Open the dialog for a job, from the list of them."""
    page.get_by_role("tab", name="Jobs", exact=True).click()
    row = page.get_by_role("row").filter(has_text=job)
    row.get_by_role("button", name=re.compile("^Edit")).click()
    return filled_in(page)


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    lab_with_platform: Lab, opened: Open
):
    lab = lab_with_platform
    page = opened(lab, "wrong.ipynb", "1", parameters="days = 7\ntags = []\n")
    dialog = open_dialog(page)
    dialog.get_by_label("tags").fill("[1,")
    dialog.get_by_label("days").fill("12")
    dialog.get_by_role("radio", name="On a schedule").check()
    dialog.get_by_label("Repeat").select_option("Custom (cron)")
    cron = dialog.get_by_label("Cron expression")
    expect(cron).to_have_value("0 6 * * 1-5")

    cron.fill("0 25 * * *")
    expect(cron).to_have_attribute("aria-invalid", "true")
    expect(cron).to_have_accessible_description(re.compile("25"))
    cron.press("Enter")
    expect(cron).to_be_focused()

    # the turns of the clock are marked
    cron.fill("30 2 * 3,10 L7")
    expect(dialog.get_by_role("status")).to_contain_text("The clock skips this time")
    expect(dialog.get_by_role("status")).to_contain_text("The clock shows this time twice")

    cron.fill("0 5 * * *")
    expect(dialog.get_by_role("status")).to_contain_text("Every day at 05:00")
    cron.press("Enter")
    tags = dialog.get_by_label("tags")
    expect(tags).to_be_focused()
    expect(tags).to_have_accessible_description(re.compile("Give a list as JSON"))
    expect(tags).to_have_value("[1,")
    expect(dialog.get_by_label("days")).to_have_value("12")

    # turning to another kind and back, nothing is lost either
    dialog.get_by_role("radio", name="Now").check()
    dialog.get_by_role("radio", name="On a schedule").check()
    expect(cron).to_have_value("0 5 * * *")

    # what only the server knows
    tags.fill("[1]")
    dialog.get_by_role("radio", name="When other jobs have succeeded").check()
    dialog.get_by_label("Job to wait for").fill("nobody/nothing")
    dialog.get_by_role("button", name="Schedule").click()
    other = dialog.get_by_label("Job to wait for")
    expect(other).to_be_focused()
    expect(other).to_have_accessible_description(re.compile("nobody"))
    expect(tags).to_have_value("[1]")
    assert all(entry["stored"]["job"]["name"] != "wrong" for entry in asked(lab, "/jobs")["items"])


def test_while_the_platform_is_away_the_dialog_stays_and_says_how_to_start_it(
    lab: Lab, opened: Open
):
    page = opened(lab, "away.ipynb", "1", parameters="days = 7\n")
    page.locator(".jp-Notebook .cm-content").last.click()
    page.keyboard.type("  # changed\n")
    dialog = open_dialog(page)
    expect(dialog.get_by_text("Saves and copies the notebook as it is now.")).to_be_visible()
    dialog.get_by_label("days").fill("5")

    dialog.get_by_role("button", name="Run", exact=True).click()

    alert = dialog.get_by_role("alert")
    expect(alert).to_contain_text("The Element platform is not running.")
    expect(alert).to_contain_text("element up")
    expect(dialog.get_by_label("days")).to_have_value("5")
    assert "# changed" in (lab.root / "away.ipynb").read_text()
    dialog.get_by_role("button", name="Try again").click()
    expect(alert).to_contain_text("element up")
    dialog.get_by_role("radio", name="On a schedule").check()
    expect(dialog.get_by_role("status")).to_contain_text("The Element platform is not running.")
    dialog.get_by_role("radio", name="Now").check()
    dialog.get_by_role("button", name="Cancel").click()

    # JupyterLab has a question of its own, and cannot ask it behind this dialog
    file = lab.root / "away.ipynb"
    file.write_text(file.read_text().replace("# changed", "# by another hand"))
    os.utime(file, (time.time() + 60, time.time() + 60))
    page.locator(".jp-Notebook .cm-content").last.click()
    page.keyboard.type("  # once more\n")
    dialog = open_dialog(page)
    dialog.get_by_label("days").fill("6")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("JupyterLab asks something")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Overwrite").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(open_dialog(page).get_by_label("days")).to_have_value("6")


def test_what_stands_in_the_way_is_said_before_it_is_sent(lab: Lab, opened: Open):
    project = lab.root / "torn"
    project.mkdir()
    (project / "requirements.txt").write_text("chairs ==\n")
    page = opened(lab, "torn/torn.ipynb", "1", "2", counts=(2, 1))
    dialog = open_dialog(page)
    before = dialog.get_by_role("region", name="Before it runs")
    run = dialog.get_by_role("button", name="Run", exact=True)

    warning = before.get_by_role("listitem").filter(has_text="Warning")
    expect(warning).to_contain_text("Cells were run in another order than they stand in")
    error = before.get_by_role("listitem").filter(has_text="Error")
    expect(error).to_contain_text("requirements.txt")
    expect(run).to_have_attribute("aria-disabled", "true")
    expect(run).to_have_accessible_description("The environment cannot be built.")
    page.keyboard.press("Enter")
    expect(before).to_be_focused()
    expect(before.get_by_role("alert")).to_contain_text("The environment cannot be built.")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    # repaired, only the warning is left, and going on accepts it
    (project / "requirements.txt").unlink()
    dialog = open_dialog(page)
    expect(dialog.get_by_text("going on accepts it")).to_be_visible()
    expect(run).to_have_attribute("aria-disabled", "false")


def test_everybody_can_use_it_in_every_theme_and_in_a_narrow_window(lab: Lab, opened: Open):
    page = opened(lab, "axe.ipynb", "1", parameters=PARAMETERS)

    for theme in THEMES:
        use_theme(page, theme)
        dialog = open_dialog(page)
        dialog.get_by_label("days").fill("x")
        dialog.get_by_text("More options").click()
        assert violations(page, ".jp-ElementSchedule") == []
        dialog.get_by_role("radio", name="On a schedule").check()
        dialog.get_by_label("Repeat").select_option("Every week")
        expect(dialog.get_by_role("status")).to_contain_text("not running")
        assert violations(page, ".jp-ElementSchedule") == []
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)

    dialog = open_dialog(page)
    dialog.get_by_role("radio", name="On a schedule").check()
    page.set_viewport_size({"width": 240, "height": 600})
    content = dialog.locator(".jp-Dialog-body")
    assert content.evaluate("body => body.scrollWidth <= body.clientWidth")
    assert content.evaluate("body => body.getBoundingClientRect().right <= innerWidth")
    expect(dialog.get_by_role("button", name="Schedule")).to_be_in_viewport()


def test_it_opens_from_the_menus_needs_no_mouse_and_gives_the_focus_back(lab: Lab, opened: Open):
    page = opened(lab, "keys.ipynb", "1", parameters="days = 7\n")
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.press("Escape")

    choose_from_palette(page, "Schedule Notebook…")
    dialog = filled_in(page)
    expect(dialog.get_by_role("radio", name="Now")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("radio", name="On a schedule")).to_be_checked()
    page.keyboard.press("Tab")
    expect(dialog.get_by_label("Repeat")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    expect(dialog.get_by_label("days")).to_be_focused()
    page.keyboard.type("3")
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Reset")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("days")).to_have_value("7")
    expect(dialog.get_by_label("days")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('.jp-NotebookPanel') !== null")

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Schedule Notebook…").click()
    dialog = filled_in(page)
    expect(dialog).to_contain_text("Schedule keys.ipynb")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)

    files = page.get_by_role("region", name="File Browser Section")
    files.get_by_text("daily.ipynb").click(button="right")
    page.get_by_role("menuitem", name="Schedule Notebook…").click()
    expect(filled_in(page)).to_contain_text("Schedule daily.ipynb")


def test_markup_in_names_and_values_is_shown_and_never_run(lab_with_platform: Lab, opened: Open):
    values = [f"p{number} = {text!r}  # {text}" for number, text in enumerate(MARKUP)]
    values += [f"c{number} = str({text!r})  # {text}" for number, text in enumerate(MARKUP)]
    name = "<img src=x onerror=window.ran=1>.ipynb"
    page = opened(lab_with_platform, name, "1", parameters="\n".join(values))

    dialog = open_dialog(page)
    expect(dialog).to_contain_text(f"Schedule {name}")
    for number, text in enumerate(MARKUP):
        expect(dialog.get_by_label(f"p{number}", exact=True)).to_have_value(text)
        dialog.get_by_label(f"c{number}", exact=True).fill(text)
    assert dialog.locator("img, a, iframe, script, style, svg").count() == 0
    dialog.get_by_role("radio", name="On a schedule").check()
    dialog.get_by_label("Name", exact=True).fill("<img src=x onerror=window.ran=1>")
    dialog.get_by_label("Time zone").fill("<img src=x onerror=window.ran=1>")
    dialog.get_by_role("button", name="Schedule").click()
    expect(dialog.get_by_label("Time zone")).to_be_focused()
    dialog.get_by_role("radio", name="Now").check()
    dialog.get_by_role("button", name="Run", exact=True).click()

    expect(dialog).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text="onerror")).to_be_visible()
    assert page.evaluate("window.ran") is None
