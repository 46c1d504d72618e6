"""What a run does with a notebook, and what it tells."""

from __future__ import annotations

import json

import nbformat
import pytest

from element_jupyter.core.runs import RunState
from tests.runner.conftest import code, notebook

markdown, raw = nbformat.v4.new_markdown_cell, nbformat.v4.new_raw_cell


async def test_a_run_tells_what_happens_and_leaves_the_executed_notebook(run):
    begun, finished = await run(
        notebook(markdown("# Title"), "print('hello')\n1 + 1", "x = 2", ""),
        snapshot_id="a" * 64,
    )

    events = begun.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    # told by the clock, which is faster or slower than a run
    events = [event for event in events if event.kind != "usage"]
    assert [event.kind for event in events] == [
        "run_started",
        "notebook_saved",
        "cell_started",
        "output",
        "output",
        "cell_finished",
        "cell_started",
        "cell_finished",
        "notebook_saved",
        "run_finished",
    ]
    assert events[0].cells_total == 2
    assert (events[2].index, events[2].first_line) == (1, "print('hello')")
    assert events[3].output == {"output_type": "stream", "name": "stdout", "text": "hello\n"}
    assert events[4].output["data"] == {"text/plain": "2"}
    assert events[5].ok
    assert events[5].peak_memory_bytes > 10_000_000
    assert (finished.state, begun.code) == (RunState.SUCCEEDED, 0)
    assert finished.output_path == str(begun.output / "output.ipynb")
    written = begun.notebook()
    assert begun.texts() == ["hello\n2", "", ""]
    assert written.cells[1].id == events[2].cell_id
    assert written.cells[1].metadata.papermill.status == "completed"
    assert written.metadata.papermill.duration > 0
    assert written.metadata.element.run_id == "r-1"
    assert written.metadata.element.snapshot_id == "a" * 64
    assert written.metadata.language_info.name == "python"
    assert (
        begun.of("notebook_saved")[-1].size_bytes == (begun.output / "output.ipynb").stat().st_size
    )


async def test_parameters_arrive_with_their_types_and_replace_those_of_an_earlier_run(run):
    cells = [
        code("import datetime\nfrom datetime import date", "imports"),
        code("n = 1\nday = date(2024, 1, 1)\nname = 'a'\nrates = [0.1]", "parameters"),
        "print(n, repr(day), name, rates, datetime.time)",
    ]
    given = {"n": 5, "day": "2024-10-12", "name": "2024-10-12", "rates": [1, None]}

    first, _ = await run(notebook(*cells), parameters=given)
    second, _ = await run(first.notebook(), parameters={"n": 6})

    said = "5 datetime.date(2024, 10, 12) 2024-10-12 [1, None] <class 'datetime.time'>\n"
    assert first.texts()[-1] == said
    tags = [cell.metadata.tags for cell in first.notebook().cells]
    assert tags == [["imports"], ["parameters"], ["injected-parameters"], []]
    assert first.notebook().metadata.papermill.parameters == given
    assert second.texts()[-1].startswith("6 datetime.date(2024, 1, 1) a [0.1]")
    assert [cell.metadata.tags for cell in second.notebook().cells] == tags


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"parameters": {"epoch": 1}}, "no parameter 'epoch'. Did you mean 'epochs'?"),
        ({"parameters": {"epochs": "3"}}, "Parameter 'epochs' is a whole number"),
        ({"parameters": {"a b": 1}}, "cannot be the name of a parameter"),
        ({"kernel": "cobol"}, "There is no kernel 'cobol' here. Installed: "),
        ({"kernel": "../x"}, "There is no kernel '../x' here."),
        ({"notebook": "../other.ipynb"}, "must stay inside the project"),
        ({"notebook": "nothing.ipynb"}, "There is no notebook"),
    ],
)
async def test_a_bad_request_is_refused_in_words_before_any_kernel_starts(run, fields, sentence):
    begun, finished = await run(notebook(code("epochs = 3", "parameters")), **fields)

    assert (finished.state, begun.code) == (RunState.FAILED, 2)
    assert sentence in finished.reason
    assert [event.kind for event in begun.events()] == ["run_finished"]


