"""Bad input is answered with a sentence; nothing is written for it, and everything still serves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest

from tests.faults import bad_input
from tests.platform_client import owner, snapshot
from tests.platform_fixture import RunningPlatform

CASES = list(bad_input.requests("SNAPSHOT", "TEAM"))
NESTED = "[" * 200 + "]" * 200
NOTEBOOKS = {
    "list.ipynb": b"[]",
    "text.ipynb": b"hello",
    "truncated.ipynb": b'{"cells": [{"cell_type": "code", "source": "1',
    "deep.ipynb": f'{{"cells": {NESTED}, "metadata": {{}}, "nbformat": 4}}'.encode(),
    "empty.ipynb": b"",
    "binary.ipynb": bytes(range(256)),
    "number.ipynb": b"42",
    "future.ipynb": b'{"cells": [], "metadata": {}, "nbformat": 99, "nbformat_minor": 0}',
    "cells.ipynb": b'{"cells": 5, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)
)
FILES = {
    "an alias bomb": BOMB,
    "two of one key": "apiVersion: element/v1\napiVersion: element/v1\n",
    "nested 200 deep": NESTED,
    "nested 100,000 deep": "[" * 100_000,
    "a tab": "apiVersion:\telement/v1\n\tteam: a\n",
    "a tag that makes objects": "!!python/object/apply:os.system ['touch pwned']",
    "a list": "- a\n- b\n",
    "nothing": "",
    "not UTF-8": "\udcff",
    "NUL": "apiVersion: element/v1\x00\n",
    "a misspelt key": "apiVersion: element/v1\nkind: Job\ntaks: []\n",
    "another version": "apiVersion: element/v9\nkind: Job\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    cells = [nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]})]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project / "notebook.ipynb")
    for name, content in NOTEBOOKS.items():
        (project / name).write_bytes(content)
    return project


@pytest.fixture(scope="module")
def service(control_plane: RunningPlatform) -> Iterator[httpx.Client]:
    with control_plane.service() as client:
        yield client


@pytest.fixture(scope="module")
def known(control_plane: RunningPlatform, project: Path) -> dict[str, str]:
    """What a case's placeholders stand for."""
    return {
        "SNAPSHOT": snapshot(control_plane, project),
        "TEAM": owner(control_plane),
    }


def test_the_good_job_that_all_cases_spoil_is_accepted(
    service: httpx.Client, known: dict[str, str]
) -> None:
    job = bad_input.job(known["SNAPSHOT"], known["TEAM"])
    answer = service.put(f"/jobs/{known['TEAM']}/good", json=job, params={"dry_run": True})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label.encode().hex()[:8] + case.label)
def test_a_bad_request_gets_a_sentence(
    case: bad_input.Request,
    control_plane: RunningPlatform,
    service: httpx.Client,
    known: dict[str, str],
) -> None:
    path, content = case.path, case.content
    for name, value in known.items():
        path = path.replace(name, value)
        content = content and content.replace(name.encode(), value.encode())
    url = httpx.URL(control_plane.service_url).copy_with(raw_path=path.encode())

    answer = service.request(
        case.method, url, content=content, headers={"Content-Type": case.content_type}
    )

    assert 400 <= answer.status_code < 500, answer.text[:500]
    problem = answer.json()
    assert set(problem) == {"code", "message", "hint", "field", "details"}
    assert problem["message"][0] == problem["message"][0].upper() or problem["field"]
    assert "Traceback" not in answer.text
    assert len(answer.content) < 5_000, "an answer does not echo what it was sent"


def test_after_all_of_it_nothing_was_made_and_everything_serves(
    control_plane: RunningPlatform, service: httpx.Client
) -> None:
    assert service.get("/health").json() == {"status": "ok"}
    assert service.get("/jobs").json()["items"] == []
    assert service.get("/runs").json()["items"] == []
    assert list((control_plane.data_dir / "runs").iterdir()) == []
    beside = {path.name for path in control_plane.data_dir.parent.iterdir()}
    assert beside == {"data", "data.out"}
    assert {process["restarts"] for process in control_plane.state["processes"].values()} == {0}
    assert "Traceback" not in (control_plane.data_dir / "logs" / "service.log").read_text()


@pytest.mark.parametrize("label", FILES)
def test_a_bad_job_file_is_refused_with_its_name(
    label: str, control_plane: RunningPlatform, tmp_path: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(FILES[label].encode("utf-8", "surrogateescape"))

    result = element(tmp_path, "apply", "-f", path, "--data", control_plane.data_dir)

    assert result.returncode == 2, result.stderr
    assert "job.yaml" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"job.yaml"}


@pytest.mark.parametrize("name", [*NOTEBOOKS, "missing.ipynb"])
def test_a_bad_notebook_is_refused_before_a_kernel_starts(
    name: str, project: Path, tmp_path: Path
) -> None:
    result = element(tmp_path, "run", project / name, "-o", tmp_path / "out.ipynb")

    assert result.returncode == 2, result.stderr
    assert name in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_of_100_mb_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.ipynb"
    path.write_bytes(json.dumps({"cells": ["x" * 1_000_000] * 100}).encode())

    result = element(tmp_path, "run", path, "-o", tmp_path / "out.ipynb")

    assert result.returncode == 2, result.stderr
    assert "large.ipynb" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"large.ipynb"}


def element(directory: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "element_jupyter.cli", *map(str, arguments)],
        cwd=directory,
        env=None,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
