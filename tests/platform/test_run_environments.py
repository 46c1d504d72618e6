"""Runs in their pinned environments: real locks, real builds, real kernels, on a control plane.

`tables` comes from an index of these tests' own, the kernel's packages from the real one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from element_jupyter import config
from element_jupyter.core.jobs import Job
from element_jupyter.platform.environments.composition import Environments
from element_jupyter.platform.service import serving
from tests.kernelspecs import another_python, ordinary_kernel
from tests.package_index import PackageIndex
from tests.runner.remote_plane import ElsewhereRuns
from tests.service.conftest import ControlPlane
from tests.service.run_plane import HEADERS, KeptJobs
from tests.service.run_plane import plane as a_plane

ROOT = Path(__file__).parents[2]
TELL = (
    "import os, sys, tables, element_jupyter\n"
    "store, _, name = sys.prefix.rpartition('/envs/')\n"
    "element_jupyter.record(held=os.listdir(f'{store}/held/{name}'))\n"
    "element_jupyter.record(version=tables.__version__, prefix=sys.prefix,"
    " lock=os.environ['ELEMENT_LOCK_ID'], chairs=__import__('chairs').LEGS)"
)


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as served:
        served.wheel("tables", "1.0")
        yield served


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("environments") / "store"


@dataclass
class Plane(ControlPlane):
    settings: config.Element

    async def uploaded(self, *cells: str, requirements: str = "tables") -> str:
        """Upload a project of a notebook, a module and a definition."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells or (TELL,)],
            metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        )
        return await self.snapshot(
            {
                "notebooks/tell.ipynb": nbformat.writes(notebook).encode(),
                "requirements.txt": requirements.encode(),
                "src/chairs.py": b"LEGS = 4\n",
            }
        )

    async def kept(self, **said: Any) -> dict[str, Any]:
        return await self.saved(
            name="tell", schedule=None, tasks=[{"notebook": "notebooks/tell.ipynb"}], **said
        )

    async def dropped(self, snapshot: str) -> None:
        """Write the file of a job by hand, and wait until it is there."""
        directory = self.jobs / "ada/dropped"
        directory.mkdir(parents=True)
        (directory / "job.yaml").write_text(
            f"team: ada\nname: dropped\nowner: ada\nsnapshot_id: '{snapshot}'\n"
            "tasks: [{notebook: notebooks/tell.ipynb}]\n"
        )
        while (await self.client.get("/jobs/ada/dropped")).status_code != 200:
            await asyncio.sleep(0.05)

    async def started(self, **said: Any) -> dict[str, Any]:
        answer = await self.client.post("/runs", json=said or {"job": "ada/tell"})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def ended(self, run_id: str, seconds: float = 120) -> dict[str, Any]:
        return await self.until(run_id, lambda run: run["finished_at"] is not None, seconds)

    async def until(
        self, run_id: str, condition: Callable[[dict[str, Any]], object], seconds: float = 120
    ) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not condition(run := (await self.client.get(f"/runs/{run_id}")).json()):
            assert time.monotonic() < deadline, (run, await self.notes(run_id))
            await asyncio.sleep(0.05)
        return dict(run)

    async def notes(self, run_id: str) -> list[str]:
        answer = await self.client.get(
            f"/runs/{run_id}/events", headers={"Accept": "application/json"}
        )
        return [event["message"] for event in answer.json()["items"] if event["kind"] == "note"]

    async def ran(self, **said: Any) -> dict[str, Any]:
        return await self.ended((await self.started(**said))["run_id"])


@asynccontextmanager
async def control_plane(settings: config.Element) -> AsyncIterator[Plane]:
    async with serving(settings) as url:
        headers = {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}
        base = f"{url}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
            yield Plane(url, settings.data, client, settings)
    _wait_for_builds(settings)


def _wait_for_builds(settings: config.Element) -> None:
    made = Environments(settings)
    for build in (settings.store / "builds").glob("*/events.jsonl"):
        for _ in made.events(build.parent.name):
            pass


