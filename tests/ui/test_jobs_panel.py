"""What a person sees of runs and schedules, against a real platform."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.conftest import running_jupyterlab, running_platform

pytestmark = pytest.mark.browser

OpenNotebook = Callable[[Lab], Page]

MARKUP = '<img src=x onerror="window.pwned = 1">'


class Platform:
    """The platform as a program sees it, through JupyterLab's server."""

    def __init__(self, lab: Lab, client: httpx.Client) -> None:
        self._lab = lab
        self._client = client
        self.team: str = self.ask("POST", "/notebooks/inspect", path="daily.ipynb")["team"]

    def ask(self, method: str, path: str, /, **body: Any) -> Any:
        answer = self._client.request(method, path, json=body if method != "GET" else None)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def snapshot(self, name: str, *cells: str) -> tuple[str, str]:
        """Write a notebook, and snapshot it: its id, and the notebook's place in it."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self._lab.root / name)
        taken = self.ask("POST", "/snapshots", path=name)
        return taken["snapshot_id"], taken["notebook"]

    def run(self, name: str, *cells: str) -> str:
        """Start a run of a new notebook; its id."""
        snapshot_id, notebook = self.snapshot(name, *cells)
        run = self.ask("POST", "/runs", snapshot_id=snapshot_id, notebook=notebook)
        return str(run["run_id"])

    def many_stopped(self, count: int, notebook: str) -> None:
        """Leave many runs behind that were stopped before they had begun to do anything."""
        snapshot_id, inside = self.snapshot(notebook, "print(1)")

        def leave(_: int) -> None:
            run = self.ask("POST", "/runs", snapshot_id=snapshot_id, notebook=inside)
            self.ask("POST", f"/runs/{run['run_id']}/stop")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(leave, range(count)))

    def job(self, name: str, *cells: str, **changes: Any) -> None:
        """Save a job of a notebook of these cells."""
        snapshot_id, notebook = self.snapshot(f"{name}.ipynb", *(cells or ("print(1)",)))
        self.ask(
            "PUT",
            f"/jobs/{self.team}/{name}",
            **{
                "team": self.team,
                "name": name,
                "owner": self.team,
                "snapshot_id": snapshot_id,
                "schedule": {"kind": "cron", "expression": "0 6 * * 1-5", "timezone": "UTC"},
                "tasks": [{"notebook": notebook}],
                **changes,
            },
        )

    def version_of(self, name: str) -> int:
        return int(self.ask("GET", f"/jobs/{self.team}/{name}")["version"])

    def is_paused(self, name: str) -> bool:
        return bool(self.ask("GET", f"/jobs/{self.team}/{name}")["job"]["paused"])


@contextlib.contextmanager
def asking(lab: Lab) -> Iterator[Platform]:
    with httpx.Client(
        base_url=f"{lab.url}element/api/v1",
        headers={"Authorization": f"token {JUPYTER_TOKEN}"},
        trust_env=False,
        timeout=60,
    ) as client:
        yield Platform(lab, client)


@pytest.fixture(scope="module")
def platform(lab_with_platform: Lab) -> Iterator[Platform]:
    with asking(lab_with_platform) as platform:
        yield platform


@pytest.fixture
def page(lab_with_platform: Lab, open_notebook: OpenNotebook) -> Page:
    return open_notebook(lab_with_platform)


def open_jobs(page: Page, tab: str = "Runs") -> Locator:
    """Open the panel by the menu, and turn to one of its tabs."""
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Jobs").click()
    panel = page.locator(".jp-ElementJobs")
    panel.get_by_role("tab", name=tab).click()
    return panel


def row(panel: Locator, text: str) -> Locator:
    return panel.get_by_role("row").filter(has_text=text)


def runs_in(panel: Locator) -> set[str]:
    """The ids of the runs that are shown."""
    names = panel.get_by_role("row").locator(".jp-ElementLink").all()
    return {str(name.get_attribute("title")) for name in names}


def state_of(row: Locator) -> Locator:
    return row.get_by_role("cell").first


def test_a_run_shows_by_itself_and_how_it_goes_on(page: Page, platform: Platform):
    panel = open_jobs(page)

    page.get_by_role("tab", name="daily.ipynb").click()
    page.get_by_role("button", name="Run this notebook in the background now").click()
    page.get_by_role("tab", name="Jobs", exact=True).click()

    mine = row(panel, "By hand").filter(has_text="daily").first
    expect(state_of(mine)).to_have_text("Succeeded")
    expect(mine).to_contain_text("daily.ipynb")
    expect(mine.get_by_role("cell").nth(4)).to_have_text(re.compile(r"^\d:\d\d$"))

    mine.get_by_role("button", name="daily", exact=True).click()

    expect(page.locator("[id^=element-run-r-]")).to_be_visible()


def test_a_failure_tells_its_reason_and_markup_stays_text(page: Page, platform: Platform):
    name = f"{MARKUP} é.ipynb"
    platform.run(name, f"raise ValueError({MARKUP!r})")
    platform.job("marked", title=MARKUP, description=MARKUP)
    panel = open_jobs(page)

    failed = row(panel, "é.ipynb")
    expect(state_of(failed)).to_have_text("Failed")
    expect(failed).to_contain_text(f"ValueError: {MARKUP}")
    expect(failed.get_by_role("cell").nth(2)).to_have_text(name)

    panel.get_by_role("tab", name="Schedules").click()
    expect(row(panel, "marked.ipynb")).to_contain_text(MARKUP)
    row(panel, "marked.ipynb").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Delete {MARKUP}?")
    assert page.evaluate("window.pwned") is None
    assert page.locator(".jp-ElementJobs img, .jp-Dialog img").count() == 0


def test_a_run_is_stopped_and_run_again(page: Page, platform: Platform, tmp_path: Path):
    gate = tmp_path / "go"
    platform.run(
        "waits.ipynb",
        f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)",
    )
    panel = open_jobs(page)
    panel.get_by_role("searchbox", name="Filter runs").fill("waits")
    waiting = row(panel, "waits.ipynb")
    expect(state_of(waiting)).to_have_text("Running 0/1")

    waiting.get_by_role("button", name="Stop: waits").click()

    expect(state_of(waiting)).to_have_text("Stopped")
    gate.touch()
    waiting.get_by_role("button", name="Run again: waits").click()
    expect(row(panel, "waits.ipynb")).to_have_count(2)
    expect(state_of(row(panel, "waits.ipynb").first)).to_have_text("Succeeded")
    expect(page.get_by_text("waits has run.")).to_be_visible()


def test_many_runs_come_in_pages_and_are_told_apart_by_state_and_words(
    page: Page, platform: Platform
):
    platform.many_stopped(55, "crowd.ipynb")
    platform.run("lonely.ipynb", "1 / 0")
    panel = open_jobs(page)
    crowd = row(panel, "crowd.ipynb")
    expect(row(panel, "lonely.ipynb")).to_have_count(1)

    panel.get_by_role("button", name="Stopped", exact=True).click()
    expect(row(panel, "lonely.ipynb")).to_have_count(0)
    expect(panel.get_by_role("row")).to_have_count(51)
    newest = runs_in(panel)
    panel.get_by_role("button", name="Older runs").click()
    expect(panel.get_by_role("button", name="Newer runs")).to_be_visible()
    assert 5 <= len(runs_in(panel)) <= 50
    assert runs_in(panel).isdisjoint(newest)
    panel.get_by_role("button", name="Newer runs").click()
    expect(panel.get_by_role("row")).to_have_count(51)
    assert runs_in(panel) == newest

    panel.get_by_role("button", name="Failed", exact=True).click()
    expect(row(panel, "lonely.ipynb")).to_have_count(1)
    expect(crowd).to_have_count(0)
    panel.get_by_role("button", name="Failed", exact=True).click()
    panel.get_by_role("searchbox", name="Filter runs").fill("LONELY division")
    expect(panel.get_by_role("row")).to_have_count(2)
    expect(panel.get_by_role("status")).to_have_text(
        re.compile(r"1 of the \d+ runs on this page match")
    )


def test_a_schedule_is_switched_off_and_on_run_and_deleted(page: Page, platform: Platform):
    platform.job("nightly")
    panel = open_jobs(page, "Schedules")
    nightly = row(panel, "nightly.ipynb")
    expect(nightly).to_contain_text("Weekdays at 06:00 UTC")
    expect(nightly).to_contain_text(re.compile(r"in \d+ (minute|hour|day)"))
    switch = nightly.get_by_role("switch", name="nightly fires by its schedule")

    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(nightly).to_contain_text("Paused")
    assert platform.is_paused("nightly")
    switch.press("Space")
    expect(switch).to_have_attribute("aria-checked", "true")
    assert not platform.is_paused("nightly")

    nightly.get_by_role("button", name="Run now: nightly").click()
    expect(page.get_by_text("Running nightly in the background.")).to_be_visible()
    expect(nightly.get_by_role("list").get_by_role("listitem")).to_have_text(["Succeeded"])
    nightly.get_by_role("button", name="nightly", exact=True).click()
    expect(state_of(row(panel, "nightly.ipynb"))).to_have_text("Succeeded")

    panel.get_by_role("tab", name="Schedules").click()
    nightly.get_by_role("button", name="Delete: nightly").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Past runs are kept.")
    dialog.get_by_role("button", name="Delete job").click()
    expect(row(panel, "nightly.ipynb")).to_have_count(0)
    expect(panel.get_by_role("tabpanel")).to_be_focused()
    runs = platform.ask("GET", f"/runs?job={platform.team}/nightly")["items"]
    assert [run["state"] for run in runs] == ["succeeded"]


def test_the_history_of_a_job_says_what_changed(page: Page, platform: Platform):
    platform.job("grown", "print(1)")
    platform.job(
        "grown",
        "print(2)",
        schedule={"kind": "cron", "expression": "0 7 * * *", "timezone": "UTC"},
    )
    panel = open_jobs(page, "Schedules")

    row(panel, "grown.ipynb").first.get_by_role("button", name="History: grown").click()
    panel.get_by_text("Changed: schedule.expression, files").click()

    expect(panel.locator("del")).to_have_text("0 6 * * 1-5")
    expect(panel.locator("ins")).to_have_text("0 7 * * *")
    panel.get_by_role("list", name="Files").get_by_text("grown.ipynb was changed").click()
    difference = panel.locator("pre", has_text="# %%")
    expect(difference).to_contain_text("- print(1)")
    expect(difference).to_contain_text("+ print(2)")


def change(notebook: Path) -> None:
    """Add a text to a notebook on the disk."""
    document = nbformat.read(notebook, as_version=4)
    document.cells.append(nbformat.v4.new_markdown_cell("More."))
    nbformat.write(document, notebook)


def test_a_notebook_that_changed_after_it_was_scheduled_is_updated_or_kept(
    page: Page, platform: Platform, lab_with_platform: Lab
):
    page.get_by_role("button", name="Run this notebook at set times").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="On a schedule").check()
    dialog.get_by_role("button", name="Schedule").click()
    expect(dialog).to_have_count(0)
    change(lab_with_platform.root / "daily.ipynb")
    # another workspace, which remembers nothing of this one, knows it too
    page.goto(f"{lab_with_platform.url}lab/workspaces/other/tree/notes.txt?reset")
    expect(page.get_by_role("tab", name="notes.txt")).to_be_visible()
    panel = open_jobs(page, "Schedules")
    daily = row(panel, "daily.ipynb")

    daily.get_by_role("button", name="Update: daily").click()

    notice = daily.get_by_text("Changed since this was scheduled.")
    expect(notice).to_have_count(0)
    assert platform.version_of("daily") == 2

    change(lab_with_platform.root / "daily.ipynb")
    for _ in range(2):
        panel.get_by_role("tab", name="Runs").click()
        panel.get_by_role("tab", name="Schedules").click()
    daily.get_by_role("button", name="Keep: daily").click()
    expect(notice).to_have_count(0)
    assert platform.version_of("daily") == 2


def test_everybody_can_use_it_in_every_theme(page: Page, platform: Platform):
    platform.run("seen.ipynb", "1 / 0")
    platform.job("seen")
    platform.job("seen", "print(2)", paused=True)
    panel = open_jobs(page)
    expect(row(panel, "seen.ipynb")).to_have_count(1)

    for theme in THEMES:
        use_theme(page, theme)
        panel.get_by_role("tab", name="Runs").click()
        expect(row(panel, "seen.ipynb")).to_have_count(1)
        assert violations(page, ".jp-ElementJobs") == []
        panel.get_by_role("tab", name="Schedules").click()
        row(panel, "seen.ipynb").first.get_by_role("button", name="History: seen").click()
        expect(panel.get_by_text("Changed: paused, files")).to_be_visible()
        assert violations(page, ".jp-ElementJobs") == []


def test_the_keyboard_reaches_everything_and_a_narrow_place_holds_it(
    page: Page, platform: Platform
):
    platform.run("keys.ipynb", "1 / 0")
    panel = open_jobs(page)
    expect(row(panel, "keys.ipynb")).to_have_count(1)

    panel.get_by_role("tab", name="Runs").press("ArrowRight")
    expect(panel.get_by_role("tab", name="Schedules")).to_be_focused()
    expect(panel.get_by_role("searchbox", name="Filter schedules")).to_be_visible()
    page.keyboard.press("Home")
    expect(panel.get_by_role("tab", name="Runs")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("searchbox", name="Filter runs")).to_be_focused()
    page.keyboard.type("keys")
    expect(panel.get_by_role("row")).to_have_count(2)
    panel.get_by_role("button", name="keys", exact=True).focus()
    page.keyboard.press("Tab")
    expect(panel.get_by_role("button", name="Run again: keys")).to_be_focused()

    for tab in ("Runs", "Schedules"):
        panel.get_by_role("tab", name=tab).click()
        panel.evaluate("panel => { panel.style.width = '240px'; }")
        width = panel.evaluate("panel => panel.scrollWidth - panel.clientWidth")
        assert width <= 0, f"{tab} is {width} px too wide"


def test_without_a_platform_it_says_what_starts_it_and_goes_on_when_it_is_there(
    tmp_path_factory: pytest.TempPathFactory, open_notebook: OpenNotebook
):
    home = tmp_path_factory.mktemp("lab")
    with running_jupyterlab(home) as lab:
        page = open_notebook(lab)
        panel = open_jobs(page)
        expect(panel.get_by_role("alert")).to_contain_text("element up")

        with running_platform(lab, home / "up.log"), asking(lab) as platform:
            expect(panel).to_contain_text("Nothing has run in the background yet.")
            platform.run("early.ipynb", "print(1)")
            panel.get_by_role("button", name="Refresh").click()
            expect(state_of(row(panel, "early.ipynb"))).to_have_text("Succeeded")

        panel.get_by_role("button", name="Refresh").click()
        expect(panel.get_by_role("alert")).to_contain_text("Not updated since")
        expect(row(panel, "early.ipynb")).to_have_count(1)
        # where that would be refused, it is not offered
        expect(panel.get_by_role("button", name="Start what runs notebooks")).to_have_count(0)
