"""What a person sees of a notebook's environment, in a real browser with real kernels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.package_index import PackageIndex
from tests.server.running import JUPYTER_TOKEN, Lab
from tests.ui.accessibility import violations
from tests.ui.complaints import hear
from tests.ui.conftest import running_jupyterlab
from tests.ui.markup import MARKUP

pytestmark = pytest.mark.browser

BUILDING = re.compile("building|waiting|resolving|downloading|installing|checking")
PRINT_LEGS = "import chairs; print('legs:', chairs.LEGS)"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as index:
        index.wheel("chairs", "1.0", files={"chairs.py": "LEGS = 4\n"})
        index.wheel("chairs", "2.0", files={"chairs.py": "LEGS = 5\n"})
        index.wheel("tables", "1.0", requires=["chairs<2"])
        index.wheel("stools", "3.1", requires=["chairs>=2"])
        yield index


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, index: PackageIndex) -> Iterator[Lab]:
    """JupyterLab with an empty store, and an index of ours before PyPI."""
    home = tmp_path_factory.mktemp("lab")
    shared = home / "shared" / "furniture"
    shared.mkdir(parents=True)
    (shared / "requirements.txt").write_text("tables\n")
    variables = {
        "ELEMENT_ENVIRONMENTS_DIR": str(shared.parent),
        "ELEMENT_INDEX_URLS": f"{index.url} https://pypi.org/simple",
        "ELEMENT_ENVIRONMENT_STORE": str(home / "store"),
    }
    with running_jupyterlab(home, variables) as lab:
        yield lab


@pytest.fixture
def slow_index(index: PackageIndex) -> Iterator[PackageIndex]:
    """The index answers late, until the test ends or sets it right."""
    index.delay_seconds = 0.5
    yield index
    index.delay_seconds = 0


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """One window for all, so that JupyterLab is fetched once."""
    window = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US")
    yield window
    window.close()


@pytest.fixture
def open_project(window: BrowserContext, lab: Lab) -> Iterator[Open]:
    """Write a project below the root and open its notebook; nothing may have gone wrong in it."""
    complaints: list[str] = []
    with contextlib.ExitStack() as pages:

        def opened(
            directory: str, files: Mapping[str, str], *cells: str, name: str = "a.ipynb"
        ) -> Page:
            project = lab.root / directory
            project.mkdir()
            for file, text in files.items():
                (project / file).write_text(text)
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            )
            nbformat.write(notebook, project / name)
            page = window.new_page()
            pages.callback(page.close)
            hear(page, complaints)
            path = quote(f"{directory}/{name}")
            page.goto(f"{lab.url}lab/workspaces/env/tree/{path}?reset&token={JUPYTER_TOKEN}")
            expect(page.get_by_role("tab", name=name)).to_be_visible()
            return page

        yield opened
    assert complaints == []


def indicator(page: Page) -> Locator:
    return page.locator(".jp-ElementIndicator").get_by_role("button")


def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Environment", exact=True)


def restart_to_update(page: Page) -> None:
    # Jupyter Server mixes up its connections when a kernel is restarted that has just begun
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    panel(page).get_by_role("button", name="Restart kernel to update").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()


def run_first_cell(page: Page) -> Locator:
    """Run the first cell; its output."""
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    return page.locator(".jp-Notebook .jp-OutputArea").first


def test_opening_a_notebook_builds_its_environment_and_the_kernel_has_it(
    open_project: Open, slow_index: PackageIndex
):
    page = open_project("first", {"requirements.txt": "chairs==1.0\n"}, PRINT_LEGS)

    expect(indicator(page)).to_contain_text("requirements.txt")
    expect(indicator(page)).to_contain_text(BUILDING)
    slow_index.delay_seconds = 0
    expect(indicator(page)).to_contain_text("✓ ready", timeout=180_000)

    expect(run_first_cell(page)).to_contain_text("legs: 4")


def test_a_conflict_is_told_in_words_in_the_panel_and_by_the_kernel(open_project: Open):
    page = open_project("torn", {"requirements.txt": "tables\nstools\n"}, PRINT_LEGS)
    expect(indicator(page)).to_contain_text("failed")

    indicator(page).click()

    alert = panel(page).get_by_role("alert")
    expect(alert).to_contain_text("chairs<2")
    expect(alert).to_contain_text("chairs>=2")
    expect(alert).to_contain_text("requirements.txt:2")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    expect(run_first_cell(page)).to_contain_text("chairs>=2")


def test_editing_the_definition_builds_ahead_and_a_restart_brings_the_new_one(open_project: Open):
    page = open_project("edited", {"requirements.txt": "chairs==1.0\n"}, PRINT_LEGS)
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("legs: 4")

    files = page.get_by_role("region", name="File Browser Section")
    files.get_by_text("requirements.txt").dblclick()
    editor = page.locator(".jp-FileEditor .cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("chairs==2.0\n")
    page.keyboard.press("Control+S")
    page.get_by_role("tab", name="a.ipynb").click()

    expect(indicator(page)).to_contain_text("changed: restart to update")
    page.get_by_role("alert").get_by_role("button", name="Restart kernel").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("legs: 5")


def test_the_tooltip_says_what_was_found_and_not_used(open_project: Open):
    page = open_project(
        "several",
        {
            "requirements.txt": "chairs==1.0\n",
            "requirements.in": "chairs\n",
            "postBuild": "exit 1\n",
        },
    )

    expect(indicator(page)).to_have_attribute("title", re.compile(r"^requirements\.txt: It is"))
    tooltip = indicator(page).get_attribute("title") or ""
    assert "Not used: requirements.in, because" in tooltip
    assert "Not used: postBuild, because" in tooltip


def test_a_package_is_added_to_the_definition_from_the_panel(open_project: Open, lab: Lab):
    page = open_project("grown", {"requirements.txt": "chairs\n"}, "import tables; print('yes')")
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()

    panel(page).get_by_label("Add a package to the definition").fill("tables>=1")
    panel(page).get_by_role("button", name="Add", exact=True).click()

    panel(page).get_by_role("button", name="Restart kernel to update").click()
    assert "tables>=1" in (lab.root / "grown" / "requirements.txt").read_text()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("yes")


def test_newer_versions_are_taken_when_a_person_asks_for_them(
    open_project: Open, index: PackageIndex
):
    index.wheel("desks", "1.0", files={"desks.py": "LEGS = 4\n"})
    page = open_project(
        "aged", {"requirements.txt": "desks\n"}, "import desks; print('legs:', desks.LEGS)"
    )
    expect(indicator(page)).to_contain_text("✓ ready")
    index.wheel("desks", "2.0", files={"desks.py": "LEGS = 2\n"})
    indicator(page).click()

    panel(page).get_by_role("button", name="Update lock…").click()
    page.get_by_role("dialog").get_by_role("button", name="Update lock").click()

    restart_to_update(page)
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("legs: 2")


def test_the_list_of_environments_says_who_uses_what(open_project: Open):
    page = open_project("listed", {"requirements.txt": "chairs==1.0\n"}, PRINT_LEGS)
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()

    mine = panel(page).get_by_role("listitem").filter(has_text="this notebook")

    expect(mine).to_contain_text("requirements.txt")
    expect(mine).to_contain_text(re.compile(r"Python 3\.\d+\.\d+, \d+ packages"))
    expect(mine).to_contain_text("kernel of listed/a.ipynb")
    panel(page).get_by_text("Packages", exact=True).last.click()
    panel(page).get_by_label("Filter the packages by name").fill("CHAIR")
    expect(panel(page).get_by_role("listitem").filter(has_text="chairs")).to_contain_text("1.0")


def test_the_definition_is_opened_and_what_nothing_uses_is_deleted(
    open_project: Open, index: PackageIndex
):
    index.wheel("hooks", "1.0", files={"hooks.py": ""})  # of no other notebook here
    page = open_project("spare", {"requirements.txt": "hooks\n"}, "import hooks")
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()
    panel(page).get_by_role("button", name="Edit definition").click()
    editor = page.locator(".jp-FileEditor .cm-content")
    expect(editor).to_contain_text("hooks")

    editor.press("End")
    editor.press_sequentially("  # to hang things on")
    page.keyboard.press("Control+s")
    page.get_by_role("tab", name="a.ipynb").click()
    mine = panel(page).get_by_role("listitem").filter(has_text="this notebook")
    expect(mine.get_by_role("button", name="Copy lock")).to_be_visible()
    expect(mine.get_by_role("button", name="Delete…")).to_have_count(0)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    mine.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("requirements.txt")
    dialog.get_by_role("button", name="Delete environment").click()

    expect(mine).to_have_count(0)
    expect(indicator(page)).to_contain_text("not built yet")


def test_pip_offers_a_restart_below_the_cell(open_project: Open):
    page = open_project("piped", {"requirements.txt": "chairs\n"}, "%pip install tables")
    expect(indicator(page)).to_contain_text("✓ ready")

    output = run_first_cell(page)
    expect(output).to_contain_text("Add tables to requirements.txt?")
    page.keyboard.press("Enter")
    output.get_by_role("button", name="Restart kernel").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()

    expect(indicator(page)).to_contain_text("✓ ready")
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("import tables; print('yes')")
    expect(run_first_cell(page)).to_contain_text("yes")


def test_a_build_is_followed_again_after_the_page_was_loaded_anew(
    open_project: Open, slow_index: PackageIndex
):
    slow_index.wheel("shelves", "1.0")
    page = open_project(
        "reloaded", {"requirements.txt": "shelves\n"}, "import shelves; print('yes')"
    )
    expect(indicator(page)).to_contain_text(BUILDING)

    page.reload()

    expect(indicator(page)).to_contain_text(BUILDING)
    slow_index.delay_seconds = 0
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("yes")


def test_a_build_is_cancelled_and_tried_again(open_project: Open, slow_index: PackageIndex):
    slow_index.delay_seconds = 5
    slow_index.wheel("lamps", "1.0")
    page = open_project("cancelled", {"requirements.txt": "lamps\n"}, "1")
    expect(indicator(page)).to_contain_text(BUILDING)
    indicator(page).click()

    panel(page).get_by_role("button", name="Cancel the build").click()

    expect(indicator(page)).to_contain_text("failed")
    slow_index.delay_seconds = 0
    panel(page).get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(indicator(page)).to_contain_text(re.compile("ready|changed"))


def test_what_is_not_trusted_is_built_once_a_person_trusts_it(open_project: Open):
    with PackageIndex() as other:
        other.wheel("curtains", "1.0")
        page = open_project(
            "untrusted",
            {"requirements.txt": f"--extra-index-url {other.url}\ncurtains\n"},
            "import curtains; print('yes')",
        )
        expect(indicator(page)).to_contain_text("failed")
        indicator(page).click()
        expect(panel(page).get_by_role("alert")).to_contain_text(other.url.rstrip("/"))

        panel(page).get_by_role("button", name="Trust these and build").click()

        restart_to_update(page)
        expect(indicator(page)).to_contain_text("✓ ready")
        expect(run_first_cell(page)).to_contain_text("yes")


def test_a_ready_made_environment_is_used_by_its_name(open_project: Open, lab: Lab):
    page = open_project("sharing", {"requirements.txt": "chairs\n"}, "import tables; print('yes')")
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()

    choice = panel(page).get_by_label("Use a ready-made environment")
    choice.select_option("furniture")
    panel(page).get_by_role("button", name="Use", exact=True).click()

    restart_to_update(page)
    expect(indicator(page)).to_contain_text(re.compile("furniture.*✓ ready"))
    expect(run_first_cell(page)).to_contain_text("yes")
    saved = nbformat.read(lab.root / "sharing" / "a.ipynb", as_version=4)
    assert saved.metadata["element"] == {"environment": {"name": "furniture"}}


def test_markup_in_names_and_requirements_is_shown_and_never_run(open_project: Open, lab: Lab):
    directory = "<img src=x onerror=window.ran=1>"
    page = open_project(directory, {"requirements.txt": "chairs ==\n"}, "1")
    expect(indicator(page)).to_contain_text("failed")
    indicator(page).click()
    alert = panel(page).get_by_role("alert")

    for markup in MARKUP:
        changed = lab.root / directory / "changed"
        changed.write_text(f"chairs\n{markup}\n")
        changed.replace(lab.root / directory / "requirements.txt")  # never seen half written
        alert.get_by_role("button", name="Try again").click()
        expect(alert).to_contain_text(markup)

    expect(indicator(page)).to_have_attribute("title", re.compile(re.escape(MARKUP[-1])))
    assert page.evaluate("window.ran") is None
    assert panel(page).locator("img, a, iframe, script, style, svg").count() == 0


def test_an_environment_is_made_with_the_keyboard_and_what_is_wrong_is_said_at_its_field(
    open_project: Open, lab: Lab
):
    page = open_project("fresh", {"requirements.txt": "chairs==1.0\n"}, PRINT_LEGS)
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()
    panel(page).get_by_role("button", name="New…").focus()
    page.keyboard.press("Enter")
    form = panel(page).get_by_role("form", name="New environment")
    expect(form.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(panel(page).get_by_role("button", name="New…")).to_be_focused()

    page.keyboard.press("Enter")
    page.keyboard.type("mine")
    form.get_by_label("Start from").select_option("requirements.txt")
    packages = form.get_by_label("Packages")
    expect(packages).to_have_value("chairs==1.0")
    packages.fill("tables\nnot a requirement")
    expect(packages).to_have_attribute("aria-invalid", "true")  # before anything is sent
    expect(packages).to_have_accessible_description(re.compile("Line 2: 'not a requirement' is"))
    assert violations(page, ".jp-ElementPanel") == []
    packages.fill("tables\nstools")
    expect(packages).to_have_attribute("aria-invalid", "false")
    form.get_by_label("Name").press("Enter")
    alert = panel(page).get_by_role("alert")
    expect(alert).to_contain_text("chairs<2")  # the resolver's words, and the form stays
    expect(packages).to_have_value("tables\nstools")

    packages.fill("stools")
    form.get_by_role("button", name="Create").click()

    expect(form).to_have_count(0)
    assert (lab.root / "fresh" / "envs" / "mine" / "requirements.txt").read_text() == "stools\n"
    restart_to_update(page)
    expect(indicator(page)).to_contain_text("✓ ready")
    expect(run_first_cell(page)).to_contain_text("legs: 5")


def test_an_environment_is_duplicated_under_another_name(open_project: Open, lab: Lab):
    page = open_project("twice", {"requirements.txt": "tables\n"}, PRINT_LEGS)
    expect(indicator(page)).to_contain_text("✓ ready")
    indicator(page).click()
    mine = panel(page).get_by_role("listitem").filter(has_text="this notebook")

    mine.get_by_role("button", name="Duplicate…").click()

    form = panel(page).get_by_role("form", name="New environment")
    packages = form.get_by_label("Packages")
    expect(packages).to_have_value(re.compile(r"^chairs==1\.0$", re.MULTILINE))
    form.get_by_label("Name").fill("copy")
    form.get_by_role("button", name="Create").click()
    expect(form).to_have_count(0)
    expect(indicator(page)).to_contain_text("✓ ready")  # the very same packages: no restart
    pinned = (lab.root / "twice" / "envs" / "copy" / "requirements.txt").read_text()
    assert "tables==1.0\n" in pinned