@pytest.mark.parametrize(
    "text", ["", "{", "not json", "[]", '{"nbformat": 4}', '{"a":' * 200 + "1" + "}" * 200]
)
async def test_what_is_no_notebook_is_refused_before_any_kernel_starts(run, text):
    begun, finished = await run(text)

    assert (finished.state, begun.code) == (RunState.FAILED, 2)
    assert "This is not a notebook that can be run" in finished.reason


async def test_a_notebook_of_100_mb_is_refused(run):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "x" * 100_000_000}]
    document = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}

    begun, finished = await run(json.dumps(document))

    assert begun.code == 2
    assert "at most 64 MB" in finished.reason


async def test_a_failing_cell_ends_the_run_and_is_told_without_colours(run):
    begun, finished = await run(notebook("x = 1", "print('so far')\nx / 0", "print('never')"))

    failing = finished.failing_cell
    assert (finished.state, begun.code) == (RunState.FAILED, 1)
    assert (
        finished.reason == "Cell 2 (`print('so far')`) failed: ZeroDivisionError: division by zero"
    )
    assert (failing.index, failing.ename, failing.evalue) == (
        1,
        "ZeroDivisionError",
        "division by zero",
    )
    assert "x / 0" in failing.traceback
    assert "\x1b" not in failing.traceback
    assert begun.texts() == ["", "so far\nZeroDivisionError: division by zero", ""]
    assert [event.ok for event in begun.of("cell_finished")] == [True, False]
    states = [cell.metadata.papermill.status for cell in begun.notebook().cells]
    assert states == ["completed", "failed", "pending"]
    assert begun.notebook().metadata.element.state == "failed"


async def test_tags_say_which_cells_may_fail_and_which_are_left_out(run):
    begun, finished = await run(
        notebook(
            code("1 / 0", "raises-exception"),
            code("raise SystemError", "skip-execution"),
            raw("not code"),
            markdown("not code"),
            "print('reached')",
        )
    )

    assert finished.state is RunState.SUCCEEDED
    assert begun.texts() == ["ZeroDivisionError: division by zero", "", "reached\n"]
    assert begun.of("run_started")[0].cells_total == 2


@pytest.mark.parametrize(
    "cells", [[], [markdown("only words")], [""]], ids=["none", "words", "blank"]
)
async def test_a_notebook_without_code_succeeds(run, cells):
    begun, finished = await run(notebook(*cells))

    assert finished.state is RunState.SUCCEEDED
    assert len(begun.notebook().cells) == len(cells)


async def test_a_notebook_of_format_three_is_brought_up_to_date(run):
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 1, "metadata": {}, "source": "Title"},
                    {
                        "cell_type": "code",
                        "collapsed": False,
                        "input": ["x = 4\n", "print(x)"],
                        "language": "python",
                        "metadata": {},
                        "outputs": [{"output_type": "pyout", "broken": True}],
                    },
                ],
            }
        ],
    }

    begun, finished = await run(json.dumps(old))

    assert finished.state is RunState.SUCCEEDED
    assert begun.texts() == ["4\n"]
    assert begun.notebook().nbformat_minor == 5


async def test_a_notebook_without_cell_ids_gets_them_and_doubled_ones_are_mended(run):
    cell = {
        "cell_type": "code",
        "metadata": {},
        "source": ["1"],
        "outputs": [],
        "execution_count": 1,
    }
    old = {"nbformat": 4, "nbformat_minor": 2, "metadata": {}, "cells": [cell, cell]}
    new = {**old, "nbformat_minor": 5, "cells": [{**cell, "id": "a"}, {**cell, "id": "a"}]}

    for document in (old, new):
        begun, finished = await run(json.dumps(document))
        assert finished.state is RunState.SUCCEEDED
        assert len({each.id for each in begun.notebook().cells}) == 2


