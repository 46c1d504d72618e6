"""The pages of quotas and usage in a real browser, behind a real Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from element_jupyter.service.pages.every import PAGES as VIEWS
from element_jupyter.service.pages.view import View
from tests.platform_fixture import wait_until
from tests.ui.accessibility import violations
from tests.ui.admin_pages import LENA, MAX, PAGES, SAM, AdminPages
from tests.ui.complaints import hear
from tests.ui.markup import MARKUP

# ------------------------------------------------------------------------------------- sign-in


def test_who_has_signed_in_at_the_hub_sees_their_page_without_signing_in_again(pages, browser):
    with pages.window(browser, MAX) as page:
        page.goto("/hub/home")
        page.get_by_role("button", name="Services").click()
        page.get_by_role("link", name="Quotas and usage").click()
        expect(page.get_by_role("heading", name="My usage", level=1)).to_be_visible()
        expect(page.get_by_role("banner")).to_contain_text(MAX)
        kept = {each["name"]: each for each in page.context.cookies(pages.url + PAGES)}
        session = kept["element-session"]
        assert (session["httpOnly"], session["sameSite"], session["path"]) == (True, "Lax", PAGES)
        assert not any(name.startswith("element-sign-in-") for name in kept)


def test_signing_out_ends_the_session_here_and_at_the_hub(pages, browser):
    pages.people[SAM].cookies.clear()
    pages.people[SAM].sign_in(SAM, "a few words are good")
    with pages.window(browser, SAM) as page:
        page.goto(PAGES)
        kept = page.context.cookies(pages.url + PAGES)
        page.get_by_role("link", name="Logout").click()
        expect(page).to_have_url(re.compile("/hub/log(in|out)"))
        page.context.add_cookies(kept)
        page.goto(PAGES)
        expect(page).to_have_url(re.compile("/hub/login"))
    pages.people[SAM].sign_in(SAM, "a few words are good")


def test_nothing_is_shown_without_a_session_but_sign_in_and_what_pages_load(pages):
    with httpx.Client(base_url=pages.url, trust_env=False) as stranger:
        for view in VIEWS:
            if view.method != "GET":
                assert stranger.post(view.address, json={}).status_code == 403, view
                continue
            answer = stranger.get(view.address)
            assert answer.status_code == 302, view
            assert answer.headers["location"].startswith(f"{PAGES}sign-in?next=")
        assert stranger.get(f"{PAGES}api/v1/me").status_code == 401
        sign_in = stranger.get(f"{PAGES}sign-in")
        assert sign_in.headers["location"].startswith("/hub/api/oauth2/authorize?")
        assert stranger.get(f"{PAGES}static/x/frame.css").status_code == 200
        for path in ("../frame.py", "..%2fframe.py", "%2e%2e/frame.py", "/etc/passwd"):
            assert stranger.get(f"{PAGES}static/x/{path}").status_code in {302, 400, 403, 404}, path


def test_a_sign_in_that_another_browser_began_is_refused(pages):
    with httpx.Client(base_url=pages.url, trust_env=False) as attacker:
        begun = attacker.get(f"{PAGES}sign-in").headers["location"]
    victim = pages.people[MAX]
    answer = victim.get(begun)
    assert answer.url.path == f"{PAGES}sign-in/callback"
    assert answer.status_code == 400
    assert "was not begun in this browser" in answer.text


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/hub/home", "/services/element/../x"]
)
def test_a_sign_in_leads_to_no_other_place(pages, target):
    answer = pages.people[MAX].get(f"{PAGES}sign-in", params={"next": target})
    assert (answer.status_code, str(answer.url)) == (200, pages.url + PAGES)


def test_a_session_that_was_planted_before_sign_in_is_worth_nothing(pages):
    victim = pages.visitor(LENA)
    victim.cookies.delete("element-session", path=PAGES)
    victim.cookies.set("element-session", "chosen-by-a-stranger", path=PAGES, domain="127.0.0.1")
    assert LENA in victim.get(PAGES).text
    assert all("chosen" not in (each.value or "") for each in victim.cookies.jar)


# ------------------------------------------------------------------- what a session is good for


def test_rest_takes_the_session_from_our_own_pages_only(pages):
    visitor = pages.visitor(MAX)
    xsrf = re.search(r'name="element-xsrf" content="([^"]+)"', visitor.get(PAGES).text)[1]
    ours = {"X-XSRFToken": xsrf, "Sec-Fetch-Site": "same-origin"}
    me = f"{PAGES}api/v1/me"
    assert visitor.get(me, headers=ours).json()["name"] == MAX
    assert visitor.get(me, headers={"X-XSRFToken": xsrf, "Origin": pages.url}).status_code == 200
    for refused in (
        {},
        {"X-XSRFToken": xsrf},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-XSRFToken": "guessed", "Sec-Fetch-Site": "same-origin"},
        {"X-XSRFToken": xsrf, "Sec-Fetch-Site": "same-site"},
        {"X-XSRFToken": xsrf, "Sec-Fetch-Site": "cross-site", "Origin": pages.url},
        {"X-XSRFToken": xsrf, "Origin": "https://evil.example"},
    ):
        assert visitor.get(me, headers=refused).status_code == 403, refused
    lena = re.search(r'element-xsrf" content="([^"]+)"', pages.visitor(LENA).get(PAGES).text)[1]
    assert visitor.get(me, headers=ours | {"X-XSRFToken": lena}).status_code == 403


def test_a_page_is_given_to_no_script_and_no_frame_of_another(pages):
    visitor = pages.visitor(MAX)
    for asked in (
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ):
        answer = visitor.get(PAGES, headers=asked)
        assert answer.status_code == 403, asked
        assert "element-xsrf" not in answer.text, asked
    policy = visitor.get(PAGES).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_who_is_suspended_is_out_within_a_minute(pages):
    visitor = pages.visitor(SAM)
    pages.admin.form("/hub/people", {"action": "suspend", "person": SAM})
    try:
        wait_until(lambda: SAM not in visitor.get(PAGES).text, 60)
        assert visitor.get(PAGES, follow_redirects=False).status_code in {302, 403}
    finally:
        pages.admin.form("/hub/people", {"action": "reinstate", "person": SAM})
        visitor.cookies.clear()
        visitor.sign_in(SAM, "a few words are good")


# ------------------------------------------------------------------------------------- the frame


def shows(page: Page, view: View) -> None:
    """Open a page, which must have what it is to show."""
    answer = page.goto(view.address)
    assert answer is not None
    assert answer.status == 200, page.inner_text("main")
    expect(page.get_by_role("heading", name=view.title, level=1)).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_accessible_and_its_scripts_do_not_complain(pages, browser, dark):
    complaints: list[str] = []
    found: list[str] = []
    with pages.window(browser, pages.root, dark=dark, bypass_csp=True) as page:
        hear(page, complaints)
        for view in VIEWS:
            if view.template:
                shows(page, view)
                found += [f"{view.path}: {each}" for each in violations(page, "body")]
    assert (found, complaints) == ([], [])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_opens_on_a_page_is_accessible(pages, browser, dark):
    quotas_are(pages, QUOTAS)
    with pages.window(browser, pages.root, dark=dark, bypass_csp=True) as page:
        page.goto(f"{PAGES}quotas")
        row(page, "member:ml").get_by_role("button", name="2 GPUs").click()
        found = violations(page, "body")
        row(page, "member:ml").get_by_label("no limit").check()
        page.keyboard.press("Enter")
        for name in ("Change", "Add a limit", "Apply YAML"):
            if name != "Change":
                page.get_by_role("button", name=name).click()
            expect(page.get_by_role("dialog", name=name)).to_be_visible()
            found += violations(page, "dialog[open]")
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog", name=name)).to_have_count(0)
        page.goto(f"{PAGES}quotas?offset=-1")
        expect(page.get_by_role("alert")).to_be_visible()
        found += violations(page, "body")
    assert found == []


def test_no_page_breaks_its_own_policy_or_is_wider_than_a_narrow_window(pages, browser):
    said: list[str] = []
    with pages.window(browser, pages.root, width=240) as page:
        page.on("console", lambda message: said.append(message.text))
        for view in VIEWS:
            if view.template:
                shows(page, view)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= 240, f"{view.path}: {wide} px"
    assert [each for each in said if "Content Security Policy" in each] == []


def test_the_pages_are_complete_without_scripts(pages, browser):
    with pages.window(browser, pages.root, java_script_enabled=False) as page:
        for view in VIEWS:
            if view.template:
                shows(page, view)
                expect(page.get_by_role("navigation", name="Quotas and usage")).to_be_visible()


# ------------------------------------------------------------------------------------- quotas


QUOTAS = {
    "quotas": [
        {"who": "everyone", "at_once": {"runs": 10, "memory_bytes": "32 GiB"}},
        {"who": "member:ml", "at_once": {"gpu": 2}},
        {"who": "team:ml", "budgets": [{"per": "30 days", "gpu_hours": 100}]},
    ]
}


def quotas_are(pages: AdminPages, quotas: dict[str, Any]) -> None:
    with pages.hub.platform.service() as service:
        etag = service.get("/quotas").raise_for_status().headers["etag"]
        service.put("/quotas", json=quotas, headers={"If-Match": etag}).raise_for_status()


def quotas_of(pages: AdminPages) -> list[dict[str, Any]]:
    with pages.hub.platform.service() as service:
        found: list[dict[str, Any]] = service.get("/quotas").json()["quotas"]["quotas"]
    return found


@pytest.fixture
def page(pages: AdminPages, browser: Browser) -> Iterator[Page]:
    """The quotas, open in an administrator's window; nothing may go wrong in it."""
    quotas_are(pages, QUOTAS)
    complaints: list[str] = []
    with pages.window(browser, pages.root) as page:
        hear(page, complaints)
        page.goto(f"{PAGES}quotas")
        yield page
    assert complaints == []


