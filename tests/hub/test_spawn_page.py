"""The page on which a person chooses size and team, in Chromium without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.platform_fixture import wait_until
from tests.spawner_fixture import is_root, running_hub_of_accounts

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not is_root(), reason="only root makes accounts"),
]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub_of_accounts(tmp_path_factory.mktemp("page") / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM.exists(), "Chromium is not installed: `make test` does that."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(hub, browser):
    """Open the page as somebody who has just signed in."""
    contexts = []

    def opened(person, **options):
        context = browser.new_context(java_script_enabled=False, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fspawn")
        page.get_by_label("Username").fill(person)
        page.get_by_label("Password").fill("secret")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("group", name="Size")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()


def test_sizes_say_what_they_are_what_they_cost_and_what_is_free(hub, opened):
    page = opened(hub.person("ada"))

    small = page.get_by_role("listitem").or_(page.locator("label")).filter(has_text="Small")
    expect(small).to_contain_text("For <b>looking</b> around.")  # as it is written, not as HTML
    expect(small).to_contain_text("1 core · 600 MiB")
    expect(small).to_contain_text("0.05 EUR per hour")
    expect(small).to_contain_text("free now")
    huge = page.locator("label").filter(has_text="Huge")
    expect(huge).to_contain_text("900 cores · 900 GiB")
    expect(huge).to_contain_text("more than is free now")
    expect(
        page.get_by_text(re.compile(r"Free on this machine now: .+ cores?, .+ GiB"))
    ).to_be_visible()
    expect(page.get_by_role("radio", name="Small")).to_be_checked()
    expect(page.get_by_label("Team")).to_have_count(0)


def test_what_was_chosen_is_what_starts(hub, opened):
    grace = hub.person("grace", "ml:member", "ops:viewer")
    page = opened(grace)
    team = page.get_by_label("Team")
    assert team.locator("option").all_inner_texts() == [grace, "ml"]

    team.select_option("ml")
    page.get_by_role("radio", name="Tight").check()
    page.get_by_role("button", name="Start").click()

    wait_until(lambda: hub.server(grace).get("ready"), 90, hub.log)
    state = hub.state(grace)["element"]
    assert (state["team"], state["size"]["name"]) == ("ml", "tight")
    hub.stop(grace)
    page = opened(grace)
    expect(page.get_by_role("radio", name="Tight")).to_be_checked()  # as it was the last time
    expect(page.get_by_label("Team")).to_have_value("ml")


def test_a_refusal_is_on_the_page_with_what_to_do(hub, opened):
    eve = hub.person("eve", "ml:member")
    page = opened(eve)
    page.get_by_label("Team").select_option("ml")
    with hub.api() as api:
        api.request("DELETE", "/groups/ml:member/users", json={"users": [eve]})

    page.get_by_role("button", name="Start").click()

    expect(page.get_by_text(f"{eve} is not in a team 'ml'.")).to_be_visible()
    expect(page.get_by_role("group", name="Size")).to_be_visible()


def test_the_page_fits_a_narrow_window(hub, opened):
    page = opened(hub.person("ada"), viewport={"width": 320, "height": 640})

    box = page.get_by_role("group", name="Size").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320


HUNGRY = "held = []\nwhile True:\n    held.append(bytearray(b'1' * 20_000_000))"


def test_a_kernel_that_the_size_has_killed_is_said_to_with_the_numbers_and_the_cell(hub, browser):
    person = hub.person("max")
    hub.ready(person, size="small")
    cells = [*map(nbformat.v4.new_code_cell, ("x = 1", "y = 2", HUNGRY))]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    document = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    with httpx.Client(
        base_url=f"{hub.url}/user/{person}",
        headers={"Authorization": f"token {hub.token_of(person)}"},
        trust_env=False,
    ) as server:
        body = {"type": "notebook", "content": document}
        server.put("/api/contents/train.ipynb", json=body).raise_for_status()
    page = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(f"{hub.url}/hub/login?next=%2Fuser%2F{person}%2Flab%2Ftree%2Ftrain.ipynb")
    page.get_by_label("Username").fill(person)
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Sign in").click()
    status = page.locator(".jp-ElementStatus")
    expect(status).to_contain_text("of 600 MiB", timeout=90_000)

    page.locator(".jp-Notebook .jp-Cell").nth(2).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")

    told = page.get_by_role("alert").filter(has_text="memory ran out")
    expect(told).to_have_text(
        re.compile(
            r"train\.ipynb: The kernel was killed: memory ran out \(600 of 600 MiB, set by your hub\)\. "
            r"It was at cell 3: held = \[\]"
        ),
        timeout=90_000,
    )
    expect(status).to_contain_text("of 600 MiB")
    page.close()