async def test_paths_and_imports_work_as_in_the_editor_and_what_is_written_is_kept(run, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("outside")
    source = "\n".join(
        [
            "import os, pathlib, neighbour",
            "print(pathlib.Path('../data/in.csv').read_text(), neighbour.answer)",
            "pathlib.Path('plot.png').write_bytes(b'png')",
            "pathlib.Path('../data/out.csv').write_text('written')",
            "pathlib.Path('../data/in.csv').write_text('changed')",
            f"os.symlink({str(secret)!r}, 'link.txt')",
            f"os.symlink({str(tmp_path)!r}, 'link')",
            "os.mkfifo('pipe')",
        ]
    )

    begun, finished = await run(
        notebook(source),
        name="work/notebook.ipynb",
        files={
            "work/neighbour.py": "answer = 42",
            "data/in.csv": "original",
            "data/untouched.csv": "untouched",
        },
    )

    assert finished.state is RunState.SUCCEEDED, finished.reason
    assert begun.texts()[0] == "original 42\n"
    assert {artifact.path: artifact.size_bytes for artifact in finished.artifacts} == {
        "work/plot.png": 3,
        "data/out.csv": 7,
        "data/in.csv": 7,
    }
    kept = begun.output / "artifacts"
    assert (kept / "data" / "out.csv").read_text() == "written"
    assert not (kept / "work" / "link.txt").is_symlink()
    assert not (kept / "work" / "link").exists()
    assert not (kept / "work" / "__pycache__").exists()


async def test_a_kernel_sees_the_variables_of_the_run_but_no_secrets(run, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret-token")

    begun, _ = await run(
        notebook(
            "import os\nprint(sorted(k for k in os.environ if 'ELEMENT' in k), os.environ['A'])"
        ),
        environment={"A": "1", "ELEMENT_RUN_ID": "r-1"},
        token_file=str(token),
    )

    assert begun.texts() == ["['ELEMENT_RUN_ID'] 1\n"]


async def test_what_a_notebook_records_is_told_and_kept(run):
    begun, finished = await run(
        notebook(
            "from element_jupyter import record\nrecord(auc=0.93, model={'depth': 3})",
            "from IPython.display import display\n"
            "display({'application/vnd.element.record+json': {'rows': 7}}, raw=True)",
            "display({'application/scrapbook.scrap.json+json':"
            " {'name': 'old', 'data': [1], 'encoder': 'json', 'version': 1}}, raw=True)",
            "import datetime\nrecord(auc=0.94, day=datetime.date(2024, 10, 12))",
        )
    )

    assert finished.recorded == {
        "auc": 0.94,
        "model": {"depth": 3},
        "rows": 7,
        "old": [1],
        "day": "2024-10-12",
    }
    assert [event.name for event in begun.of("recorded")][:3] == ["auc", "model", "rows"]


async def test_what_cannot_be_recorded_fails_in_words(run):
    _, finished = await run(notebook("from element_jupyter import record\nrecord(x=float('nan'))"))

    assert finished.failing_cell.evalue == "x is nan, which cannot be recorded; record None instead"


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)", "exit()", "raise SystemExit"])
async def test_a_notebook_may_end_itself(run, source):
    begun, finished = await run(notebook("x = 1", source, "print('never')"))

    assert finished.state is RunState.SUCCEEDED, finished.reason
    assert begun.texts()[-1] == ""
    assert "ended itself in cell 2" in begun.of("note")[0].message


async def test_another_exit_code_is_a_failure(run):
    _, finished = await run(notebook("import sys\nsys.exit(3)"))

    assert (finished.state, finished.failing_cell.ename) == (RunState.FAILED, "SystemExit")


async def test_a_notebook_of_another_kernel_runs_with_its_parameters(run):
    document = notebook(
        code("name=nobody\nn=1", "parameters"), 'echo "$name $n"', kernel="bash", language="bash"
    )

    begun, finished = await run(document, parameters={"name": "a b $(id)", "n": 3})

    assert finished.state is RunState.SUCCEEDED, finished.reason
    assert begun.texts()[-1].strip() == "a b $(id) 3"
    assert begun.of("run_started")[0].kernel == "bash"
