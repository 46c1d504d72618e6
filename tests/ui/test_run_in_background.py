"""What a person sees in JupyterLab: the button, the menus, and what they say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from element_jupyter.adapters import postgres
from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.platform.data import Data
from tests.platform_fixture import wait_until
from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.complaints import hear
from tests.ui.conftest import choose_from_palette
from tests.ui.runs import finish, rest, start

pytestmark = pytest.mark.browser

OUTAGE = (
    "daily.ipynb was not started: The Element platform is not running. Start it with `element up`."
)

NOTHING_IS_AWAITED = "!Object.keys(localStorage).some(key => key.startsWith('element:watched-run'))"

OpenNotebook = Callable[[Lab], Page]


@pytest.fixture
def page(lab: Lab, open_notebook: OpenNotebook) -> Page:
    return open_notebook(lab)


def notice(page: Page) -> str:
    """The text of the one notice that is on the screen."""
    toast = page.get_by_role("alert")
    expect(toast).to_have_count(1)
    return re.sub(r"\s+", " ", toast.inner_text()).strip()


def test_the_button_of_the_notebook_says_that_the_platform_is_not_running(page: Page):
    button = page.get_by_role("button", name="Run this notebook in the background now")

    button.click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()
    assert notice(page) == OUTAGE


def test_unsaved_changes_are_saved_before_the_notebook_is_sent(page: Page, lab: Lab):
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.type("  # changed\n")

    page.get_by_role("button", name="Run this notebook in the background now").click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()
    assert "# changed" in (lab.root / "daily.ipynb").read_text()


def test_the_command_palette_knows_it(page: Page):
    choose_from_palette(page, "Run in Background Now")

    expect(page.get_by_text(OUTAGE)).to_be_visible()


def test_the_file_browser_offers_it_for_notebooks_only(page: Page):
    files = page.get_by_role("region", name="File Browser Section")
    entry = page.get_by_role("menuitem", name="Run in Background Now")

    files.get_by_text("notes.txt").click(button="right")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_visible()
    expect(entry).to_have_count(0)
    page.keyboard.press("Escape")

    files.get_by_text("daily.ipynb").click(button="right")
    entry.click()

    expect(page.get_by_text(OUTAGE)).to_be_visible()


def test_the_notebook_that_was_right_clicked_runs_though_another_is_selected_meanwhile(
    lab: Lab, browser: Browser
):
    nbformat.write(nbformat.v4.new_notebook(), lab.root / "other.ipynb")
    listings: list[Route] = []

    def hold_the_third(route: Route) -> None:
        """Hold the listing back after which the file browser selects what was opened."""
        if urlsplit(route.request.url).path.endswith("/contents"):
            listings.append(route)
            if len(listings) == 3:
                return
        route.continue_()

    with browser.new_context(viewport={"width": 1280, "height": 800}) as window:
        page = window.new_page()
        page.route("**/api/contents**", hold_the_third)
        page.goto(f"{lab.url}lab/workspaces/a-test/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}")
        expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
        selected = page.locator(".jp-DirListing-item.jp-mod-selected")
        files = page.get_by_role("region", name="File Browser Section")

        files.get_by_text("other.ipynb").click(button="right")
        expect(selected).to_contain_text("other.ipynb")
        listings[2].continue_()
        expect(selected).to_contain_text("daily.ipynb")
        page.get_by_role("menuitem", name="Run in Background Now").click()

        expect(page.get_by_text(OUTAGE.replace("daily", "other"))).to_be_visible()


def test_a_notebook_runs_to_its_end_in_the_background(
    lab_with_platform: Lab, open_notebook: OpenNotebook
):
    page = open_notebook(lab_with_platform)

    page.get_by_role("button", name="Run this notebook in the background now").click()

    sent = page.get_by_text("Running daily.ipynb in the background.")
    expect(sent).to_be_visible()
    expect(page.get_by_text("daily.ipynb has run.")).to_be_visible()
    page.get_by_role("button", name="See run").first.click()
    expect(page.locator("[id^=element-run-r-]")).to_be_visible()


def test_a_notebook_that_fails_is_told_with_its_error(
    lab_with_platform: Lab, open_notebook: OpenNotebook
):
    failing = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(failing, lab_with_platform.root / "failing.ipynb")
    page = open_notebook(lab_with_platform)
    files = page.get_by_role("region", name="File Browser Section")

    files.get_by_text("failing.ipynb").click(button="right")
    page.get_by_role("menuitem", name="Run in Background Now").click()

    toast = page.get_by_role("alert").filter(has_text="failing.ipynb failed")
    expect(toast).to_contain_text("ZeroDivisionError")


def waiting_for(gate: Path) -> str:
    """The source of a cell that waits until a file is there, then fails."""
    return (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"
        "raise LookupError('the gate was opened')"
    )


def test_the_end_of_a_run_is_told_once_after_the_page_was_loaded_anew(
    lab_with_platform: Lab, open_notebook: OpenNotebook, tmp_path: Path
):
    gate = tmp_path / "go"
    slow = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(waiting_for(gate))])
    nbformat.write(slow, lab_with_platform.root / "slow.ipynb")
    page = open_notebook(lab_with_platform)
    page.get_by_role("region", name="File Browser Section").get_by_text("slow.ipynb").click(
        button="right"
    )
    page.get_by_role("menuitem", name="Run in Background Now").click()
    expect(page.get_by_text("Running slow.ipynb in the background.")).to_be_visible()

    page.reload()
    expect(page.get_by_role("tab", name="daily.ipynb")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("tab", name="daily.ipynb")).to_be_visible()
    gate.touch()

    told = "slow.ipynb failed."
    wait_until(lambda: page.get_by_text(told).count() + other.get_by_text(told).count(), 60)
    teller, silent = (page, other) if page.get_by_text(told).count() else (other, page)
    toast = teller.get_by_role("alert").filter(has_text=told)
    expect(toast).to_contain_text("LookupError: the gate was opened")
    toast.get_by_role("button", name="See run").click()
    expect(teller.locator("[id^=element-run-r-]")).to_be_visible()
    expect(silent.get_by_text(told)).to_have_count(0)


def test_what_runs_is_in_the_resources_and_stopped_there(
    lab_with_platform: Lab, open_notebook: OpenNotebook, tmp_path: Path
):
    cell = nbformat.v4.new_code_cell(waiting_for(tmp_path / "never"))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), lab_with_platform.root / "long.ipynb")
    page = open_notebook(lab_with_platform)
    page.get_by_role("region", name="File Browser Section").get_by_text("long.ipynb").click(
        button="right"
    )
    page.get_by_role("menuitem", name="Run in Background Now").click()

    page.get_by_role("tab", name="Resources").click()
    run = (
        page.get_by_role("region", name="Resources").get_by_role("listitem").filter(has_text="long")
    )
    expect(run).to_contain_text("Running 0/1")
    run.get_by_role("button", name="Stop").click()

    expect(run).to_have_count(0)
    expect(page.get_by_text("long.ipynb was stopped.")).to_be_visible()


@pytest.fixture
def failures_only(lab_with_platform: Lab) -> Iterator[None]:
    """The person's settings say to tell of failures only."""
    with httpx.Client(
        headers={"Authorization": f"token {JUPYTER_TOKEN}"}, trust_env=False
    ) as client:
        url = f"{lab_with_platform.url}lab/api/settings/@element/labextension:jobs"
        for raw in ('{"notifyOnFinish": "failures"}', "{}"):
            client.put(url, json={"raw": raw}).raise_for_status()
            if raw != "{}":
                yield


