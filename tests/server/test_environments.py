"""REST of environments, in a real Jupyter server."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from element_jupyter.platform.environments.schema import document
from tests.package_index import PackageIndex
from tests.server.kernels import new_notebook, server_sent
from tests.server.running import Lab, running_lab

BASE = "element/api/v1/environments"


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as index:
        index.kernel()
        index.wheel("tables", "1.0")
        index.wheel("tables", "2.0")
        yield index


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, index: PackageIndex) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    variables = {
        "ELEMENT_INDEX_URLS": index.url,
        "ELEMENT_ENVIRONMENT_STORE": str(home / "store"),
    }
    with running_lab(home, variables=variables) as lab:
        new_notebook(lab, "a/n.ipynb", files={"requirements.txt": "tables<2\n"})
        yield lab


@pytest.fixture
async def browser(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client() as client:
        yield client


async def of(browser: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await browser.get(f"{BASE}/of", params={"path": path})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def start(browser: httpx.AsyncClient, path: str) -> str:
    answer = await browser.post(f"{BASE}/builds", json={"path": path})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["build_id"])


async def told(
    browser: httpx.AsyncClient, build_id: str, after: int | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """All that a build tells, to its end."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    answer = await browser.get(f"{BASE}/builds/{build_id}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.endswith("event: end\ndata: {}\n\n")
    return server_sent(answer.text)


async def built(browser: httpx.AsyncClient, path: str) -> dict[str, Any]:
    events = await told(browser, await start(browser, path))
    assert events[-1][1]["phase"] == "ready", events[-1]
    return await of(browser, path)


async def test_a_notebook_is_told_its_definition_before_anything_is_built(browser, lab):
    new_notebook(lab, "new/n.ipynb", files={"requirements.txt": "tables>=2\n", "apt.txt": "gcc"})

    found = await of(browser, "new/n.ipynb")

    assert found["state"] == "missing"
    assert found["definition"]["kind"] == "requirements"
    assert [each["path"] for each in found["ignored"]] == ["apt.txt"] or found["notices"]
    assert found["kernel_environment_id"] is None


async def test_a_build_is_followed_to_its_end(browser):
    build_id = await start(browser, "a/n.ipynb")
    events = await told(browser, build_id)
    found = await of(browser, "a/n.ipynb")

    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert all(event["sequence"] == number for number, event in events)
    assert events[-1][1]["phase"] == "ready"
    assert events[-1][1]["environment_id"] == found["environment_id"]
    assert found["state"] == "ready"
    assert found["build_id"] == build_id


