"""Without a platform, JupyterLab starts what runs notebooks; it gives way, and it goes again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from element_jupyter import config
from element_jupyter.core.errors import Unavailable
from element_jupyter.platform.on_demand import OnDemandPlatform
from element_jupyter.platform.state import is_running, read_state
from tests.platform_fixture import MARK, free_ports, running_platform, wait_until
from tests.provider.projects import store

Load = Callable[..., config.Element]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Settings of a data directory of one's own; in the end nothing that belongs to it is left."""
    data = tmp_path / "data"
    variables = {"ELEMENT_AIRFLOW": "false", "ELEMENT_ENVIRONMENTS": "false", **free_ports()}
    for name, value in {**variables, MARK: str(data), "JUPYTER_TOKEN": "secret"}.items():
        monkeypatch.setenv(name, value)

    def load(**arguments: Any) -> config.Element:
        return config.load(data_dir=str(data), **arguments)

    yield load
    state = read_state(data / "state.json")
    if state is not None and is_running(data / "up.lock"):
        up = psutil.Process(state.pid)
        up.terminate()
        up.wait(60)


def service(settings: config.Element) -> httpx.Client:
    state = read_state(settings.state_file)
    assert state is not None
    return httpx.Client(
        base_url=f"{state.service_url}/api/v1",
        headers={"Authorization": f"Bearer {settings.token_file.read_text().strip()}"},
        timeout=30,
        trust_env=False,
    )


def pid_of(settings: config.Element) -> int:
    state = read_state(settings.state_file)
    assert state is not None
    return state.pid


def test_a_notebook_runs_without_a_platform_and_an_up_takes_it_over(settings: Load, tmp_path: Path):
    here = settings()
    asyncio.run(OnDemandPlatform(here).start())
    began = pid_of(here)
    assert "JUPYTER_TOKEN" not in psutil.Process(began).environ()
    asyncio.run(OnDemandPlatform(here).start())
    assert pid_of(here) == began

    gate = tmp_path / "gate"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    with service(here) as client:
        snapshot_id = store(client, main=[waits])
        asked = {"notebook": "main.ipynb", "snapshot_id": snapshot_id}
        run_id = client.post("/runs", json=asked).raise_for_status().json()["run_id"]
        wait_until(lambda: client.get(f"/runs/{run_id}").json()["state"] == "running")
        nightly = {
            "team": here.owner,
            "name": "nightly",
            "owner": here.owner,
            "snapshot_id": snapshot_id,
            "schedule": {"kind": "cron", "expression": "0 6 * * *", "timezone": "UTC"},
            "tasks": [{"notebook": "main.ipynb"}],
        }
        refused = client.put(f"/jobs/{here.owner}/nightly", json=nightly)
        assert refused.status_code == 503, refused.text
        assert "element up" in refused.json()["hint"]

    with running_platform(here.data) as platform:
        assert pid_of(here) == platform.up.pid
        assert not psutil.pid_exists(began)
        gate.touch()
        with service(here) as client:
            wait_until(lambda: client.get(f"/runs/{run_id}").json()["state"] == "succeeded")


def test_it_ends_when_no_notebook_has_run_for_a_while(settings: Load, monkeypatch):
    monkeypatch.setenv("ELEMENT_ON_DEMAND_SECONDS", "0.5")
    here = settings()

    asyncio.run(OnDemandPlatform(here).start())

    wait_until(lambda: not is_running(here.data / "up.lock"), 60)
    assert read_state(here.state_file) is None


def test_where_it_is_switched_off_the_command_that_starts_the_platform_is_told(settings: Load):
    here = settings(on_demand_seconds=0)

    with pytest.raises(Unavailable, match="not running") as caught:
        asyncio.run(OnDemandPlatform(here).start())

    assert "element up" in caught.value.hint
    assert not here.data.exists()


def test_why_it_does_not_start_is_told(settings: Load, monkeypatch):
    monkeypatch.setenv("ELEMENT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")

    with pytest.raises(Unavailable, match="could not be started") as caught:
        asyncio.run(OnDemandPlatform(settings()).start())

    assert "127.0.0.1" in caught.value.details
