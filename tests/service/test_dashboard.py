"""The dashboard for Grafana asks for nothing that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from element_jupyter.core.resources.samples import DiskUsage, GpuUsage, Sample, ServerUsage
from element_jupyter.server.resource_metrics import ResourceMetrics

DASHBOARDS = sorted((Path(__file__).parents[2] / "hub_config" / "grafana").glob("*.json"))
MEASURED = Sample(
    at=datetime(2026, 11, 21, tzinfo=UTC),
    server=ServerUsage(
        cpu_cores=1,
        cpu_limit_cores=2,
        cpu_limit_source="this machine",
        memory_bytes=1,
        memory_limit_bytes=2,
        memory_limit_source="this machine",
    ),
    disks=(DiskUsage(name="home", path="/", used_bytes=1, size_bytes=2),),
    gpus=(GpuUsage(index=0, name="GPU", utilization=0.5, memory_bytes=1, memory_size_bytes=2),),
    kernels=(),
)


@pytest.fixture(scope="module", params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request) -> dict[str, Any]:
    return dict(json.loads(request.param.read_text()))


def asked(dashboard: dict[str, Any]) -> set[str]:
    """The metrics of all expressions."""
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    return set(re.findall(r"\belement_\w+", " ".join(expressions)))


def served(exposition: str) -> Iterator[str]:
    """The series that a `/metrics` tells of."""
    for name, kind in re.findall(r"^# TYPE (element_\w+) (\w+)", exposition, re.MULTILINE):
        yield from (f"{name}_bucket", f"{name}_sum", f"{name}_count") * (kind == "histogram")
        yield name


async def test_every_metric_of_the_dashboard_is_served(plane, dashboard):
    of_servers = CollectorRegistry()
    ResourceMetrics(SimpleNamespace(latest=MEASURED, listener_count=0, death_counts={}), of_servers)
    there = {
        *served((await plane.client.get(f"{plane.url}/metrics")).text),
        *served(generate_latest(of_servers).decode()),
    }

    assert asked(dashboard)
    assert asked(dashboard) - there == set()


def test_the_dashboard_has_what_grafana_imports(dashboard):
    assert isinstance(dashboard["schemaVersion"], int)
    assert re.fullmatch(r"[\w-]{1,40}", dashboard["uid"])
    assert dashboard["id"] is None
    assert dashboard["title"]
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == source
            names = [target["refId"] for target in panel["targets"]]
            assert len(set(names)) == len(names) > 0
            assert all(target["datasource"] == source for target in panel["targets"])


def test_grafana_s_own_models_know_every_field_of_the_dashboard_and_its_panels(dashboard):
    register_default_plugins()

    read = Dashboard.from_json(dashboard)

    assert {type(panel).__name__ for panel in read.panels} == {"Panel", "RowPanel"}
    written = json.loads(JSONEncoder().encode(read))
    assert _lost(dashboard, written) == ["id"]  # which is null until Grafana gives one


def _lost(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """The places at which theirs lacks what ours has, or says something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            lost
            for name, value in ours.items()
            for lost in _lost(value, theirs.get(name, ...), f"{place}.{name}".lstrip("."))
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            lost
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
            for lost in _lost(one, other, f"{place}[{number}]")
        ]
    return [] if ours == theirs else [place]