def test_who_wants_to_hear_of_failures_only_is_told_of_nothing_else(
    lab_with_platform: Lab, failures_only: None, open_notebook: OpenNotebook
):
    failing = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(failing, lab_with_platform.root / "bad.ipynb")
    page = open_notebook(lab_with_platform)

    page.get_by_role("button", name="Run this notebook in the background now").click()
    expect(page.get_by_text("Running daily.ipynb in the background.")).to_be_visible()
    page.wait_for_function(NOTHING_IS_AWAITED, timeout=120_000)
    files = page.get_by_role("region", name="File Browser Section")
    files.get_by_text("bad.ipynb").click(button="right")
    page.get_by_role("menuitem", name="Run in Background Now").click()

    expect(page.get_by_text("bad.ipynb failed.")).to_be_visible()
    expect(page.get_by_text("daily.ipynb has run.")).to_have_count(0)


HURRY = """(() => {
    const wait = window.setTimeout;
    window.setTimeout = (what, ms, ...given) =>
        wait(what, ms > 40_000 && ms <= 60_000 ? 300 : ms, ...given);
})()"""
"""A minute is over at once; nothing else is faster."""

HIDE = """hidden => {
    const value = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'visibilityState', { configurable: true, value });
    document.dispatchEvent(new Event('visibilitychange'));
}"""
"""A browser without a screen hides no window."""


