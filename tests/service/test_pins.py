"""Jobs and runs are pinned to environments: refused in words, kept, and never upgraded silently.

Over REST, with real locking against an index of this test's own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from yaml import safe_dump, safe_load

from element_jupyter import config
from element_jupyter.core.environments.identity import lock_id
from element_jupyter.platform.environments.composition import Environments
from element_jupyter.platform.service import serving
from tests.package_index import PackageIndex
from tests.service.conftest import NOTEBOOK, ControlPlane

SALES = "/jobs/ada/sales"


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as served:
        served.kernel()
        served.wheel("tables", "1.0")
        yield served


@pytest.fixture
def settings(tmp_path, database_url, index, monkeypatch) -> Iterator[config.Element]:
    # processes of the control plane read them anew
    for name, value in {
        "ENVIRONMENT_STORE": str(tmp_path / "store"),
        "ENVIRONMENTS_DIR": str(tmp_path / "shared"),
        "INDEX_URLS": index.url,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database_url,
        "OWNER": "ada",
        "AIRFLOW": "False",
        "ENVIRONMENTS": "True",
    }.items():
        monkeypatch.setenv(f"ELEMENT_{name}", value)
    _definition(tmp_path / "shared/default/requirements.txt", "tables==1.0")
    found = config.load()
    yield found
    _end_builds(found)


def _definition(path: Path, *requirements: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(requirements))


def _end_builds(settings: config.Element) -> None:
    """Wait for what was begun ahead: it must not work in a directory that goes away."""
    made = Environments(settings)
    for build in (settings.store / "builds").glob("*/events.jsonl"):
        for _ in made.events(build.parent.name):
            pass


@asynccontextmanager
async def control_plane(settings: config.Element) -> AsyncIterator[ControlPlane]:
    async with serving(settings) as url:
        headers = {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}
        base = f"{url}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
            yield ControlPlane(url, settings.data, client)


@pytest.fixture
async def plane(settings) -> AsyncIterator[ControlPlane]:
    async with control_plane(settings) as served:
        yield served


def files(**more: str) -> dict[str, bytes]:
    """Return a project: the notebook, and files by their names without dots."""
    names = {"requirements": "requirements.txt", "other": "other/requirements.txt"}
    notebook = {"sales.ipynb": json.dumps(NOTEBOOK).encode()}
    return notebook | {names[key]: text.encode() for key, text in more.items()}


async def _put(plane: ControlPlane, **said: Any) -> httpx.Response:
    return await plane.client.put(SALES, json=await plane.job(**said))


async def test_a_saved_job_keeps_its_pins_in_its_file_its_versions_and_after_a_restart(
    settings, index
):
    async with control_plane(settings) as plane:
        snapshot = await plane.snapshot(files(requirements="tables"))
        stored = await plane.saved(snapshot_id=snapshot)
        pin = stored["pins"]["main"]
        assert pin["environment_id"].startswith("py-")
        assert pin["definition"] == "requirements.txt"
        assert pin["python"].startswith("3.")
        blob = settings.data / "blobs" / pin["lock_id"][:2] / pin["lock_id"]
        assert lock_id(blob.read_bytes()) == pin["lock_id"]
        assert b"tables" in blob.read_bytes()
        job = {key: stored["job"][key] for key in stored["job"]}
        again = await plane.client.put(SALES, json=job)
        assert (again.json()["change"], again.json()["stored"]) == ("unchanged", stored)
        await plane.client.put(SALES, json=job | {"title": "Sales"})

    said = safe_load((settings.data / "jobs/ada/sales/job.yaml").read_text())
    assert said["metadata"]["pins"] == {"main": pin}
    async with control_plane(settings) as plane:
        now = (await plane.client.get(SALES)).json()
        assert (now["version"], now["pins"]) == (2, {"main": pin})
        first = (await plane.client.get(f"{SALES}/versions/1")).json()
        assert first["pins"] == {"main": pin}


async def test_a_definition_that_says_the_same_keeps_its_versions_even_in_an_empty_store(
    settings, index
):
    async with control_plane(settings) as plane:
        before = await plane.saved(snapshot_id=await plane.snapshot(files(requirements="tables")))
        index.wheel("tables", "2.0")
        commented = await plane.snapshot(files(requirements="# of furniture\ntables"))
        assert commented != before["job"]["snapshot_id"]
        after = await plane.saved(snapshot_id=commented)
        assert (after["version"], after["pins"]) == (2, before["pins"])
        _end_builds(settings)
        shutil.rmtree(settings.store, ignore_errors=True)
        spaced = await plane.snapshot(files(requirements="tables\n\n"))
        assert (await plane.saved(snapshot_id=spaced))["pins"] == before["pins"]

        changed = await plane.snapshot(files(requirements="tables>=2"))
        now = await plane.saved(snapshot_id=changed)
        assert now["pins"]["main"]["environment_id"] != before["pins"]["main"]["environment_id"]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_a_job_whose_environment_cannot_be_locked_is_refused_in_words(plane, index, query):
    index.wheel("chairs", "1.0", requires=["tables>=2"])
    snapshot = await plane.snapshot(files(requirements="chairs\ntables==1.0"))
    job = await plane.job(snapshot_id=snapshot)
    answer = await plane.client.put(f"{SALES}{query}", json=job)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "environment_failed")
    assert problem["field"] == "tasks.0.environment"
    assert "tables" in problem["message"]
    assert problem["hint"]
    assert problem["details"]
    assert (await plane.client.get(SALES)).status_code == 404
    assert not (plane.jobs / "ada").exists()

    run = {"notebook": "sales.ipynb", "snapshot_id": snapshot}
    refused = await plane.client.post("/runs", json=run)
    assert (refused.status_code, refused.json()["message"]) == (422, problem["message"])
    assert refused.json()["field"] == "environment"


async def test_a_job_points_at_another_definition_or_a_shared_one_by_its_name(
    plane, tmp_path, index
):
    index.wheel("tables", "2.0")
    snapshot = await plane.snapshot(files(requirements="tables==1.0", other="tables==2.0"))
    _definition(tmp_path / "shared/lab/requirements.txt", "tables<2")
    pins = {
        pointer: (await plane.saved(snapshot_id=snapshot, environment=pointer))["pins"]["main"]
        for pointer in (None, "other", "other/requirements.txt", "lab")
    }
    titles = {pointer: pin["definition"] for pointer, pin in pins.items()}
    assert titles == {
        None: "requirements.txt",
        "other": "other/requirements.txt",
        "other/requirements.txt": "other/requirements.txt",
        "lab": "lab (shared)",
    }
    # the id is of what is installed, not of where it is written
    assert pins["lab"]["environment_id"] == pins[None]["environment_id"]
    assert pins["other"]["environment_id"] != pins[None]["environment_id"]

    for pointer in ("nowhere", "a[b"):
        answer = await _put(plane, snapshot_id=snapshot, environment=pointer)
        assert (answer.status_code, answer.json()["field"]) == (400, "environment")


async def test_a_project_without_a_definition_gets_the_default_one_as_it_is_now(plane, tmp_path):
    async def pinned(**said: Any) -> Any:
        body = {"notebook": "sales.ipynb", "snapshot_id": await plane.snapshot(), **said}
        return (await plane.client.post("/runs", json=body)).json()

    first, again = await pinned(), await pinned(idempotency_key="another")
    assert first["definition"] == "default (shared)"
    assert first["python"].startswith("3.")
    keys = ("environment_id", "lock_id", "definition", "python")
    assert [first[key] for key in keys] == [again[key] for key in keys]
    _definition(tmp_path / "shared/default/requirements.txt")
    assert (await pinned())["environment_id"] != first["environment_id"]


async def test_other_kernels_and_several_tasks_each_get_what_is_theirs(
    plane, tmp_path, monkeypatch
):
    kernels = tmp_path / "jupyter/kernels/other"
    kernels.mkdir(parents=True)
    spec = {"argv": ["other", "{connection_file}"], "display_name": "Other", "language": "other"}
    (kernels / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = json.dumps(NOTEBOOK).encode()
    snapshot = await plane.snapshot(
        {
            "sales.ipynb": notebook,
            "other/sales.ipynb": notebook,
            "other/requirements.txt": b"tables",
            "requirements.txt": b"",
        }
    )
    tasks = [
        {"name": "one", "notebook": "sales.ipynb"},
        {"name": "two", "notebook": "other/sales.ipynb"},
        {"name": "three", "notebook": "sales.ipynb", "kernel": "other"},
    ]
    stored = await plane.saved(snapshot_id=snapshot, tasks=tasks)
    assert {name: pin["definition"] for name, pin in stored["pins"].items()} == {
        "one": "requirements.txt",
        "two": "other/requirements.txt",
    }


async def test_a_file_that_somebody_edits_keeps_the_pins_that_are_still_its_own(plane):
    snapshot = await plane.snapshot(files(requirements="tables"))
    stored = await plane.saved(snapshot_id=snapshot)
    path = plane.jobs / "ada/sales/job.yaml"

    async def edited(**said: Any) -> Any:
        document = safe_load(path.read_text()) | said
        path.write_text(safe_dump(document, sort_keys=False))
        while (now := (await plane.client.get(SALES)).json())["saved_by"] != "edited by hand" or (
            now["job"] | said != now["job"]
        ):
            await plane.client.get("/job-changes?wait=0.1&after=1000000")
        return now

    assert (await edited(title="Sales"))["pins"] == stored["pins"]
    other = await plane.snapshot(files(requirements="tables==1.0"))
    assert (await edited(snapshot_id=other))["pins"] == {}


async def test_a_run_of_a_job_has_the_pins_of_the_version_that_it_is_of(plane, index):
    old = await plane.saved(snapshot_id=await plane.snapshot(files(requirements="tables")))
    index.wheel("tables", "2.0")
    new = await plane.saved(snapshot_id=await plane.snapshot(files(requirements="tables>=2")))
    for stored in (old, new):
        body = {
            "job": "ada/sales",
            "version": stored["version"],
            "idempotency_key": f"of version {stored['version']}",
        }
        run = (await plane.client.post("/runs", json=body)).json()
        assert run["environment_id"] == stored["pins"]["main"]["environment_id"]
        assert run["lock_id"] == stored["pins"]["main"]["lock_id"]
    wrong = await plane.client.post("/runs", json={"job": "ada/sales", "environment": "x"})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "environment")


async def test_many_who_ask_at_once_get_the_same_answer(plane):
    snapshot = await plane.snapshot(files(requirements="tables"))
    body = {"notebook": "sales.ipynb", "snapshot_id": snapshot}
    answers = await asyncio.gather(*(plane.client.post("/runs", json=body) for _ in range(12)))
    runs = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [201] * 12
    assert len({(run["environment_id"], run["lock_id"]) for run in runs}) == 1
    for run in runs:
        await plane.client.post(f"/runs/{run['run_id']}/stop")
