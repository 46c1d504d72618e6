"""From a notebook's path in JupyterLab to a snapshot that the control plane has."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import nbformat
import pytest

from tests.server.conftest import Platform
from tests.server.running import Lab

SNAPSHOTS = "element/api/v1/snapshots"


@pytest.fixture
def project(lab: Lab) -> Path:
    """A project of its own for each test, below the server's root."""
    root = lab.root / f"project-{sum(1 for _ in lab.root.iterdir())}"
    (root / "reports").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", root], check=True)
    nbformat.write(nbformat.v4.new_notebook(), root / "reports" / "daily one.ipynb")
    (root / "helper.py").write_text("a = 1\n")
    (root / "left_out.csv").write_text("1,2\n")
    (root / ".gitignore").write_text("*.csv\nsecret.ipynb\n")
    return root


async def take(lab: Lab, path: str) -> tuple[int, dict[str, object]]:
    async with lab.client() as browser:
        answer = await browser.post(SNAPSHOTS, json={"path": path})
    return answer.status_code, answer.json()


async def test_the_project_of_the_notebook_is_uploaded_and_the_notebook_found_in_it(
    platform: Platform, project: Path
):
    status, taken = await take(platform.lab, f"{project.name}/reports/daily one.ipynb")

    assert status == 201
    assert taken["root"] == str(project)
    assert taken["notebook"] == "reports/daily one.ipynb"
    assert taken["file_count"] == 3
    assert taken["warnings"] == []
    manifest = json.loads(platform.blobs[str(taken["snapshot_id"])])
    assert [entry["path"] for entry in manifest["entries"]] == [
        ".gitignore",
        "helper.py",
        "reports/daily one.ipynb",
    ]
    assert sum(entry["size_bytes"] for entry in manifest["entries"]) == taken["size_bytes"]
    assert all(hashlib.sha256(blob).hexdigest() == name for name, blob in platform.blobs.items())


async def test_what_the_control_plane_has_is_not_sent_again(platform: Platform, project: Path):
    path = f"{project.name}/reports/daily one.ipynb"
    _, first = await take(platform.lab, path)
    (project / "helper.py").write_text("a = 2\n")
    platform.asked.clear()

    _, second = await take(platform.lab, path)

    sent = {
        request.path.rpartition("/")[2] for request in platform.asked if request.method == "PUT"
    }
    assert sent == {hashlib.sha256(b"a = 2\n").hexdigest(), second["snapshot_id"]}
    assert second["snapshot_id"] != first["snapshot_id"]


async def test_a_notebook_that_is_ignored_is_refused_with_the_way_out(
    platform: Platform, project: Path
):
    nbformat.write(nbformat.v4.new_notebook(), project / "secret.ipynb")

    status, problem = await take(platform.lab, f"{project.name}/secret.ipynb")

    assert status == 400
    assert problem["field"] == "path"
    assert "left out of the snapshot" in str(problem["message"])
    assert ".elementignore" in str(problem["hint"])


async def test_what_cannot_be_in_a_snapshot_is_named(platform: Platform, project: Path):
    (project / "out.txt").symlink_to("/etc/hostname")

    status, problem = await take(platform.lab, f"{project.name}/reports/daily one.ipynb")

    assert (status, problem["code"]) == (400, "invalid")
    assert "out.txt" in str(problem["message"])


async def test_without_the_platform_nothing_is_read_and_the_answer_says_so(lab: Lab, project: Path):
    status, problem = await take(lab, f"{project.name}/reports/daily one.ipynb")

    assert status == 503
    assert problem["message"] == "The Element platform is not running."


async def test_who_may_not_is_told_before_anything_is_sent(platform: Platform, project: Path):
    platform.refuses_snapshots = True

    status, problem = await take(platform.lab, f"{project.name}/reports/daily one.ipynb")

    assert (status, problem["code"], problem["hint"]) == (403, "forbidden", "Ask less.")
    assert platform.blobs == {}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing.ipynb", 404),
        ("../outside.ipynb", 404),
        ("../../../../etc/passwd.ipynb", 404),
        ("a\0b.ipynb", 404),
        ("x" * 300 + ".ipynb", 404),
        (".hidden/a.ipynb", 404),
        ("notes.txt", 400),
        ("", 400),
        ("x" * 5000 + ".ipynb", 400),
    ],
)
async def test_a_path_that_is_no_notebook_here_is_refused(
    platform: Platform, path: str, status: int
):
    (platform.lab.root.parent / "outside.ipynb").touch()
    (platform.lab.root / ".hidden").mkdir(exist_ok=True)
    (platform.lab.root / ".hidden" / "a.ipynb").touch()

    answered, problem = await take(platform.lab, path)

    assert (answered, problem["field"]) == (status, "path")
    assert platform.blobs == {}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"path": 1}', b'{"pth": "a.ipynb"}', b"[" * 9999]
)
async def test_a_body_that_is_not_a_request_is_refused(platform: Platform, body: bytes):
    async with platform.lab.client() as browser:
        answer = await browser.post(SNAPSHOTS, content=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"
    assert answer.json()["message"]


async def test_where_a_notebook_lies_is_known_as_long_as_this_server_shows_it(
    platform: Platform, project: Path
):
    _, taken = await take(platform.lab, f"{project.name}/reports/daily one.ipynb")
    origin = f"{SNAPSHOTS}/{taken['snapshot_id']}/origin"

    async with platform.lab.client() as browser:
        known = await browser.get(origin, params={"notebook": str(taken["notebook"])})
        outside = await browser.get(origin, params={"notebook": "../../../x.ipynb"})
        other = await browser.get(
            f"{SNAPSHOTS}/{'0' * 64}/origin", params={"notebook": str(taken["notebook"])}
        )
        nothing = await browser.get(origin)

    assert known.json() == {"path": f"{project.name}/reports/daily one.ipynb"}
    assert outside.json() == other.json() == {"path": None}
    assert (nothing.status_code, set(nothing.json()) >= {"code", "message"}) == (400, True)