@pytest.fixture
def hurried(browser: Browser) -> Iterator[BrowserContext]:
    """A window in which minutes are short."""
    window = browser.new_context(locale="en-US")
    window.add_init_script(HURRY)
    yield window
    window.close()


def opened(lab: Lab, window: BrowserContext, complaints: list[str]) -> tuple[Page, list[str]]:
    """The launcher, and the addresses of what is asked for news."""
    page = window.new_page()
    hear(page, complaints)
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/api/v1/news" in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.goto(f"{lab.url}lab/workspaces/news?reset&token={JUPYTER_TOKEN}")
    expect(page.get_by_role("tab", name="Launcher")).to_be_visible()
    page.wait_for_function("Object.keys(localStorage).some(key => key.startsWith('element:news'))")
    return page, asked


def test_the_end_of_what_another_program_started_is_told_and_none_while_hidden_is_missed(
    lab_with_platform: Lab, hurried: BrowserContext
):
    complaints: list[str] = []
    page, asked = opened(lab_with_platform, hurried, complaints)
    other, _ = opened(lab_with_platform, hurried, complaints)

    first = start(lab_with_platform, "elsewhere.ipynb", "1 / 0")
    assert finish(lab_with_platform, first)["state"] == "failed"

    told = "elsewhere failed."
    wait_until(lambda: page.get_by_text(told).count() + other.get_by_text(told).count(), 60)
    teller = page if page.get_by_text(told).count() else other
    toast = teller.get_by_role("alert").filter(has_text=told)
    expect(toast).to_contain_text("ZeroDivisionError: division by zero")
    assert page.get_by_text(told).count() + other.get_by_text(told).count() == 1
    other.close()

    page.evaluate(HIDE, True)
    page.wait_for_timeout(1_000)  # what was under way
    before = len(asked)
    for number in range(5):
        run = start(lab_with_platform, f"unseen-{number}.ipynb", "1 / 0")
        finish(lab_with_platform, run)
    page.wait_for_timeout(1_000)
    assert len(asked) == before

    page.evaluate(HIDE, False)

    expect(page.get_by_text("unseen-4 failed.")).to_be_visible()
    expect(page.get_by_text("2 more runs of yours have ended.")).to_be_visible()
    expect(page.get_by_text("unseen-1 failed.")).to_have_count(0)
    page.get_by_role("button", name="See runs").click()
    expect(page.get_by_role("row").filter(has_text="unseen-0")).to_be_visible()
    assert complaints == []


SIZES = """
default: half
sizes:
  - {name: half, title: Half, description: Half a core., cpu: 0.5, memory_bytes: 1 GiB}
  - {name: tiny, title: Tiny, description: Next to nothing., cpu: 0.1, memory_bytes: 1 GiB}
"""