def row(page: Page, *words: str) -> Locator:
    found = page.locator("#limits tbody tr")
    for each in words:
        found = found.filter(has_text=each)
    return found


def test_a_limit_is_changed_in_place_by_the_keyboard_and_undone(pages, page):
    edit = row(page, "everyone", "Runs").get_by_role("button", name="10 runs")
    edit.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("7")
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()
    assert quotas_of(pages)[0]["at_once"]["runs"] == 10
    page.keyboard.press("Enter")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("everyone: 12 runs at once, was 10 runs at once.")
    expect(dialog).to_contain_text(re.compile(r"everyone: affects \d people\."))
    expect(dialog).to_contain_text("Nothing that runs now would be over.")
    dialog.get_by_label("Why").fill("a larger machine")
    page.keyboard.press("Enter")
    expect(row(page, "everyone", "Runs")).to_contain_text("12 runs")
    expect(row(page, "everyone", "Runs")).to_contain_text(pages.root)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "everyone", "Runs")).to_contain_text("10 runs")
    assert quotas_of(pages)[0]["at_once"]["runs"] == 10


def test_no_limit_is_said_and_an_empty_field_is_not_taken_for_it(pages, page):
    row(page, "member:ml").get_by_role("button", name="2 GPUs").click()
    amount = row(page, "member:ml").get_by_role("spinbutton")
    amount.fill("")
    page.keyboard.press("Enter")
    expect(amount).to_be_focused()
    row(page, "member:ml").get_by_label("no limit").check()
    row(page, "member:ml").get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save the limit").click()
    expect(row(page, "member:ml")).to_contain_text("no limit")
    assert quotas_of(pages)[1]["at_once"]["gpu"] == "unlimited"


