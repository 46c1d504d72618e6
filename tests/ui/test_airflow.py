"""From a click in JupyterLab through a real Airflow, and back to what the notebook has shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.platform_fixture import RunningPlatform, wait_until
from tests.server.running import Lab
from tests.ui.conftest import running_jupyterlab

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab_with_airflow(
    tmp_path_factory: pytest.TempPathFactory, platform: RunningPlatform
) -> Iterator[Lab]:
    """JupyterLab before the platform that other tests with Airflow share."""
    variables = {"ELEMENT_DATA_DIR": str(platform.data_dir)}
    with running_jupyterlab(tmp_path_factory.mktemp("lab"), variables) as lab:
        yield lab


def airflow_knows(platform: RunningPlatform, dag_id: str) -> bool:
    with platform.airflow() as airflow:
        return bool(airflow.get(f"/api/v2/dags/{dag_id}").is_success)


def runs_of(platform: RunningPlatform, job: str) -> list[dict[str, Any]]:
    with platform.service() as service:
        found: list[dict[str, Any]] = service.get("/runs", params={"job": job}).json()["items"]
        return found


def test_a_notebook_scheduled_by_a_click_is_run_by_airflow_and_seen_in_jupyterlab(
    lab_with_airflow: Lab,
    platform: RunningPlatform,
    open_notebook: Callable[[Lab], Page],
):
    cells = [
        nbformat.v4.new_code_cell("days = 7", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print('the last', days, 'days')"),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    nbformat.write(notebook, lab_with_airflow.root / "daily.ipynb")
    page = open_notebook(lab_with_airflow)

    page.get_by_role("button", name="Run this notebook at set times").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("On a schedule").check()
    dialog.get_by_label("Name").fill("by-a-click")
    dialog.get_by_label("days").fill("31")
    dialog.get_by_role("button", name="Schedule").click()
    toast = page.get_by_role("alert").filter(has_text="Scheduled by-a-click: next")
    toast.get_by_role("button", name="See schedules").click()

    panel = page.locator(".jp-ElementJobs")
    team = _team(platform)
    wait_until(lambda: airflow_knows(platform, f"{team}--by-a-click"), 120)
    panel.get_by_role("button", name="Run now: by-a-click").click()
    job = panel.get_by_role("row").filter(has_text="by-a-click")
    expect(job.get_by_role("list").get_by_role("listitem")).to_have_text(["Succeeded"])
    (run,) = runs_of(platform, f"{team}/by-a-click")
    assert run["dag_run_id"]

    job.get_by_role("button", name="by-a-click", exact=True).click()
    panel.get_by_role("row").filter(has_text="daily.ipynb").get_by_role("button").first.click()
    expect(page.locator(".jp-ElementRun").get_by_text("the last 31 days")).to_be_visible()


def _team(platform: RunningPlatform) -> str:
    with platform.service() as service:
        (stored,) = (
            each["stored"]["job"]
            for each in service.get("/jobs", params={"text": "by-a-click"}).json()["items"]
        )
        return str(stored["team"])