def test_that_little_is_left_and_that_a_run_will_have_to_wait_is_said_before_it_is_started(
    lab_with_platform: Lab, open_notebook: OpenNotebook, tmp_path: Path
):
    lab, gate = lab_with_platform, tmp_path / "go"
    quotas, sizes = lab.data / "quotas.yaml", lab.data / "sizes.yaml"
    quotas.write_text("quotas: [{who: everyone, at_once: {cpu: 0.6}}]\n")
    sizes.write_text(SIZES)
    try:
        holder = start(lab, "holder.ipynb", waiting_for(gate))
        wait_until(lambda: rest(lab, "GET", f"/runs/{holder}")["state"] == "running", 120)
        page = open_notebook(lab)
        page.get_by_role("button", name="Run this notebook at set times").click()
        dialog = page.get_by_role("dialog")
        before = dialog.get_by_role("region", name="Before it runs")
        waits = before.get_by_role("listitem").filter(has_text="It will wait:")
        expect(waits).to_contain_text("Warning")
        dialog.get_by_text("More options").click()

        dialog.get_by_label("Size").select_option("tiny")

        expect(waits).to_have_count(0)
        little = before.get_by_role("listitem").filter(has_text="0.5 of 0.6")
        expect(little).to_contain_text("Warning")
        dialog.get_by_label("Size").select_option("half")
        expect(waits).to_be_visible()
        dialog.get_by_role("radio", name="On a schedule").check()
        expect(waits).to_have_count(0)
        dialog.get_by_role("radio", name="Now", exact=True).check()
        dialog.get_by_role("button", name="Run", exact=True).click()  # a warning does not keep it

        expect(page.get_by_text("Running daily.ipynb in the background.")).to_be_visible()
        (waiting,) = rest(lab, "GET", "/runs?state=queued")["items"]
        assert waiting["notebook"] == "daily.ipynb"
    finally:
        gate.touch()
        quotas.unlink()
        sizes.unlink()
    assert finish(lab, waiting["run_id"])["state"] == "succeeded"


def tell(lab: Lab, sentence: str) -> None:
    """Tell this person something, as the control plane does of an idle server."""
    data = Data(lab.data)
    name = postgres.OWN_DATABASES[0]
    server = postgres.EmbeddedPostgres(data.postgres, lab.data / "no.log")
    url = server.url(name, "psycopg", data.secret(f"postgres-{name}"))
    now = datetime.now(UTC)
    person = rest(lab, "GET", "/me")["name"]
    told = Told(
        id=notice_id(person, NoticeKind.IDLE, sentence),
        person=person,
        kind=NoticeKind.IDLE,
        about=sentence,
        sentence=sentence,
        at=now,
        deadline=now + timedelta(minutes=10),
        keep_seconds=3600,
    )

    async def write() -> None:
        engine = connect(url)
        assert await SqlNotices(engine).tell(told)
        await engine.dispose()

    with ThreadPoolExecutor() as beside:  # this thread has Playwright's loop
        beside.submit(asyncio.run, write()).result()


def test_a_notice_of_the_platform_is_told_and_what_it_is_about_is_kept(
    lab_with_platform: Lab, hurried: BrowserContext
):
    complaints: list[str] = []
    page, _ = opened(lab_with_platform, hurried, complaints)

    tell(lab_with_platform, "Your server <b>idles</b>.")

    notice = page.get_by_role("alert").filter(has_text="Your server <b>idles</b>.")
    keep = notice.get_by_role("button", name="Keep for 1 h")
    expect(keep).to_be_visible()
    assert rest(lab_with_platform, "GET", "/notices")["items"] != []
    keep.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Kept until ")).to_be_visible()
    expect(notice).to_have_count(0)
    assert rest(lab_with_platform, "GET", "/notices")["items"] == []
    assert complaints == []