@pytest.fixture
def configured(tmp_path, database_url, index, store, monkeypatch) -> Callable[..., config.Element]:
    def configure(**more: str) -> config.Element:
        values = {
            "ENVIRONMENT_STORE": str(store),
            "INDEX_URLS": f"{index.url} https://pypi.org/simple",
            "DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": database_url,
            "OWNER": "ada",
            "AIRFLOW": "False",
            "ENVIRONMENTS": "True",
        } | more
        for name, value in values.items():
            monkeypatch.setenv(f"ELEMENT_{name}", value)
        return config.load()

    return configure


@pytest.fixture
async def plane(configured) -> AsyncIterator[Plane]:
    async with control_plane(configured()) as served:
        yield served


async def test_a_run_has_the_environment_of_its_job_and_records_without_element_in_it(plane):
    stored = await plane.kept(snapshot_id=await plane.uploaded())
    pin = stored["pins"]["main"]
    run = await plane.ran()
    assert run["state"] == "succeeded", (run, await plane.notes(run["run_id"]))
    assert {key: run[key] for key in pin} == pin
    assert run["recorded"]["version"] == "1.0"
    assert run["recorded"]["chairs"] == 4
    assert run["recorded"]["lock"] == pin["lock_id"]
    assert any(run["run_id"] in name for name in run["recorded"]["held"])
    assert Path(run["recorded"]["prefix"]).name == pin["environment_id"]
    saved = json.loads(Path(run["output_path"]).read_text())
    assert saved["metadata"]["element"]["run"] == {
        "environment_id": pin["environment_id"],
        "lock_id": pin["lock_id"],
        "snapshot_id": stored["job"]["snapshot_id"],
    }


async def test_a_newer_version_elsewhere_changes_nothing_for_a_job_that_is_saved(
    configured, index, tmp_path
):
    index.wheel("tables", "1.0")
    async with control_plane(configured()) as plane:
        stored = await plane.kept(snapshot_id=await plane.uploaded())
        before = await plane.ran()
    index.wheel("tables", "9.0")
    try:
        # the blobs and the job are all that is left of what it was saved with
        fresh = configured(ENVIRONMENT_STORE=str(tmp_path / "fresh"))
        async with control_plane(fresh) as plane:
            after = await plane.ran()
            assert after["state"] == "succeeded", (after, await plane.notes(after["run_id"]))
            assert any("Building" in note for note in await plane.notes(after["run_id"]))
    finally:
        del index.files["tables-9.0-py3-none-any.whl"]
    assert after["environment_id"] == stored["pins"]["main"]["environment_id"]
    assert after["recorded"]["version"] == before["recorded"]["version"] == "1.0"
    assert after["recorded"]["prefix"].startswith(str(tmp_path / "fresh"))


async def test_a_runner_elsewhere_makes_the_environment_of_the_lock_that_it_fetches(
    configured, database_url, tmp_path
):
    async with control_plane(configured()) as plane:
        stored = await plane.kept(snapshot_id=await plane.uploaded())
    data, store = tmp_path / "other", tmp_path / "home" / "store"
    shutil.copytree(plane.data / "blobs", data / "blobs")
    jobs = KeptJobs(data / "jobs")
    jobs.put(Job.model_validate(stored["job"]), pins=stored["pins"])
    environment = dict(os.environ) | {
        "HOME": str(store.parent),
        "ELEMENT_DATA_DIR": str(store.parent / "data"),
        "ELEMENT_ENVIRONMENT_STORE": str(store),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "element_jupyter.runner", "--remote"]
    elsewhere = ElsewhereRuns(command, environment, token_file=False)
    async with (
        a_plane(data, database_url, provisioner=elsewhere, data_directory=data) as other,
        httpx.AsyncClient(base_url=other.url, headers=HEADERS, timeout=60) as client,
    ):
        run = await Plane(other.url, data, client, plane.settings).ran()
        log = other.directory / run["run_id"] / "runner.log"
        assert run["state"] == "succeeded", (run, log.read_text())
    assert {key: run[key] for key in stored["pins"]["main"]} == stored["pins"]["main"]
    assert run["recorded"]["prefix"].startswith(str(store))
    assert run["recorded"]["chairs"] == 4


