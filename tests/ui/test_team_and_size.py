"""People of a Hub, in several teams: at which size and for whom things run, and who may do what."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from element_jupyter.platform.hub.access import API_URL, TOKEN_FILE
from element_jupyter.platform.state import read_state
from tests.adapters.test_hub_identity import CONFIG, ELEMENT_TOKEN, grown, token
from tests.hub_fixture import RunningHub, running_hub
from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import violations
from tests.ui.complaints import hear
from tests.ui.conftest import choose_from_palette, running_jupyterlab, running_platform
from tests.ui.runs import rest

pytestmark = pytest.mark.browser

SIZES = """
default: small
currency: credits
sizes:
  - {name: small, title: Small, description: For looking at data., cpu: 0.1, memory_bytes: 64 MiB,
     price_per_hour: 0.04}
  - {name: huge, title: Huge, description: For a cluster., cpu: 1000, memory_bytes: 900 TiB, gpu: 2}
"""


class Site:
    """A Hub with the platform behind it, and the JupyterLab of ada, who is in four teams."""

    def __init__(self, hub: RunningHub, home: Path) -> None:
        self.hub = hub
        self.home = home
        self.data = home / "platform" / "element"
        self.url = ""
        self.lab = Lab("", home, home)

    def command(self, person: str, *arguments: str) -> str:
        """Give a command of `element` as somebody, as in a terminal of theirs."""
        done = subprocess.run(
            [sys.executable, "-m", "element_jupyter.cli", *arguments],
            env={
                **os.environ,
                "ELEMENT_URL": self.url,
                "JUPYTERHUB_API_TOKEN": token(self.hub, person),
                "JUPYTERHUB_USER": person,
                "ELEMENT_DATA_DIR": str(self.home / person),
            },
            cwd=self.lab.root,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def job(self, job: str) -> dict[str, object]:
        """What ada is told of a job."""
        return dict(rest(self.lab, "GET", f"/jobs/{job}")["job"])

    def runs(self) -> list[dict[str, object]]:
        """What ada is told of runs."""
        return list(rest(self.lab, "GET", "/runs")["items"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("teams")
    token_file = home / "token-of-element"
    token_file.write_text(ELEMENT_TOKEN)
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(running_hub(home / "hub", CONFIG))
        grown(hub, "ada", "ada:lead", "ml:member", "ops:viewer", "web:lead")
        grown(hub, "eve", "eve:lead", "ml:lead", "ops:lead", "web:member")
        site = Site(hub, home)
        site.data.mkdir(parents=True)
        (site.data / "sizes.yaml").write_text(SIZES)
        told = stack.enter_context(pytest.MonkeyPatch.context())
        told.setenv(API_URL, hub.api_url)
        told.setenv(TOKEN_FILE, str(token_file))
        told.setenv("ELEMENT_ENVIRONMENTS", "false")
        stack.enter_context(running_platform(Lab("", home, site.data), home / "up.log"))
        state = read_state(site.data / "state.json")
        assert state is not None
        site.url = state.service_url
        variables = {
            "ELEMENT_URL": site.url,
            "ELEMENT_ENVIRONMENTS": "false",
            "JUPYTERHUB_API_TOKEN": token(hub, "ada"),
            "JUPYTERHUB_USER": "ada",
            "ELEMENT_TEAM": "web",  # as if she had started it for that team
        }
        site.lab = stack.enter_context(running_jupyterlab(home / "lab", variables))
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    """JupyterLab with `daily.ipynb` in front; nothing may go wrong in it."""
    complaints: list[str] = []
    window = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = window.new_page()
    hear(page, complaints)
    page.goto(f"{site.lab.url}lab/workspaces/t/tree/daily.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
    yield page
    window.close()
    assert complaints == []


def open_dialog(page: Page) -> Locator:
    page.get_by_role("button", name="Run this notebook at set times").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Team")).to_be_visible()
    dialog.get_by_text("More options").click()
    expect(dialog.get_by_label("Size")).to_be_visible()
    return dialog


def test_a_job_gets_the_team_and_the_size_that_are_chosen_and_both_are_remembered(
    site: Site, page: Page
):
    dialog = open_dialog(page)
    team, size = dialog.get_by_label("Team"), dialog.get_by_label("Size")
    expect(team.get_by_role("option")).to_have_text(
        ["ada", "ml", "web"]
    )  # not where she only looks
    expect(team).to_have_value("web")
    expect(size.get_by_role("option")).to_have_text(
        ["Small: 0.1 CPUs, 64 MiB", "Huge: 1000 CPUs, 900 TiB, 2 GPUs"]
    )
    expect(size).to_have_accessible_description(
        re.compile(r"^For looking at data\. 0\.04 credits per hour\. .*free now")
    )

    team.select_option("ml")
    size.select_option("huge")
    expect(dialog).to_contain_text("For a cluster. It is more than is free now: ")
    dialog.get_by_role("radio", name="On a schedule").check()
    dialog.get_by_label("Name", exact=True).fill("team-job")
    assert violations(page, ".jp-ElementSchedule") == []
    dialog.get_by_role("button", name="Schedule").click()

    expect(dialog).to_have_count(0)
    job = site.job("ml/team-job")
    assert (job["team"], job["owner"], job["size"]) == ("ml", "ada", "huge")
    dialog = open_dialog(page)
    expect(dialog.get_by_label("Team")).to_have_value("ml")
    expect(dialog.get_by_label("Size")).to_have_value("huge")


def test_a_size_that_is_gone_is_said_at_its_field_and_nothing_typed_is_lost(site: Site, page: Page):
    sizes = site.data / "sizes.yaml"
    dialog = open_dialog(page)
    dialog.get_by_label("Size").select_option("huge")
    dialog.get_by_label("Time limit in minutes").fill("7")
    sizes.write_text(SIZES.replace("huge", "vast"))
    try:
        dialog.get_by_role("button", name="Run", exact=True).click()

        expect(dialog.get_by_label("Size")).to_have_attribute("aria-invalid", "true")
        expect(dialog.get_by_label("Size")).to_be_focused()
        expect(dialog).to_contain_text("There is no size 'huge'. There are: small, vast.")
        expect(dialog.get_by_label("Time limit in minutes")).to_have_value("7")
    finally:
        sizes.write_text(SIZES)


def test_things_of_a_team_say_whose_they_are_and_offer_what_one_may_do(site: Site, page: Page):
    nbformat.write(nbformat.v4.new_notebook(), site.lab.root / "of-eve.ipynb")
    for team in ("ops", "ml"):
        site.command("eve", "schedule", "of-eve.ipynb", "--team", team, "--size", "small")
    choose_from_palette(page, "Jobs")
    page.get_by_role("tab", name="Schedules").click()
    row = page.get_by_role("row").filter
    looked_at, shared = row(has_text="team ops"), row(has_text="of-eve").filter(has_text="team ml")

    expect(looked_at).to_contain_text("of eve · team ops · size small")
    expect(looked_at.get_by_role("button", name="History")).to_be_visible()
    for name in ("Run now", "Edit", "Delete", "Take over", "Hand over…"):
        expect(looked_at.get_by_role("button", name=name)).to_have_count(0)
    expect(shared.get_by_role("button", name="Edit")).to_be_visible()
    expect(shared.get_by_role("button", name="Delete")).to_have_count(0)  # it is eve's

    page.get_by_label("Whose").select_option("Mine")
    expect(shared).to_have_count(0)
    page.get_by_label("Whose").select_option("Team ml")
    expect(shared).to_be_visible()
    expect(looked_at).to_have_count(0)


def test_a_job_that_is_handed_over_says_so_until_it_is_taken(site: Site, page: Page):
    nbformat.write(nbformat.v4.new_notebook(), site.lab.root / "given.ipynb")
    site.command("eve", "schedule", "given.ipynb", "--team", "ml", "--cron", "daily")
    site.command("eve", "jobs", "hand-over", "ml/given", "ada")
    choose_from_palette(page, "Jobs")
    page.get_by_role("tab", name="Schedules").click()
    row = page.get_by_role("row").filter(has_text="given.ipynb")
    expect(row).to_contain_text("eve has handed it over to ada, who has not taken it yet")

    row.get_by_role("button", name="Take over").click()
    page.get_by_role("dialog").get_by_role("button", name="Take over").click()

    expect(row).not_to_contain_text("handed it over")
    expect(row.get_by_role("button", name="Take over")).to_have_count(0)
    assert site.job("ml/given")["owner"] == "ada"


def test_a_lead_hands_a_job_over_and_the_one_who_gets_it_is_asked(site: Site, page: Page):
    nbformat.write(nbformat.v4.new_notebook(), site.lab.root / "handed.ipynb")
    site.command("ada", "schedule", "handed.ipynb", "--team", "web", "--cron", "daily")
    choose_from_palette(page, "Jobs")
    page.get_by_role("tab", name="Schedules").click()
    row = page.get_by_role("row").filter(has_text="handed.ipynb")

    row.get_by_role("button", name="Hand over…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("To a member of the team web, who then takes it")
    dialog.get_by_role("textbox").fill("nobody")
    dialog.get_by_role("button", name="Hand over").click()
    expect(page.locator(".jp-ElementJobs").get_by_role("alert")).to_contain_text("nobody")
    assert site.job("web/handed")["owner"] == "ada"

    row.get_by_role("button", name="Hand over…").click()
    dialog.get_by_role("textbox").fill("eve")
    dialog.get_by_role("textbox").press("Enter")
    expect(row).to_contain_text("ada has handed it over to eve, who has not taken it yet")
    assert site.job("web/handed")["owner"] == "eve"


def test_a_job_is_taken_over_in_the_dialog_that_edits_it(site: Site, page: Page):
    nbformat.write(nbformat.v4.new_notebook(), site.lab.root / "taken.ipynb")
    site.command("eve", "schedule", "taken.ipynb", "--team", "ml", "--cron", "daily")
    choose_from_palette(page, "Jobs")
    page.get_by_role("tab", name="Schedules").click()
    row = page.get_by_role("row").filter(has_text="taken.ipynb")
    row.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It belongs to the team ml and runs as eve.")
    mine = dialog.get_by_role("checkbox", name="Take it over: from now on it runs as you")
    expect(mine).not_to_be_checked()

    mine.check()
    assert violations(page, ".jp-ElementSchedule") == []
    dialog.get_by_role("button", name="Save").click()

    expect(dialog).to_have_count(0)
    assert site.job("ml/taken")["owner"] == "ada"
    expect(row.get_by_role("button", name="Take over")).to_have_count(0)


def test_a_viewer_sees_a_run_and_who_decides_about_more(site: Site, page: Page):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('looked at')")])
    nbformat.write(notebook, site.lab.root / "watched.ipynb")
    site.command("eve", "schedule", "watched.ipynb", "--team", "ops", "--size", "small")
    site.command("eve", "jobs", "trigger", "ops/watched")
    choose_from_palette(page, "Jobs")
    row = page.get_by_role("row").filter(has_text="watched.ipynb")
    for name in ("Stop", "Run again"):
        expect(row.get_by_role("button", name=name)).to_have_count(0)

    row.get_by_role("button", name="watched", exact=True).click()
    view = page.locator(".jp-ElementRun").filter(has_text="watched")
    expect(view).to_contain_text("You only look on in the team ops")
    expect(view.locator(".jp-ElementRun-state")).to_contain_text(re.compile("Succeeded|Failed"))
    for name in ("Stop", "Run again"):
        expect(view.get_by_role("button", name=name)).to_have_count(0)


def test_one_click_runs_for_the_team_for_which_the_server_was_started(site: Site, page: Page):
    nbformat.write(nbformat.v4.new_notebook(), site.lab.root / "clicked.ipynb")
    page.get_by_role("region", name="File Browser Section").get_by_text("clicked.ipynb").click(
        button="right"
    )
    page.get_by_role("menuitem", name="Run in Background Now").click()
    expect(page.get_by_role("alert").filter(has_text="Running clicked.ipynb")).to_be_visible()

    (run,) = (run for run in site.runs() if run["notebook"] == "clicked.ipynb")
    assert (run["team"], run["owner"]) == ("web", "ada")


QUOTAS = """
quotas:
  - who: person:ada
    largest: {cpu: 8}
    at_once: {runs: 1}
    budgets: [{per: 7 days, cpu_hours: 100}]