def test_what_another_administrator_has_changed_meanwhile_is_shown_and_kept(pages, page):
    theirs = {"quotas": [*QUOTAS["quotas"], {"who": f"person:{SAM}", "at_once": {"runs": 3}}]}
    quotas_are(pages, theirs)
    row(page, "everyone", "Runs").get_by_role("button", name="10 runs").click()
    page.keyboard.type("11")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Somebody else has changed the quotas")
    expect(dialog).to_contain_text(f"person:{SAM}: 3 runs at once, new.")
    dialog.get_by_role("button", name="Make my change to theirs").click()
    dialog.get_by_role("button", name="Save the limit").click()
    expect(row(page, "everyone", "Runs")).to_contain_text("11 runs")
    expect(row(page, f"person:{SAM}")).to_contain_text("3 runs")


def test_several_limits_are_changed_and_removed_together(pages, page):
    for each in ("everyone", "member:ml"):
        row(page, each).filter(has_not_text="Memory").get_by_role("checkbox").check()
    bulk = page.get_by_role("form", name="The limits that are chosen")
    bulk.get_by_label("Set to").fill("5")
    bulk.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save 2 limits").click()
    expect(row(page, "everyone", "Runs")).to_contain_text("5 runs")
    expect(row(page, "member:ml")).to_contain_text("5 GPUs")
    page.get_by_label("Choose all limits shown").check()
    bulk.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove 4 limits").click()
    expect(page.get_by_text("No limits: everyone may use what the machines have.")).to_be_visible()
    assert quotas_of(pages) == []


