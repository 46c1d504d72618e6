"""Snapshots for the Jupyter server: what the control plane has then, and what else may happen."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil
import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.adapters.project import scan
from element_jupyter.core.errors import Conflict, ElementError, Invalid, TooLarge, Unavailable
from element_jupyter.platform.client import connect
from element_jupyter.platform.lab_snapshot import take
from tests.cli.control_plane import ControlPlane


@pytest.fixture(scope="module")
def control_plane(postgres, tmp_path_factory) -> Iterator[ControlPlane]:
    plane = ControlPlane(
        tmp_path_factory.mktemp("plane") / "data", postgres.url(postgres.new_database())
    )
    yield plane
    plane.end()


@pytest.fixture
def notebook(control_plane, tmp_path, monkeypatch) -> Path:
    """A notebook with a project, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(control_plane.data))
    root = tmp_path / "project"
    (root / "lib").mkdir(parents=True)
    (root / "requirements.txt").write_text("")
    (root / "lib" / "ünï.py").write_text("x = 1\n")
    (root / ".env").write_text("PASSWORD=x")
    (root / "notebooks").mkdir()
    (root / "notebooks" / "n.ipynb").write_text("{}")
    return root / "notebooks" / "n.ipynb"


@pytest.fixture
def project(notebook) -> Path:
    return notebook.parent.parent


def restored(control_plane: ControlPlane, snapshot_id: str, directory: Path) -> Path:
    restore(FsspecBlobs(control_plane.data / "blobs"), snapshot_id, directory)
    return directory


async def test_what_was_taken_can_be_restored(control_plane, notebook, project, tmp_path):
    taken = await take(notebook)

    assert taken.root == project
    assert taken.notebook == "notebooks/n.ipynb"
    assert (taken.file_count, taken.size_bytes) == (4, 18)
    assert "'.env' may hold a password" in taken.warnings[0]
    code = restored(control_plane, taken.snapshot_id, tmp_path / "code")
    assert (code / "lib/ünï.py").read_text() == "x = 1\n"


async def test_what_is_wrong_comes_back_as_the_same_error(notebook, project, monkeypatch):
    os.mkfifo(project / "pipe")
    with pytest.raises(Invalid, match="'pipe' is a device") as refused:
        await take(notebook)
    assert refused.value.field == "pipe"
    (project / "pipe").unlink()
    monkeypatch.setenv("ELEMENT_SNAPSHOT_REFUSE_BYTES", "10")
    with pytest.raises(TooLarge, match="over the limit") as caught:
        await take(notebook)
    assert ".elementignore" in caught.value.hint


async def test_a_blob_store_that_takes_no_data_is_told(control_plane, notebook):
    blobs = control_plane.data / "blobs"
    with suppress(FileNotFoundError):
        blobs.rename(control_plane.data / "kept")
    blobs.write_text("a file")
    try:
        with pytest.raises(Unavailable, match="blob store"):
            await take(notebook)
    finally:
        blobs.unlink()
        with suppress(FileNotFoundError):
            (control_plane.data / "kept").rename(blobs)


async def test_modules_beside_the_notebook_are_not_imported(notebook, monkeypatch):
    (notebook.parent / "json.py").write_text("raise SystemExit('taken for the real one')")
    monkeypatch.chdir(notebook.parent)

    assert (await take(Path(notebook.name))).file_count == 5


def children() -> list[psutil.Process]:
    """The children that take snapshots; one of another test's may end while they are looked at."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie is such a one
            if take.__module__ in child.cmdline():
                found.append(child)
    return found


async def the_child() -> psutil.Process:
    while not (found := children()):
        await asyncio.sleep(0)
    return found[0]


async def test_cancelling_leaves_no_process(notebook):
    taking = asyncio.create_task(take(notebook))
    child = await the_child()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert not psutil.pid_exists(child.pid)


async def test_a_child_that_is_killed_is_an_error_in_words(notebook):
    taking = asyncio.create_task(take(notebook))
    (await the_child()).kill()
    with pytest.raises(ElementError, match="ended with -9"):
        await taking


async def test_the_child_gives_way_to_the_kernels_beside_it(notebook):
    own = psutil.Process().nice()
    taking = asyncio.create_task(take(notebook))
    child = await the_child()
    nice = {own}
    while not taking.done():
        with suppress(psutil.NoSuchProcess):
            nice.add(child.nice())
        await asyncio.sleep(0)
    await taking
    assert max(nice) > own


async def test_a_file_replaced_all_the_while_is_taken_whole_or_not_at_all(
    control_plane, notebook, project, tmp_path
):
    written: set[bytes] = set()
    said: list[str] = []
    done = threading.Event()

    def write() -> None:
        for i in count():
            content = b"%d " % i * 50_000
            written.add(content)
            (project / "new").write_bytes(content)
            (project / "new").replace(project / "busy.csv")
            if done.wait(0.02):
                return

    (project / ".elementignore").write_text("new\n")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(3):
            try:
                taken = await take(notebook)
            except (Conflict, Invalid) as error:
                said.append(error.message)
                continue
            code = restored(control_plane, taken.snapshot_id, tmp_path / f"code-{i}")
            if (code / "busy.csv").exists():
                assert (code / "busy.csv").read_bytes() in written
    finally:
        done.set()
        writer.join()
    assert all("chang" in message for message in said)


@pytest.mark.parametrize("kind", ["pipe", "link", "directory", "nothing"])
def test_what_has_taken_a_files_place_since_it_was_read_is_not_sent(
    notebook, project, tmp_path, kind
):
    local = connect(None)
    secret = tmp_path / "secret"
    # new to the control plane, whatever other tests have sent
    (project / "data.csv").write_text(str(tmp_path))
    secret.write_text(str(tmp_path))
    found = scan(project)
    (project / "data.csv").unlink()
    match kind:
        case "pipe":
            os.mkfifo(project / "data.csv")
        case "link":
            (project / "data.csv").symlink_to(secret)
        case "directory":
            (project / "data.csv").mkdir()

    with pytest.raises(Conflict, match=r"data\.csv' has changed"):
        local.service.upload(found.manifest, found.sources)
