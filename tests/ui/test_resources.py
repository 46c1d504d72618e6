"""What a person sees of resources in JupyterLab, with real kernels that grow, die and are shut down."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.fake_nvml import FakeNvml, fake_nvml
from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.complaints import hear
from tests.ui.conftest import running_jupyterlab
from tests.ui.markup import MARKUP

pytestmark = pytest.mark.browser

GROW = "grown = b'1' * 300_000_000"
DIE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
WAIT = "import time\ntime.sleep(600)"
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
    document.dispatchEvent(new Event('visibilitychange'));
}"""
"""A browser without a screen hides no window."""


GPU = f"device 71 {12 * 1024**3} {80 * 1024**3} NVIDIA H100"


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    nvml = fake_nvml(tmp_path_factory.mktemp("nvml"))
    nvml.say(GPU)
    return nvml


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, nvml: FakeNvml) -> Iterator[Lab]:
    """A server with a GPU, of which its hub says that it may have 450 MiB."""
    hub = {"MEM_LIMIT": str(450 * 1024**2), **nvml.variables}
    with running_jupyterlab(tmp_path_factory.mktemp("lab"), hub) as lab:
        document = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell("# Train"),
                *map(nbformat.v4.new_code_cell, (GROW, DIE, WAIT)),
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(document, lab.root / "train.ipynb")
        yield lab


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """One window for all, so that JupyterLab is fetched once."""
    window = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    yield window
    window.close()