async def test_an_environment_that_somebody_has_changed_runs_nothing(configured, store, tmp_path):
    copied = tmp_path / "store"
    async with control_plane(configured()) as plane:
        stored = await plane.kept(snapshot_id=await plane.uploaded())
        assert (await plane.ran())["state"] == "succeeded"
    for kept in ("envs", "locks", "index"):
        shutil.copytree(store / kept, copied / kept, symlinks=True)
    environment_id = stored["pins"]["main"]["environment_id"]
    path = copied / "envs" / environment_id / ".element/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["packages"][0]["sha256"] = "0" * 64
    path.chmod(0o600)
    path.write_text(json.dumps(manifest))
    async with control_plane(configured(ENVIRONMENT_STORE=str(copied))) as plane:
        run = await plane.ran()
    assert run["state"] == "failed"
    assert environment_id in run["reason"]
    assert run["cells_done"] == 0


async def test_a_job_without_pins_takes_what_its_project_says_and_tells_so(plane):
    await plane.dropped(await plane.uploaded())
    run = await plane.ran(job="ada/dropped")
    assert run["state"] == "succeeded", run
    notes = await plane.notes(run["run_id"])
    assert "The run is not pinned to an environment: requirements.txt is taken" in notes[0]
    assert run["definition"] == "requirements.txt"
    assert (plane.data / "blobs" / run["lock_id"][:2] / run["lock_id"]).is_file()


async def test_a_run_leaves_a_kernel_on_another_python_as_the_editor_does(
    configured, tmp_path, monkeypatch
):
    another = another_python(tmp_path / "another/bin")
    specs = ordinary_kernel(tmp_path / "specs", str(another), "-m", "ipykernel_launcher")
    monkeypatch.setenv("JUPYTER_PATH", str(specs))
    tell = "import os, element_jupyter as e; e.record(another=os.environ['ANOTHER_PYTHON'])"
    async with control_plane(configured()) as plane:
        stored = await plane.kept(snapshot_id=await plane.uploaded(tell))
        run = await plane.ran()

    assert stored["pins"] == {}
    assert run["state"] == "succeeded", (run, await plane.notes(run["run_id"]))
    assert run["recorded"] == {"another": "yes"}
    assert run["environment_id"] is None


async def test_a_stop_ends_the_waiting_for_a_build_at_once(configured, index, tmp_path):
    slow = configured(ENVIRONMENT_STORE=str(tmp_path / "slow"))
    async with control_plane(slow) as plane:
        await plane.dropped(await plane.uploaded())
        index.delay_seconds = 600
        try:
            run_id = (await plane.started(job="ada/dropped"))["run_id"]
            while not any("Building" in note for note in await plane.notes(run_id)):
                await plane.until(run_id, lambda run: run["state"] == "starting")
            began = time.monotonic()
            await plane.client.post(f"/runs/{run_id}/stop")
            ended = await plane.ended(run_id)
            assert (ended["state"], ended["cells_done"]) == ("stopped", 0)
            assert time.monotonic() - began < 5
        finally:
            index.healthy()
            made = Environments(slow)
            for build in (slow.store / "builds").glob("*/events.jsonl"):
                made.cancel(build.parent.name)


def test_a_notebook_runs_in_place_in_the_environment_that_is_pointed_at(configured, tmp_path):
    configured()
    project = tmp_path / "project"
    (project / "envs/one").mkdir(parents=True)
    (project / "envs/one/requirements.txt").write_text("tables==1.0")
    (project / "requirements.txt").write_text("stools")
    (project / "chairs.py").write_text("LEGS = 3")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(TELL)],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(notebook, project / "tell.ipynb")
    element = [sys.executable, "-m", "element_jupyter.cli.main", "run", "../../tell.ipynb"]
    done = subprocess.run(
        [*element, "--environment", "../one", "--json"],
        cwd=project / "envs/one",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    started = next(event for event in events if event["kind"] == "run_started")
    assert started["pin"]["definition"] == "envs/one/requirements.txt"
    assert events[-1]["recorded"]["version"] == "1.0"
    assert events[-1]["recorded"]["chairs"] == 3
    assert Path(events[-1]["recorded"]["prefix"]).name == started["pin"]["environment_id"]
