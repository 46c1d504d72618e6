"""Usage and cost, what runs, the queue and the audit, in a real browser behind a real Hub."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.platform_fixture import wait_until
from tests.ui.accessibility import violations
from tests.ui.admin_pages import LENA, MAX, PAGES, SAM, AdminPages, database
from tests.ui.complaints import hear

HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
SEED = (
    # 5,000 people in 200 teams, each with a run that goes on
    """
INSERT INTO allocations (id, kind, person, server, job, notebook, team, size, cpu, memory_bytes,
    gpu, price_per_hour, begun_at, ended_how)
SELECT 'r-' || lpad(n::text, 26, '0'), 'run', 'person-' || n, '', 'team-' || n % 200 || '/nightly',
    'nightly.ipynb', 'team-' || n % 200, 'small', 1, 1073741824, n % 2, 0.25 + n % 4,
    now() - n * interval '1 second', '' FROM generate_series(1, 5000) AS n
""",
    # and 5,000 that have ended, some of whose cores were idle
    """
INSERT INTO allocations (id, kind, person, server, job, notebook, team, size, cpu, memory_bytes,
    gpu, price_per_hour, begun_at, ended_at, ended_how, cpu_seconds)
SELECT 'r-' || lpad((10000 + n)::text, 26, '0'), 'run', 'person-' || n, '',
    'team-' || n % 200 || '/job-' || n % 7, 'report.ipynb', 'team-' || n % 200, 'large', 2,
    4 * 1073741824::bigint, 0, 1.5, now() - interval '1 hour', now() - interval '5 minutes',
    'succeeded', 3300 FROM generate_series(1, 5000) AS n