@pytest.fixture
def page(window: BrowserContext, lab: Lab) -> Iterator[Page]:
    """The notebook; nothing may have gone wrong in it."""
    complaints: list[str] = []
    page = window.new_page()
    hear(page, complaints)
    page.goto(f"{lab.url}lab/workspaces/resources/tree/train.ipynb?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
    yield page
    page.close()
    assert complaints == []


def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Resources", exact=True)


def show_panel(page: Page) -> Locator:
    page.locator(".jp-ElementStatus").get_by_role("button").click()
    expect(panel(page).get_by_role("meter", name="CPU")).to_be_visible()
    return panel(page)


def kernel(page: Page, name: str = "train.ipynb") -> Locator:
    return panel(page).get_by_role("listitem").filter(has_text=name)


def run_cell(page: Page, number: int) -> None:
    page.locator(".jp-Notebook .jp-Cell").nth(number - 1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def confirm(page: Page, verb: str) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("All its variables are lost.")
    dialog.get_by_role("button", name=verb).click()


def asking(lab: Lab) -> httpx.Client:
    headers = {"Authorization": f"token {JUPYTER_TOKEN}"}
    return httpx.Client(base_url=lab.url, headers=headers, trust_env=False, timeout=60)


def test_a_kernel_that_grows_is_seen_told_and_restarted_from_the_panel(page: Page):
    show_panel(page)
    expect(page.locator(".jp-ElementStatus")).to_contain_text(
        re.compile(r"CPU [\d.]+ of [\d.]+ · .*iB")
    )

    run_cell(page, 2)

    expect(kernel(page)).to_contain_text(re.compile(r"memory (3[3-9]|4\d)\d MiB"))
    expect(kernel(page)).to_contain_text("this notebook")
    memory = panel(page).get_by_role("meter", name="Memory", exact=True)
    expect(memory).to_have_attribute("aria-valuetext", re.compile("of 450 MiB, set by your hub"))
    expect(page.locator(".jp-ElementStatus")).to_contain_text("Memory nearly full")
    told = page.get_by_role("alert").filter(has_text="full; the kernel may be stopped.")
    expect(told).to_contain_text(re.compile(r"Largest: train.ipynb \d+ MiB"))
    expect(told).to_have_count(1)

    kernel(page).get_by_role("button", name="Restart the kernel of train.ipynb").click()
    confirm(page, "Restart kernel")

    expect(kernel(page)).to_contain_text(re.compile(r"memory \d\d MiB"))
    expect(page.locator(".jp-ElementStatus")).not_to_contain_text("nearly full")


def test_a_kernel_is_interrupted_and_shut_down_from_the_panel(page: Page, lab: Lab):
    show_panel(page)
    run_cell(page, 4)
    expect(kernel(page)).to_contain_text("busy")

    kernel(page).get_by_role("button", name="Interrupt train.ipynb").click()

    expect(page.locator(".jp-OutputArea").last).to_contain_text("KeyboardInterrupt")
    kernel(page).get_by_role("button", name="Shut down the kernel of train.ipynb").click()
    confirm(page, "Shut down kernel")
    expect(kernel(page)).to_have_count(0)
    with asking(lab) as jupyter:
        assert jupyter.get("api/kernels").json() == []


def test_the_past_is_there_in_a_larger_chart(page: Page):
    show_panel(page)

    panel(page).get_by_role("button", name="Memory in the last ten minutes").click()

    chart = panel(page).get_by_role("img", name=re.compile("Memory in the last hour: at most .*iB"))
    expect(chart).to_be_visible()
    panel(page).get_by_role("button", name="24 h").click()
    expect(panel(page).get_by_role("img", name="Memory in the last 24 hours")).to_be_visible()


def test_a_gpu_is_shown_until_its_driver_hangs_which_is_said(page: Page, nvml: FakeNvml):
    show_panel(page)
    busy = panel(page).get_by_role("meter", name="GPU 0", exact=True)
    expect(busy).to_have_attribute("aria-valuetext", re.compile("71"))
    memory = panel(page).get_by_role("meter", name="Memory of GPU 0")
    expect(memory).to_have_attribute("aria-valuetext", re.compile("12 of 80 GiB, NVIDIA H100"))
    expect(page.locator(".jp-ElementStatus")).to_contain_text(re.compile(r"GPU 71.%"))

    nvml.say(GPU, "hang nvmlDeviceGetMemoryInfo")
    try:
        expect(panel(page)).to_contain_text("The GPU driver does not answer.")
        expect(busy).to_have_count(0)
        expect(kernel(page)).to_contain_text("memory")
    finally:
        nvml.say(GPU)

    expect(busy).to_be_visible()
    expect(panel(page)).not_to_contain_text("does not answer")


def test_why_a_kernel_died_is_told_with_the_cell(page: Page):
    show_panel(page)
    expect(kernel(page)).to_contain_text("memory")

    run_cell(page, 3)

    told = page.get_by_role("alert").filter(has_text="train.ipynb")
    expect(told).to_contain_text("It was at cell 3: import os, signal")
    expect(told).to_have_count(1)


def test_a_window_that_is_hidden_listens_no_longer(page: Page):
    show_panel(page)

    with page.expect_event("requestfailed", lambda each: "resources/events" in each.url):
        page.evaluate(HIDE, True)
    with page.expect_request("**/resources/events"):
        page.evaluate(HIDE, False)


def test_names_are_text_in_a_narrow_panel_that_everybody_can_use(page: Page, lab: Lab):
    name = next(each for each in MARKUP if "/" not in each) + ".ipynb"
    nbformat.write(nbformat.v4.new_notebook(), lab.root / name)
    with asking(lab) as jupyter:
        session = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        jupyter.post("api/sessions", json=session).raise_for_status()
    show_panel(page)
    expect(kernel(page, name)).to_contain_text("memory")
    panel(page).get_by_role("button", name="CPU in the last ten minutes").click()

    for theme in THEMES:
        use_theme(page, theme)

        assert violations(page, ".jp-ElementStatus", ".jp-ElementPanel") == []

    assert page.evaluate("window.ran") is None
    content = panel(page).locator(".jp-ElementPanel-content")
    content.evaluate("content => { content.style.width = '240px'; }")
    assert content.evaluate("content => content.scrollWidth <= content.clientWidth")
