"""The pages of quotas and usage in a real browser, behind a real Hub."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from element_jupyter.service.pages.every import PAGES as VIEWS
from element_jupyter.service.pages.view import View
from tests.platform_fixture import wait_until
from tests.ui.accessibility import violations
from tests.ui.admin_pages import LENA, MAX, PAGES, SAM
from tests.ui.complaints import hear

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