""",
    "ANALYZE allocations",
)


@pytest.fixture(scope="module")
def large(pages: AdminPages) -> Iterator[AdminPages]:
    """The platform, with what a large one would have."""
    with database(pages) as connection:
        for statement in SEED:
            connection.execute(statement)
        for number, person, job, notebook in (
            (1, MAX, "ml/nightly", "nightly.ipynb"),
            (2, LENA, None, HOSTILE),
        ):
            connection.execute(
                "UPDATE allocations SET person = %s, team = 'ml', job = %s, notebook = %s"
                " WHERE id = %s",
                (person, job, notebook, f"r-{number:026d}"),
            )
        connection.execute(
            "INSERT INTO activity (allocation_id, reported_at, active_at, working, busy,"
            " connections, ending) VALUES (%s, now() + interval '1 day', now(), false, false, 0, '')",
            (f"r-{1:026d}",),
        )
    yield pages
    with database(pages) as connection:
        connection.execute("DELETE FROM activity")
        connection.execute("DELETE FROM allocations WHERE id LIKE 'r-0000%'")


def figure(page: Page, name: str) -> str:
    """What stands beside a name at the top of a page."""
    term = page.locator(".el-figures > div").filter(has=page.get_by_text(name, exact=True))
    return term.locator("dd").inner_text()


# -------------------------------------------------------------------------------------- running


def test_what_runs_is_found_narrowed_down_and_paged(large: AdminPages, browser):
    with large.window(browser, large.root) as page:
        page.goto(f"{PAGES}running")
        assert int(figure(page, "Runs").replace(",", "")) >= 5000
        expect(page.get_by_role("row")).to_have_count(51)
        page.get_by_role("link", name="More").click()
        expect(page.get_by_role("link", name="From the beginning")).to_be_visible()
        page.get_by_label("Search", exact=True).fill("PERSON-4321")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_role("link", name="team-121", exact=True).click()
        expect(page.get_by_role("list", name="Narrowed down to")).to_contain_text("Team: team-121")
        page.get_by_role("link", name="Show every team").click()
        page.get_by_label("Search", exact=True).fill("nobody is called so")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing that runs is like that.")).to_be_visible()
        page.goto(f"{PAGES}running?kind=nonsense")
        expect(page.get_by_role("alert")).to_contain_text("there is no such kind")


def test_a_lead_sees_the_team_and_what_is_idle_of_it_and_others_have_no_such_page(
    large: AdminPages, browser
):
    with large.window(browser, LENA) as page:
        page.goto(f"{PAGES}running?person={MAX}")
        row = page.get_by_role("row").filter(has_text="ml/nightly")
        expect(row).to_contain_text("Idle")
        page.get_by_label("Only what is idle").check()
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("row")).to_have_count(2)
        assert "person-" not in page.inner_text("main")
        expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    with large.window(browser, SAM) as page:
        for name in ("running", "queue", "usage", "audit", "audit/export", "usage/export"):
            answer = page.goto(PAGES + name)
            assert answer is not None
            assert answer.status == 403, name
            expect(page.get_by_role("alert")).to_contain_text("is for administrators")


def test_names_are_shown_and_never_run(large: AdminPages, browser):
    with large.window(browser, LENA) as page:
        page.goto(f"{PAGES}running?person={LENA}")
        expect(page.get_by_role("rowheader").filter(has_text=HOSTILE)).to_have_count(1)
        page.get_by_role("button", name=re.compile("^Stop .*img src")).click()
        expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
        for path in ("running?search=", "queue?search=", "usage?search=", "usage?job="):
            page.goto(PAGES + path + HOSTILE)
            assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert page.title() != "run"


def test_an_editor_is_stopped_after_a_question_that_names_it_and_what_is_lost(
    large: AdminPages, browser
):
    hub = large.hub
    hub.start_editor()
    with large.window(browser, large.root) as page:
        page.goto(f"{PAGES}running?kind=editor")
        button = page.get_by_role("button", name=f"Stop {large.root}’s editor")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"Stop {large.root}’s editor?")
        expect(dialog).to_contain_text("kernels end, with what is in their memory")
        page.keyboard.press("Escape")
        expect(button).to_be_focused()
        assert hub.servers()[""]["ready"]
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Stop it").click()
        expect(page.get_by_text(f"Told to stop: {large.root}’s editor.")).to_be_visible()
        wait_until(lambda: not hub.servers().get("", {}).get("ready"), 60)
        page.goto(f"{PAGES}audit?action=running.stopped")
        row = page.get_by_role("row").filter(has_text="running.stopped").first
        expect(row).to_contain_text(large.root)
        row.locator("summary").click()
        expect(row).to_contain_text('"kind": "editor"')


def test_what_is_chosen_is_stopped_together_and_what_is_refused_is_said(large: AdminPages, browser):
    with large.window(browser, large.root) as page:
        # no run stands behind these rows, which is said
        page.goto(f"{PAGES}running?search=person-49&order=newest")
        page.get_by_label("Choose person-4900’s run", exact=False).check()
        page.get_by_label("Choose person-4901’s run", exact=False).check()
        expect(page.get_by_text("2 chosen")).to_be_visible()
        page.get_by_role("button", name="Stop what is chosen").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Stop 2 servers and runs?")
        expect(dialog).to_contain_text("person-4901’s run of team-101/nightly")
        dialog.get_by_role("button", name="Stop 2").click()
        expect(page.get_by_text("There is no run", exact=False).first).to_be_visible()


def test_the_list_is_shown_anew_while_it_is_looked_at_and_says_when_it_is_not(
    large: AdminPages, browser
):
    with large.window(browser, LENA) as page:
        page.clock.install()
        page.goto(f"{PAGES}running?person={MAX}")
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_label("Choose", exact=False).last.check()
        with database(large) as connection:
            connection.execute(
                "UPDATE allocations SET size = 'larger' WHERE id = %s", (f"r-{1:026d}",)
            )
        page.clock.run_for(11_000)
        expect(page.get_by_role("row").last).to_contain_text("larger")
        expect(page.get_by_label("Choose", exact=False).last).to_be_checked()
        page.route("**/running*", lambda route: route.abort())
        page.clock.run_for(11_000)
        expect(page.get_by_role("alert")).to_contain_text("Not updated since")
        expect(page.get_by_role("row")).to_have_count(2)
        page.unroute("**/running*")
        page.clock.run_for(11_000)
        expect(page.get_by_role("alert")).to_be_hidden()


# ---------------------------------------------------------------------------------------- queue


def test_a_run_that_waits_is_shown_with_its_place_and_why(large: AdminPages, browser):
    (large.hub.data / "quotas.yaml").write_text(
        f"quotas: [{{who: 'person:{large.root}', at_once: {{runs: 1}}}}]"
    )
    blocker = "r-" + "b" * 26
    with database(large) as connection:
        connection.execute(
            "INSERT INTO allocations (id, kind, person, server, team, size, cpu, memory_bytes, gpu,"
            " begun_at, ended_how) VALUES (%s, 'run', %s, '', 'x', 'small', 1, 1, 0, now(), '')",
            (blocker, large.root),
        )
    run_id = ""
    try:
        with large.window(browser, large.root) as page:
            page.goto(f"{PAGES}queue")
            expect(
                page.get_by_text("No run waits: what is started starts at once.")
            ).to_be_visible()
            run_id = large.hub.start_run("1")
            wait_until(lambda: "1 of 1 run" in large.hub.run_is(run_id)["reason"], 60)
            page.goto(f"{PAGES}queue")
            row = page.get_by_role("row").filter(has_text="work.ipynb")
            expect(row).to_contain_text("has 1 of 1 run in use")
            expect(row.get_by_role("cell").first).to_have_text("1")
            assert figure(page, "Waiting") == "1"
    finally:
        (large.hub.data / "quotas.yaml").unlink()
        with database(large) as connection:
            connection.execute("DELETE FROM allocations WHERE id = %s", (blocker,))
        if run_id:
            large.hub.ended(run_id)


# ---------------------------------------------------------------------------------------- audit


def test_the_audit_is_narrowed_down_expanded_checked_and_downloaded(large: AdminPages, browser):
    with large.window(browser, large.root) as page:
        page.goto(f"{PAGES}audit")
        page.get_by_role("button", name="Check all now").click()
        expect(page.get_by_text(re.compile("All of its first .* were checked"))).to_be_visible()
        page.get_by_label("Who").fill(large.root)
        page.get_by_label("Only as administrator").check()
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("as administrator", exact=True).first).to_be_visible()
        with page.expect_download() as got:
            page.get_by_role("link", name="Download CSV").click()
        rows = list(csv.DictReader(io.StringIO(Path(got.value.path()).read_text())))
        assert got.value.suggested_filename == "audit.csv"
        assert {row["actor"] for row in rows} == {large.root}
        assert {row["as_admin"] for row in rows} == {"true"}
        page.goto(f"{PAGES}audit?since=yesterday")
        expect(page.get_by_role("alert")).to_contain_text("give a day, such as 2026-11-22")


# ---------------------------------------------------------------------------------------- usage


@pytest.fixture(scope="module")
def counted(large: AdminPages) -> AdminPages:
    """The same, once the ledger has counted it, which it does from time to time."""
    visitor = large.visitor(large.root)

    def shows(row: str, address: str) -> bool:
        return f">{row}</a>" in visitor.get(PAGES + address).text

    wait_until(lambda: shows(MAX, "usage?team=ml&by=person&search=max"), 180)
    wait_until(lambda: shows("team-12/job-5", "usage?team=team-12&by=job&search=job-5"), 180)
    return large


def test_usage_leads_from_teams_to_people_to_jobs_to_days(counted: AdminPages, browser):
    with counted.window(browser, counted.root) as page:
        page.goto(f"{PAGES}usage")
        expect(page.get_by_role("heading", name="By team")).to_be_visible()
        chart = page.get_by_role("img", name="of each day", exact=False)
        expect(chart).to_be_visible()
        page.get_by_text("The same as a table").click()
        expect(page.get_by_role("table").first).to_contain_text("Idle cost")
        page.get_by_label("Search team").fill("team-12")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="team-12", exact=True).click()
        expect(page.get_by_role("heading", name="By person")).to_be_visible()
        page.get_by_role("link", name="person-12", exact=True).click()
        expect(page.get_by_role("heading", name="By job")).to_be_visible()
        page.get_by_role("link", name="team-12/job-5", exact=True).click()
        expect(page.get_by_role("heading", name="By day")).to_be_visible()
        expect(page.get_by_role("list", name="Narrowed down to")).to_contain_text("Job")
        page.get_by_role("link", name="Show every job").click()
        with page.expect_download() as got:
            page.get_by_role("link", name="Download CSV").click()
        rows = list(csv.DictReader(io.StringIO(Path(got.value.path()).read_text())))
        assert {row["job"] for row in rows} == {"team-12/nightly", "team-12/job-5"}
        assert all(float(row["cost"]) > 0 for row in rows)


def test_a_lead_s_usage_is_their_team_s_whatever_the_address_says(counted: AdminPages, browser):
    with counted.window(browser, LENA) as page:
        page.goto(f"{PAGES}usage?by=person")
        expect(page.get_by_role("rowheader", name=MAX)).to_have_count(1)
        for address in ("usage?team=team-12", "usage?team=team-12&person=person-12"):
            page.goto(PAGES + address)
            assert "person-12" not in page.inner_text("main")
        page.goto(f"{PAGES}usage?period=last")
        expect(page.get_by_text("Nothing was used in this time.", exact=False)).to_be_visible()


# ------------------------------------------------------------------------------------ every view


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_views_with_much_in_them_are_accessible_and_as_wide_as_the_window(
    large: AdminPages, browser, dark
):
    complaints: list[str] = []
    found: list[str] = []
    with large.window(browser, large.root, dark=dark, bypass_csp=True) as page:
        hear(page, complaints)
        for path in ("running", "queue", "audit", "usage"):
            page.goto(PAGES + path)
            expect(page.locator("main h1")).to_be_visible()
            found += [f"{path}: {each}" for each in violations(page, "body")]
            page.set_viewport_size({"width": 240, "height": 860})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 240, f"{path}: {wide} px"
            page.set_viewport_size({"width": 1280, "height": 860})
    assert (found, complaints) == ([], [])


def test_the_first_view_of_each_comes_soon_with_five_thousand_people(large: AdminPages):
    visitor = large.visitor(large.root)
    for path in ("running", "queue", "audit", "usage"):
        visitor.get(PAGES + path).raise_for_status()
        begun = time.monotonic()
        visitor.get(PAGES + path).raise_for_status()
        assert time.monotonic() - begun < 5, path
