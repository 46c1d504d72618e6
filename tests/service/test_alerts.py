"""Alerts for Prometheus: their rules by its own tool, and by one that reads a control plane."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from element_jupyter.adapters.sql.allocation_store import SqlAllocations
from element_jupyter.adapters.sql.database import connect
from element_jupyter.core.quotas.allocations import Claim, Ended, server_allocation
from element_jupyter.core.sizes import Size
from tests.cli.control_plane import ControlPlane
from tests.platform_fixture import wait_until
from tests.prometheus import PROGRAM, RULES, TOOL, configuration, running_prometheus

DASHBOARD = RULES.parents[1] / "grafana" / "quotas.json"
QUOTAS = """
quotas:
  - {who: everyone, largest: {cpu: 4}, budgets: [{per: 7 days, gpu_hours: 9}]}
  - {who: 'team:ml', budgets: [{per: 30 days, gpu_hours: 10}]}
"""
SIZE = Size(name="gpu", cpu=2, memory_bytes=8 << 30, gpu=1, price_per_hour=3)

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="Debian's package prometheus is not installed"
)


def test_each_alert_says_what_it_means_and_what_to_do_and_promtool_takes_it(tmp_path):
    checked = subprocess.run([TOOL, "check", "rules", RULES], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_alerts_fire_when_they_should_and_not_before(tmp_path):
    said = yaml.safe_load(Path(__file__).with_name("alerts.yml").read_text())
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump(said | {"rule_files": [str(RULES)]}))

    tested = subprocess.run([TOOL, "test", "rules", file], capture_output=True, text=True)

    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.fixture
async def plane(tmp_path, database_url):
    """A control plane in which the team ml has used 9 of 10 GPU-hours, and has a server."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "quotas.yaml").write_text(QUOTAS)
    plane = ControlPlane(data, database_url)
    try:
        yield plane
    finally:
        plane.end()


@pytest.fixture
async def used(plane, database_url):
    engine = connect(database_url)
    store = SqlAllocations(engine)
    now = datetime.now(UTC)
    before = server_allocation("ada", "", "ml", SIZE, now - timedelta(hours=10))
    await store.reserve(Claim(before), begun=True)
    await store.release(before.id, Ended(ended_at=now - timedelta(hours=1)))
    open_now = server_allocation("ada", "open", "ml", SIZE, now)
    await store.reserve(Claim(open_now), begun=True)
    await engine.dispose()


def test_a_budget_that_is_nearly_used_up_fires_and_every_chart_has_something_to_draw(
    used, plane, tmp_path
):
    plane.end()
    plane.start()  # which reads at once what is used
    token = (plane.data / "token").read_text().strip()
    config = configuration(tmp_path, {"element": (plane.url, token)})
    with running_prometheus(config, "element_team_budget_used_ratio") as prometheus:
        wait_until(lambda: "ElementTeamBudgetNear" in prometheus.firing(), 60, prometheus.targets)
        alert = prometheus.firing()["ElementTeamBudgetNear"]
        charts = [
            (panel["title"], target)
            for panel in json.loads(DASHBOARD.read_text())["panels"]
            for target in panel.get("targets", ())
        ]
        drawn = {
            title: prometheus.ask(target["expr"].replace("$__rate_interval", "1m"))
            for title, target in charts
        }
        named = {
            title: re.findall(r"{{(\w+)}}", target["legendFormat"]) for title, target in charts
        }

    assert alert["labels"]["team"] == "ml"
    assert re.fullmatch(
        r"90(\.\d+)?% of its gpu_hours per 30 days is used\.", alert["annotations"]["description"]
    )
    # nothing has been measured
    assert {title for title, series in drawn.items() if not series} == {"What is kept"}
    for title, series in drawn.items():
        assert all(set(named[title]) <= each["metric"].keys() for each in series), title
    (cost,) = drawn["What an hour of what is open costs"]
    assert (cost["metric"]["team"], float(cost["value"][1])) == ("ml", 3.0)
