"""With nothing but JupyterLab, a notebook runs in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil
import pytest
from playwright.sync_api import Page, expect

from element_jupyter.platform.state import read_state
from tests.platform_fixture import free_ports
from tests.server.running import Lab
from tests.ui.conftest import running_jupyterlab

pytestmark = pytest.mark.browser


@pytest.fixture
def lab_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as people install it; what it starts is ended."""
    home = tmp_path_factory.mktemp("lab")
    with running_jupyterlab(home, {"ELEMENT_ON_DEMAND_SECONDS": "600", **free_ports()}) as lab:
        yield lab
        if (state := read_state(lab.data / "state.json")) is not None:
            up = psutil.Process(state.pid)
            up.terminate()
            up.wait(60)


def test_what_runs_notebooks_is_started_when_one_is_to_run_and_from_the_list_of_runs(
    lab_alone: Lab, open_notebook: Callable[[Lab], Page]
):
    page = open_notebook(lab_alone)

    page.get_by_role("button", name="Run this notebook in the background now").click()

    expect(page.get_by_text("Running daily.ipynb in the background.")).to_be_visible()
    expect(page.get_by_text("daily.ipynb has run.")).to_be_visible(timeout=180_000)
    state = read_state(lab_alone.data / "state.json")
    assert state is not None
    assert (state.on_demand, state.airflow_url) == (True, None)

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Jobs").click()
    panel = page.locator(".jp-ElementJobs")
    row = panel.get_by_role("row").filter(has_text="daily.ipynb")
    expect(row).to_have_count(1)
    up = psutil.Process(state.pid)
    up.terminate()
    up.wait(60)
    panel.get_by_role("button", name="Refresh").click()
    expect(panel.get_by_role("alert")).to_contain_text("Not updated since")

    panel.get_by_role("button", name="Start what runs notebooks").click()

    expect(panel.get_by_role("alert")).to_have_count(0, timeout=180_000)
    expect(row).to_have_count(1)
    again = read_state(lab_alone.data / "state.json")
    assert again is not None
    assert again.pid != state.pid
