"""Snapshots made in a child process: what comes back, and what happens when it does not."""

from __future__ import annotations

import asyncio
import os
import threading
from itertools import count
from pathlib import Path

import psutil
import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, restore
from element_jupyter.core.errors import Conflict, ElementError, Invalid, TooLarge, Unavailable
from element_jupyter.core.snapshots import SnapshotLimits
from element_jupyter.platform.snapshots import snapshot


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "lib").mkdir(parents=True)
    (root / "n.ipynb").write_text("{}")
    (root / "lib" / "ünï.py").write_text("x = 1\n")
    (root / ".env").write_text("PASSWORD=x")
    return root


async def test_a_saved_snapshot_can_be_restored(project, tmp_path):
    said: list[tuple[int, int]] = []
    made = await snapshot(
        project, str(tmp_path / "store"), cache=tmp_path, progress=lambda *at: said.append(at)
    )

    assert made.paths == (".env", "lib/ünï.py", "n.ipynb")
    assert made.size_bytes == 18
    assert "'.env' may hold a password" in made.warnings[0]
    assert said[-1] == (18, 18)
    restore(FsspecBlobs(tmp_path / "store"), made.snapshot_id, tmp_path / "code")
    assert (tmp_path / "code/lib/ünï.py").read_text() == "x = 1\n"


async def test_without_a_store_it_only_looks(project, tmp_path):
    looked = await snapshot(project, None, cache=tmp_path)
    saved = await snapshot(project, str(tmp_path / "store"), cache=tmp_path)
    assert looked == saved


async def test_what_is_wrong_comes_back_as_the_same_error(project, tmp_path):
    with pytest.raises(TooLarge, match="over the limit") as caught:
        await snapshot(project, None, cache=tmp_path, limits=SnapshotLimits(refuse_bytes=10))
    assert ".elementignore" in caught.value.hint
    os.mkfifo(project / "pipe")
    with pytest.raises(Invalid, match="'pipe' is a device") as refused:
        await snapshot(project, None, cache=tmp_path)
    assert refused.value.field == "pipe"
    (project / "pipe").unlink()
    (tmp_path / "store").write_text("a file")
    with pytest.raises(Unavailable, match="blob store"):
        await snapshot(project, str(tmp_path / "store"), cache=tmp_path)


async def test_modules_beside_the_notebook_are_not_imported(project, tmp_path, monkeypatch):
    (project / "json.py").write_text("raise SystemExit('taken for the real one')")
    monkeypatch.chdir(project)
    assert "json.py" in (await snapshot(project, None, cache=tmp_path)).paths


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [child for child in found if "platform.snapshots" in " ".join(child.cmdline())]


async def test_cancelling_leaves_no_process(project, tmp_path):
    making = asyncio.create_task(snapshot(project, None, cache=tmp_path))
    while not children():
        await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert children() == []


async def test_a_child_that_is_killed_is_an_error_in_words(project, tmp_path):
    making = asyncio.create_task(snapshot(project, None, cache=tmp_path))
    while not children():
        await asyncio.sleep(0)
    children()[0].kill()
    with pytest.raises(ElementError, match="ended with -9"):
        await making


async def test_a_file_replaced_all_the_while_is_taken_whole_or_not_at_all(project, tmp_path):
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
                made = await snapshot(project, str(tmp_path / "store"), cache=tmp_path)
            except (Conflict, Invalid) as error:
                said.append(error.message)
                continue
            code = tmp_path / str(i)
            restore(FsspecBlobs(tmp_path / "store"), made.snapshot_id, code)
            if "busy.csv" in made.paths:
                assert (code / "busy.csv").read_bytes() in written
    finally:
        done.set()
        writer.join()
    assert all("chang" in message for message in said)


def test_the_package_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    made = asyncio.run(snapshot(Path("p"), None, cache=tmp_path))
    assert made.paths == ()
