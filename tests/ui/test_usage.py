"""What a person sees of what runs use: over time, of each cell, and before the next run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, expect

from element_jupyter.platform.state import read_state
from tests.fake_nvml import fake_nvml
from tests.prometheus import PROGRAM, TOOL, configuration, running_prometheus
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab
from tests.ui.accessibility import THEMES, use_theme, violations
from tests.ui.runs import OpenRun, client, finish, start, waits_for

pytestmark = pytest.mark.browser

DASHBOARD = Path(__file__).parents[2] / "hub_config/grafana/element.json"
METRICS = ("element_requests_total", "element_gpu_memory_bytes")
SECTION = ".jp-ElementRun-resources"


def test_cpu_and_memory_are_drawn_while_a_run_goes_on_and_when_it_has_ended(
    lab_with_platform: Lab, open_run: OpenRun, tmp_path: Path
):
    lab, gate = lab_with_platform, tmp_path / "go"
    run_id = start(lab, "hungry.ipynb", "held = bytearray(200_000_000)", waits_for(gate))
    page = open_run(lab, run_id)
    page.get_by_text("Resources", exact=True).click()
    memory = page.get_by_role("img", name=re.compile("^Memory: at most .* MiB, on average"))
    # not "visible": a line that is quite flat has no height
    expect(memory.locator("polyline")).to_have_count(1)
    expect(page.get_by_role("img", name=re.compile("^CPU: at most .* cores"))).to_be_visible()
    before = memory.locator("polyline").get_attribute("points")
    expect(memory.locator("polyline")).not_to_have_attribute("points", before or "")

    gate.touch()
    finish(lab, run_id)

    expect(page.locator(SECTION)).to_contain_text(re.compile(r"processor time · \d+ MiB of memory"))
    expect(page.locator(SECTION).get_by_text("GPU")).to_have_count(0)
    first = page.get_by_role("group", name="Cell 1", exact=True)
    expect(first.get_by_title("The highest memory while it ran")).to_have_text(re.compile("MiB"))

    again = open_run(lab, run_id, width=320)
    again.get_by_text("Resources", exact=True).click()
    expect(again.get_by_role("img", name=re.compile("^Memory"))).to_be_visible()
    view = again.locator(".jp-ElementRun")
    assert view.evaluate("each => each.scrollWidth <= each.clientWidth")
    expect(
        again.get_by_role("group", name="Cell 1", exact=True).get_by_title("The highest memory")
    ).to_have_text(re.compile("MiB"))
    for theme in THEMES:
        use_theme(page, theme)
        assert violations(page, SECTION) == []


def test_before_the_next_run_it_is_said_what_the_last_ones_needed(
    lab_with_platform: Lab, browser: Browser
):
    lab = lab_with_platform
    runs = [start(lab, "often.ipynb", f"x = {number}") for number in range(3)]
    assert [finish(lab, run_id)["state"] for run_id in runs] == ["succeeded"] * 3

    page = browser.new_page(locale="en-US")
    page.goto(f"{lab.url}lab/workspaces/a/tree/{quote('often.ipynb')}?reset&token={JUPYTER_TOKEN}")
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
    page.get_by_role("button", name="Run this notebook at set times").click()

    expect(page.get_by_role("dialog").locator(".jp-ElementPreflight")).to_contain_text(
        re.compile(r"The last 3 runs needed up to \d+ MiB of memory; the size Small is enough\.")
    )
    page.close()


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Lab]:
    """A server with a GPU, at an address that Prometheus can ask: it writes no %40."""
    nvml = fake_nvml(tmp_path / "nvml")
    nvml.say("device 71 3000000000 80000000000 NVIDIA H100")
    home = tmp_path / "jupyter"
    with running_lab(home, base_url="/", variables=nvml.variables) as lab:
        yield lab


@pytest.mark.skipif(not PROGRAM.exists(), reason="Debian's package prometheus is not installed")
def test_every_chart_of_the_dashboard_has_something_to_draw_in_a_real_prometheus(
    lab_with_platform: Lab, jupyter: Lab, tmp_path: Path
):
    lab = lab_with_platform
    assert finish(lab, start(lab, "counted.ipynb", "x = 1"))["state"] == "succeeded"
    state = read_state(lab.data / "state.json")
    assert state is not None
    token = (lab.data / "token").read_text().strip()
    jobs = {"element": (state.service_url, token), "jupyter": (jupyter.url, JUPYTER_TOKEN)}
    for url, sign_in in (
        (state.service_url, f"Bearer {token}"),
        (jupyter.url, f"token {JUPYTER_TOKEN}"),
    ):
        told = httpx.get(
            f"{url.rstrip('/')}/metrics", headers={"Authorization": sign_in}, trust_env=False
        ).text
        ours = [line for line in told.splitlines() if re.match(r"(# \w+ )?element_", line)]
        checked = subprocess.run(
            [TOOL, "check", "metrics"], input="\n".join(ours) + "\n", capture_output=True, text=True
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), url

    empty, unnamed = set(), []
    with (
        client(jupyter) as page,
        page.stream("GET", "element/api/v1/resources/events"),  # so that it is measured each second
        running_prometheus(configuration(tmp_path, jobs), *METRICS) as prometheus,
    ):
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", ()):
                series = prometheus.ask(target["expr"].replace("$__rate_interval", "1m"))
                if not series:
                    empty.add(target["expr"])
                wanted = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
                unnamed += [panel["title"] for each in series if wanted - each["metric"].keys()]

    # nothing came due
    assert empty <= {"sum by (state) (increase(element_fires_total[1h]))"}
    assert unnamed == []