"""


def test_the_dialog_and_the_panel_say_what_of_the_quota_is_left(site: Site, page: Page):
    (site.data / "quotas.yaml").write_text(QUOTAS)
    try:
        dialog = open_dialog(page)
        before = dialog.get_by_role("region", name="Before it runs")
        size = dialog.get_by_label("Size")
        size.select_option("small")
        expect(size).to_have_accessible_description(re.compile("of 100 CPU-hours per 7 days"))
        expect(before).not_to_contain_text("Error")

        size.select_option("huge")
        error = before.get_by_role("listitem").filter(has_text="Error")
        expect(error).to_contain_text("8 cores")
        run = dialog.get_by_role("button", name="Run", exact=True)
        expect(run).to_have_attribute("aria-disabled", "true")
        assert violations(page, ".jp-ElementSchedule") == []
        size.select_option("small")
        expect(run).to_have_attribute("aria-disabled", "false")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)

        choose_from_palette(page, "Resources")
        panel = page.locator(".jp-ElementPanel:visible")
        expect(panel.get_by_role("heading", name="My quota")).to_be_visible()
        used = panel.get_by_role("listitem").filter(has_text="of 100 CPU-hours per 7 days")
        expect(used.get_by_role("progressbar")).to_have_attribute("max", "100")
        assert violations(page, ".jp-ElementQuota") == []
    finally:
        (site.data / "quotas.yaml").unlink()
