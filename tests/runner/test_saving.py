"""When the executed notebook is written, and where the project comes from."""

from __future__ import annotations

import asyncio
import os

import nbformat

from element_jupyter.adapters.blobs import FsspecBlobs, save
from element_jupyter.adapters.project import scan
from element_jupyter.core.runs import RunState
from element_jupyter.platform.machine import this_machine
from element_jupyter.runner import session
from element_jupyter.runner.documents import prepare
from element_jupyter.runner.events import EventLog
from tests.runner.conftest import notebook


async def test_a_long_cell_is_saved_while_it_runs_but_only_when_something_came(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "SAVE_SECONDS", 0.2)
    source = "import time\nprint('come')\ntime.sleep(1.5)"
    output = tmp_path / "output.ipynb"
    told = []
    saved = []

    def look(event):
        told.append(event.kind)
        if event.kind == "notebook_saved":
            read = nbformat.read(output, as_version=4)
            saved.append([each.text for each in read.cells[0].outputs])

    work = session.Work(
        run_id="r",
        notebook=prepare(notebook(source), parameters={}, kernel="python3"),
        kernel="python3",
        directory=tmp_path,
        output_path=output,
        environment={**os.environ},
    )
    run = session.Session(work, EventLog(listener=look), this_machine())
    finished = await asyncio.wait_for(run.run(), 30)

    assert finished.state is RunState.SUCCEEDED
    while_it_ran = saved[: told[: told.index("cell_finished")].count("notebook_saved")]
    assert while_it_ran[0] == [], "those who watch know the cells before anything came"
    assert while_it_ran[-1] == ["come\n"]
    assert told.count("notebook_saved") <= 4
    assert [path.name for path in tmp_path.iterdir()] == ["output.ipynb"]


async def test_a_project_that_is_not_there_is_restored_from_its_snapshot(run, tmp_path):
    origin = tmp_path / "origin"
    (origin / "work").mkdir(parents=True)
    nbformat.write(
        notebook("import neighbour\nprint(neighbour.answer)"), origin / "work" / "n.ipynb"
    )
    (origin / "work" / "neighbour.py").write_text("answer = 42")
    blobs = tmp_path / "blobs"
    snapshot_id = save(FsspecBlobs(str(blobs)), scan(origin, cache=tmp_path / "cache"))

    begun, finished = await run(
        notebook(),
        notebook="work/n.ipynb",
        project_directory=str(tmp_path / "restored"),
        snapshot_id=snapshot_id,
        blob_url=str(blobs),
    )

    assert finished.state is RunState.SUCCEEDED, finished.reason
    assert begun.texts() == ["42\n"]
    assert finished.artifacts == ()


async def test_a_snapshot_that_is_gone_fails_the_run_in_words(run, tmp_path):
    begun, finished = await run(
        notebook(),
        project_directory=str(tmp_path / "restored"),
        snapshot_id="0" * 64,
        blob_url=str(tmp_path / "blobs"),
    )

    assert (finished.state, begun.code) == (RunState.FAILED, 2)
    assert "The blob store has no blob 000" in finished.reason