def test_an_exception_with_an_end_stands_beside_what_it_excepts(pages, page):
    row(page, "member:ml").get_by_role("button", name="Except for a time").click()
    dialog = page.get_by_role("dialog", name="Except for a time")
    dialog.get_by_label("At most").fill("4")
    dialog.get_by_label("Only until").fill("2031-05-01")
    dialog.get_by_label("Why").fill("the paper's deadline")
    dialog.get_by_role("button", name="Add the exception").click()
    page.get_by_role("button", name="Add the limit").click()
    expect(row(page, "member:ml", "2031-05-01")).to_contain_text("4 GPUs")
    expect(row(page, "member:ml", "2031-05-01")).to_contain_text("the paper's deadline")
    expect(row(page, "member:ml")).to_have_count(2)


def test_a_limit_that_is_wrong_is_refused_beside_what_was_typed(pages, page):
    page.get_by_role("button", name="Add a limit").click()
    dialog = page.get_by_role("dialog", name="Add a limit")
    dialog.get_by_label("Whose").select_option("person")
    dialog.get_by_label("Name").fill("No Such Name!")
    dialog.get_by_label("At most").fill("1")
    dialog.get_by_role("button", name="Add the limit").click()
    expect(dialog.get_by_role("alert")).to_contain_text("person:NAME")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert len(quotas_of(pages)) == 3


def test_yaml_goes_out_and_comes_back_with_what_would_change(pages, page):
    with page.expect_download() as download:
        page.get_by_role("link", name="Export YAML").click()
    text = Path(download.value.path()).read_text()
    assert download.value.suggested_filename == "quotas.yaml"
    page.get_by_role("button", name="Apply YAML").click()
    dialog = page.get_by_role("dialog", name="Apply YAML")
    for wrong in ("a: [", "quotas: [{who: nobody-at-all}]", "a: &a [1]\nb: *a"):
        dialog.get_by_label("Or its text").fill(wrong)
        dialog.get_by_role("button", name="Look what would change").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Or its text").fill(text.replace("runs: 10", "runs: 20"))
    dialog.get_by_role("button", name="Look what would change").click()
    asked = page.get_by_role("dialog", name="Apply this YAML?")
    expect(asked).to_contain_text("everyone: 20 runs at once, was 10 runs at once.")
    asked.get_by_role("button", name="Apply it").click()
    expect(row(page, "everyone", "Runs")).to_contain_text("20 runs")


def test_the_history_says_who_changed_what_and_leads_back(pages, page):
    quotas_are(pages, {"quotas": []})
    page.get_by_role("link", name="History").click()
    past = page.locator("tbody tr").filter(has_text="everyone: 10 runs at once, taken away.")
    expect(past.first).to_contain_text(pages.root)
    page.get_by_role("button", name="Go back to").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("everyone: 10 runs at once, new.")
    dialog.get_by_role("button", name="Go back to").click()
    expect(page.get_by_text("The quotas are those of version")).to_be_visible()
    assert len(quotas_of(pages)) == 3


def test_a_lead_reads_what_concerns_their_team_and_changes_nothing(pages, browser):
    quotas_are(
        pages,
        {
            "contact": "help@example.org",
            "quotas": [*QUOTAS["quotas"], {"who": "team:others", "at_once": {"runs": 1}}],
        },
    )
    with pages.window(browser, LENA) as page:
        page.goto(f"{PAGES}quotas")
        expect(row(page, "team:ml")).to_be_visible()
        expect(page.get_by_text("team:others")).to_have_count(0)
        expect(page.get_by_role("button", name=re.compile("Add|Remove|Except"))).to_have_count(0)
        assert page.goto(f"{PAGES}quotas/history").status == 403
        assert page.goto(f"{PAGES}quotas/export").status == 403
    with pages.window(browser, MAX) as page:
        assert page.goto(f"{PAGES}quotas").status == 403
        refusal = page.get_by_role("alert")
        expect(refusal).to_contain_text("administrators and leads of teams")
        expect(refusal).to_contain_text("Ask help@example.org.")