async def test_a_module_that_the_environment_lacks_is_told_before_scheduling(browser, lab):
    await built(browser, "a/n.ipynb")
    (lab.root / "a" / "beside.py").touch()

    async def told_of(source: str) -> list[dict[str, Any]]:
        cell = {"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}}
        document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
        asked = {"path": "a/n.ipynb", "notebook": document}
        answer = await browser.post("element/api/v1/notebooks/inspect", json=asked)
        return list(answer.json()["findings"])

    (finding,) = await told_of("import json, tables, beside, chairs\nfrom IPython import x")

    assert (finding["code"], finding["severity"], finding["cell"]) == ("no_module", "warning", 0)
    assert "'chairs'" in finding["message"]
    assert "requirements.txt" in finding["hint"]
    assert await told_of("%pip install chairs\nimport chairs") == []


async def test_who_comes_back_misses_nothing(browser):
    await built(browser, "a/n.ipynb")
    build_id = await start(browser, "a/n.ipynb")
    events = await told(browser, build_id)

    middle = events[len(events) // 2][0]
    again = await told(browser, build_id, after=middle)

    assert again == [each for each in events if each[0] > middle]
    by_query = await browser.get(
        f"{BASE}/builds/{build_id}/events", params={"after": events[-1][0]}
    )
    assert server_sent(by_query.text) == []


async def test_many_follow_one_build_while_it_goes_on(browser, lab, index):
    new_notebook(lab, "many/n.ipynb", files={"requirements.txt": "tables\n# many\n"})
    index.delay_seconds = 0.2
    try:
        build_id = await start(browser, "many/n.ipynb")
        streams = await asyncio.gather(*(told(browser, build_id) for _ in range(20)))
    finally:
        index.delay_seconds = 0.0

    assert len(streams[0]) > 2
    assert all(each == streams[0] for each in streams)


async def test_the_first_event_arrives_before_the_build_has_ended(browser, lab, index):
    new_notebook(lab, "live/n.ipynb", files={"requirements.txt": "tables!=7\n"})
    index.delay_seconds = 1.0
    try:
        build_id = await start(browser, "live/n.ipynb")
        url = f"{BASE}/builds/{build_id}/events"
        async with browser.stream("GET", url) as answer:
            first = await anext(answer.aiter_text())
            state = (await of(browser, "live/n.ipynb"))["state"]
    finally:
        index.delay_seconds = 0.0

    assert "id: " in first
    assert state == "building"


async def test_a_build_can_be_cancelled(browser, lab, index):
    new_notebook(lab, "cancelled/n.ipynb", files={"requirements.txt": "tables!=8\n"})
    index.delay_seconds = 30.0
    try:
        build_id = await start(browser, "cancelled/n.ipynb")
        following = asyncio.create_task(told(browser, build_id))
        answer = await browser.delete(f"{BASE}/builds/{build_id}")
        events = await following
    finally:
        index.delay_seconds = 0.0

    assert answer.status_code == 204
    assert events[-1][1]["failure"]["code"] == "cancelled"


async def test_a_conflict_is_told_in_words(browser, lab):
    new_notebook(lab, "conflict/n.ipynb", files={"requirements.txt": "tables>=3\n"})

    events = await told(browser, await start(browser, "conflict/n.ipynb"))
    found = await of(browser, "conflict/n.ipynb")

    assert found["state"] == "failed"
    assert found["failure"] == events[-1][1]["failure"]
    assert "tables" in found["failure"]["summary"]


async def test_a_definition_that_cannot_be_read_is_told_and_not_an_error(browser, lab):
    new_notebook(lab, "unreadable/n.ipynb", files={"requirements.txt": "tables\n???\n"})

    found = await of(browser, "unreadable/n.ipynb")
    refused = await browser.post(f"{BASE}/builds", json={"path": "unreadable/n.ipynb"})

    assert found["state"] == "failed"
    assert found["definition"] is None
    assert found["failure"]["culprits"][0]["line"] == 2
    assert refused.status_code == 422
    assert refused.json()["code"] == "environment_failed"


async def test_environments_are_listed_and_shown(browser):
    environment_id = (await built(browser, "a/n.ipynb"))["environment_id"]

    listed = (await browser.get(BASE)).json()
    shown = (await browser.get(f"{BASE}/{environment_id}")).json()
    missing = await browser.get(f"{BASE}/py-00000000000000000000000000000000")

    (item,) = [each for each in listed["items"] if each["environment_id"] == environment_id]
    assert item["packages"] == len(shown["packages"]) == 2
    assert "default" in {each["name"] for each in listed["shared"]}
    assert {each["name"] for each in shown["packages"]} == {"ipykernel", "tables"}
    assert shown["own_bytes"] == item["own_bytes"] > 0
    assert missing.status_code == 404


async def test_the_file_to_edit_is_told_where_it_can_be_opened(browser, lab):
    new_notebook(lab, "edited/b/n.ipynb")
    (lab.root / "edited" / ".git").mkdir()
    (lab.root / "edited" / "requirements.txt").write_text("tables\n")
    new_notebook(lab, "bound/n.ipynb")
    (lab.root / "bound" / ".binder").mkdir()
    (lab.root / "bound" / ".binder" / "requirements.txt").write_text("tables\n")
    new_notebook(lab, "bare/n.ipynb")

    assert (await of(browser, "edited/b/n.ipynb"))["definition_file"] == "edited/requirements.txt"
    assert (await of(browser, "bound/n.ipynb"))["definition_file"] is None
    assert (await of(browser, "bare/n.ipynb"))["definition_file"] is None


async def test_an_environment_that_nothing_uses_is_taken_away_and_built_again(browser, lab):
    new_notebook(lab, "away/n.ipynb", files={"requirements.txt": "tables>=2\n"})
    environment_id = (await built(browser, "away/n.ipynb"))["environment_id"]
    lock = (await browser.get(f"{BASE}/{environment_id}/lock")).json()

    removed = await browser.delete(f"{BASE}/{environment_id}")
    again = await browser.delete(f"{BASE}/{environment_id}")

    assert 'name = "tables"' in lock["text"]
    assert removed.status_code == 204
    assert again.status_code == 404
    assert (await browser.get(f"{BASE}/{environment_id}/lock")).status_code == 404
    assert (await of(browser, "away/n.ipynb"))["state"] == "missing"
    assert (await built(browser, "away/n.ipynb"))["environment_id"] == environment_id


async def test_a_requirement_is_added_to_the_file(browser, lab):
    notebook = new_notebook(lab, "adding/n.ipynb", files={"requirements.txt": "# mine\ntables\n"})

    answer = await browser.post(
        f"{BASE}/requirements", json={"path": "adding/n.ipynb", "requirements": ["chairs>=2"]}
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["file"] == "requirements.txt"
    assert answer.json()["added"] == ["chairs>=2"]
    assert answer.json()["definition"]["state"] == "missing"
    written = (notebook.file.parent / "requirements.txt").read_text()
    assert written == "# mine\ntables\nchairs>=2\n"


async def test_a_definition_is_made_checked_first_and_never_over_another(browser, lab):
    notebook = new_notebook(lab, "making/n.ipynb", files={})
    wanted = {"path": "making/n.ipynb", "name": "maps", "requirements": ["tables", "", "chairs>=2"]}
    made = notebook.file.parent / "envs" / "maps"

    async def post(**changed: Any) -> httpx.Response:
        return await browser.post(BASE, json=wanted | changed)

    assert (await post(dry_run=True)).json() == {"pointer": "envs/maps"}
    assert not made.exists()
    answer = await post(python="3.11")
    assert (answer.status_code, answer.json()) == (201, {"pointer": "envs/maps"})
    assert (made / "requirements.txt").read_text() == "tables\n\nchairs>=2\n"
    assert (made / ".python-version").read_text() == "3.11\n"
    again = await post(dry_run=True)
    assert (again.status_code, again.json()["field"]) == (409, "name")
    assert (await post(replace=True, requirements=["chairs"])).status_code == 201
    assert (made / "requirements.txt").read_text() == "chairs\n"
    assert not (made / ".python-version").exists()
    faults: dict[str, dict[str, Any]] = {
        "name": {"name": "../up"},
        "python": {"name": "b", "python": "three"},
        "requirements.1": {"name": "b", "requirements": ["tables", "no such thing"]},
    }
    for field, changed in faults.items():
        refused = await post(**changed)
        assert (refused.status_code, refused.json()["field"]) == (400, field)
    made.rename(made.with_name("real"))
    made.symlink_to("real")
    assert (await post(replace=True)).status_code == 409


async def test_what_a_person_trusts_is_allowed(browser, lab, index):
    with PackageIndex() as other:
        other.wheel("benches", "1.0")
        text = f"--extra-index-url {other.url}\nbenches\n"
        new_notebook(lab, "trusting/n.ipynb", files={"requirements.txt": text})
        events = await told(browser, await start(browser, "trusting/n.ipynb"))
        failure = events[-1][1]["failure"]
        assert failure["code"] == "needs_trust"

        body = {"path": "trusting/n.ipynb", "origins": failure["origins"]}
        answer = await browser.post(f"{BASE}/trust", json=body)

        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "missing"
        found = await built(browser, "trusting/n.ipynb")
        assert found["packages"] == 2


@pytest.mark.parametrize(
    "path",
    ["../n.ipynb", "/etc/passwd", "a", "a/none.ipynb", "a\0.ipynb", "a/../../x.ipynb", ""],
)
async def test_only_notebooks_below_the_root_are_told_of(browser, path):
    answer = await browser.get(f"{BASE}/of", params={"path": path})
    built = await browser.post(f"{BASE}/builds", json={"path": path or "x"})

    assert answer.status_code in {400, 404}
    assert answer.json()["field"] == "path"
    assert built.status_code in {400, 404}


@pytest.mark.parametrize(
    ("target", "body", "field"),
    [
        ("builds", {"path": "a/n.ipynb", "fresh": True}, "fresh"),
        ("requirements", {"path": "a/n.ipynb", "requirements": []}, "requirements"),
        ("trust", {"path": "a/n.ipynb", "origins": [{"kind": "moon", "location": "x"}]}, None),
    ],
)
async def test_a_body_that_is_not_understood_is_refused(browser, target, body, field):
    answer = await browser.post(f"{BASE}/{target}", json=body)

    assert answer.status_code == 400
    assert field is None or field in answer.json()["field"]


@pytest.mark.parametrize("build_id", ["0" * 64, "..", "x", "%2e%2e%2fetc"])
async def test_there_is_no_build_by_any_other_name(browser, build_id):
    followed = await browser.get(f"{BASE}/builds/{build_id}/events")
    numbered = await browser.get(f"{BASE}/builds/{'0' * 64}/events", params={"after": "first"})

    assert followed.status_code == 404
    assert numbered.status_code == 400


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("GET", "/of?path=a/n.ipynb"),
        ("GET", ""),
        ("GET", "/builds/x/events"),
        ("DELETE", "/builds/x"),
        ("POST", "/builds"),
        ("POST", "/requirements"),
        ("POST", "/trust"),
        ("GET", "/py-00000000000000000000000000000000"),
    ],
)
async def test_nothing_is_told_to_a_stranger(lab, verb, target):
    async with httpx.AsyncClient(base_url=lab.url, trust_env=False) as stranger:
        answer = await stranger.request(verb, BASE + target)

    assert answer.status_code == 403


async def test_others_are_answered_quickly_while_an_environment_is_built(browser, lab, index):
    names = [f"part-{number}" for number in range(40)]
    for name in names:
        index.wheel(name, "1.0", files={f"{name}/m{n}.py": "a = 1\n" * 50 for n in range(40)})
    new_notebook(lab, "big/n.ipynb", files={"requirements.txt": "\n".join(names)})
    took: list[float] = []

    async def look() -> None:
        while True:
            began = time.perf_counter()
            (await browser.get("api/status")).raise_for_status()
            took.append((time.perf_counter() - began) * 1000)

    looking = asyncio.create_task(look())
    await built(browser, "big/n.ipynb")
    looking.cancel()

    assert len(took) > 100
    assert sorted(took)[math.ceil(len(took) * 0.99) - 1] <= 150


def test_the_document_of_the_routes_is_current():
    committed = Path(__file__).parents[2] / "docs" / "reference" / "environments-openapi.json"
    done = subprocess.run(
        [sys.executable, "-m", "element_jupyter.platform.environments.schema"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(committed.read_text()) == document() == json.loads(done.stdout)