def test_markup_in_a_reason_is_shown_and_not_run(pages, browser):
    said = [
        {"who": f"person:p{number}", "reason": each, "at_once": {"runs": 1}}
        for number, each in enumerate(MARKUP)
    ]
    quotas_are(pages, {"quotas": said})
    with pages.window(browser, pages.root, bypass_csp=True) as page:
        for path in ("quotas", "quotas/history"):
            page.goto(f"{PAGES}{path}")
            for each in MARKUP:
                expect(page.get_by_text(each).first).to_be_visible()
            page.goto(
                f"{PAGES}{path}?{urlencode({'search' if path == 'quotas' else 'cursor': each})}"
            )
        assert page.evaluate("window.ran") is None


# ------------------------------------------------------------------------- people and requests


def test_people_are_found_with_what_they_may_use_and_where_that_comes_from(pages, browser):
    quotas_are(pages, QUOTAS)
    with pages.window(browser, pages.root) as page:
        page.goto(f"{PAGES}people")
        people = page.locator("#standing tbody tr")
        expect(people.filter(has_text=SAM)).to_be_visible()
        page.get_by_label("Search by name").fill(MAX)
        page.keyboard.press("Enter")
        expect(people).to_have_count(1)
        people.get_by_text("3 limits").click()
        expect(people).to_contain_text("GPUs at once: 0 of 2 GPUs, for ml")
        expect(people).to_contain_text("from the limit of a member of the team 'ml'")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0].startswith("name,kind,resource,window,team,limit,used")
        assert len(lines) == 4
        page.get_by_label("Used", exact=True).select_option("over 80 %")
        expect(page.get_by_text("Nobody fits that.")).to_be_visible()
        page.get_by_role("link", name="Teams", exact=True).click()
        expect(people.filter(has_text="ml")).to_contain_text("1 limit")


def test_a_lead_sees_the_people_of_the_team_and_nobody_else(pages, browser):
    with pages.window(browser, LENA) as page:
        page.goto(f"{PAGES}people")
        people = page.locator("#standing tbody tr")
        expect(people.filter(has_text=MAX)).to_be_visible()
        expect(people.filter(has_text=SAM)).to_have_count(0)
    with pages.window(browser, MAX) as page:
        for path in ("people", "people/csv", "people/requests"):
            assert page.goto(f"{PAGES}{path}").status == 403


def test_who_asks_for_more_gets_it_from_a_lead_and_sees_the_answer(pages, browser):
    quotas_are(pages, QUOTAS)
    with pages.window(browser, MAX) as asking, pages.window(browser, LENA) as deciding:
        for gpus in ("4", "8"):
            asking.goto(PAGES)
            asking.get_by_role("button", name="Ask for more").click()
            dialog = asking.get_by_role("dialog", name="Ask for more")
            dialog.get_by_label("For", exact=True).select_option("ml")
            dialog.get_by_label("Of what").select_option("GPUs at once")
            dialog.get_by_label("How much").fill(gpus)
            until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
            dialog.get_by_label("Until").fill(until)
            dialog.get_by_label("Why").fill(f"{gpus} <b>at once</b>")
            dialog.get_by_role("button", name="Ask for it").click()
            mine = asking.get_by_role("region", name="What I have asked for")
            expect(mine.get_by_role("row").filter(has_text=f"{gpus} GPUs")).to_contain_text("open")
        deciding.goto(PAGES)
        deciding.get_by_role("link", name="2 requests wait for you").click()
        asked = deciding.locator("#requests tbody tr")
        expect(asked.filter(has_text="4 GPUs")).to_contain_text("4 <b>at once</b>")
        asked.filter(has_text="4 GPUs").get_by_role("button", name="Approve").click()
        deciding.get_by_role("dialog").get_by_role("button", name="Approve").click()
        expect(asked.filter(has_text="4 GPUs")).to_contain_text("approved")
        asked.filter(has_text="8 GPUs").get_by_role("button", name="Decline").click()
        dialog = deciding.get_by_role("dialog")
        dialog.get_by_label("A word to them").fill("there are six")
        dialog.get_by_role("button", name="Decline").click()
        expect(asked.filter(has_text="8 GPUs")).to_contain_text("declined")
        asking.goto(f"{PAGES}?team=ml")
        mine = asking.get_by_role("region", name="What I have asked for")
        expect(mine.get_by_role("row").filter(has_text="8 GPUs")).to_contain_text("there are six")
        have = asking.get_by_role("region", name="What I have and").get_by_role("row")
        expect(have.filter(has_text=f"member:ml/{MAX}")).to_contain_text("4 GPUs")
