"""Outputs: what the executed notebook keeps of them, and what is told while they come."""

from __future__ import annotations

import nbformat

from element_jupyter.core.runs import EVENT, Output, RunState
from element_jupyter.runner.events import EventLog, LiveOutputs
from tests.runner.conftest import notebook


async def test_a_progress_bar_is_one_line_in_the_end_and_few_events(run):
    source = """
import sys, time
for i in range(200):
    print(f"\\r{i + 1}/200", end="", file=sys.stderr, flush=True)
    time.sleep(0.002)
print("\\nabc\\bd", file=sys.stderr)
"""
    begun, _ = await run(notebook(source))

    assert begun.texts() == ["200/200\nabd\n"]
    told = begun.of("output")
    assert len(told) < 12
    assert sum(len(event.output["text"]) for event in told) < 300


async def test_pieces_of_a_stream_are_joined_and_the_streams_kept_apart(run):
    source = """
import sys
print("a", flush=True); print("b", flush=True)
print("c", file=sys.stderr, flush=True)
print("d", flush=True)
"""
    begun, _ = await run(notebook(source))

    kept = begun.notebook().cells[0].outputs
    assert [(each.name, each.text) for each in kept if each.name == "stderr"] == [("stderr", "c\n")]
    assert "".join(each.text for each in kept if each.name == "stdout") == "a\nb\nd\n"


async def test_a_flood_is_cut_in_the_middle_and_costs_neither_time_nor_disk(run):
    source = "line = 'x' * 99\nfor i in range(400_000):\n    print(line)\nprint('the end')"

    begun, finished = await run(notebook(source), cell_time_limit_seconds=50)

    text = begun.texts()[0]
    assert finished.state is RunState.SUCCEEDED
    assert 16_000_000 <= len(text) < 18_500_000
    assert "characters were left out here" in text
    assert text.endswith("the end\n")
    written = (begun.output / "events.jsonl").stat().st_size
    assert written < 0.12 * 40_000_000


async def test_large_outputs_are_whole_in_the_notebook_and_cut_while_they_come(run):
    source = "from IPython.display import display\ndisplay({'text/plain': 'x' * 300_000}, raw=True)"

    begun, _ = await run(notebook(source))

    (told,) = begun.of("output")
    assert told.truncated
    assert len(told.output["data"]["text/plain"]) == 4_000
    assert len(begun.texts()[0]) == 300_000


async def test_displays_are_updated_and_cleared_as_in_the_editor(run):
    begun, _ = await run(
        notebook(
            "from IPython.display import display, clear_output\nd = display('first', display_id=True)",
            "d.update('second')",
            "print('gone')\nclear_output()\nprint('kept')",
            "print('replaced')\nclear_output(wait=True)\nprint('by this')",
        )
    )

    assert begun.texts() == ["'second'", "", "kept\n", "by this\n"]
    kinds = [event.output["output_type"] for event in begun.of("output")]
    assert "update_display_data" in kinds
    assert kinds.count("clear_output") == 2
    first, update = (
        next(event.output for event in begun.of("output") if event.output["output_type"] == kind)
        for kind in ("display_data", "update_display_data")
    )
    assert first["transient"]["display_id"] == update["transient"]["display_id"]


async def test_a_thread_prints_into_the_cell_that_started_it(run):
    begun, _ = await run(
        notebook(
            "import threading, time\ngo = threading.Event()\n"
            "t = threading.Thread(target=lambda: (go.wait(), print('from the thread')))\nt.start()",
            "go.set(); t.join()\nprint('second cell')",
        )
    )

    first, second = begun.texts()
    assert "from the thread" in first + second
    assert "second cell" in second


async def test_widgets_keep_their_state_and_what_they_capture(run):
    begun, finished = await run(
        notebook(
            "import ipywidgets as w\nfrom IPython.display import display\ns = w.IntSlider(value=3)\ndisplay(s)",
            "s.value = 7",
            "o = w.Output()\ndisplay(o)\nwith o:\n    print('captured')",
        )
    )

    assert finished.state is RunState.SUCCEEDED, finished.reason
    saved = begun.notebook().metadata.widgets["application/vnd.jupyter.widget-state+json"]
    models = {model["model_name"]: model["state"] for model in saved["state"].values()}
    assert models["IntSliderModel"]["value"] == 7
    assert models["OutputModel"]["outputs"][0]["text"] == "captured\n"


async def test_no_reply_is_missed_while_a_widget_is_told_something(run):
    captures = [f"with o:\n    print({n})" for n in range(60)]

    _, finished = await run(notebook("import ipywidgets as w\no = w.Output()", *captures))

    assert finished.state is RunState.SUCCEEDED, finished.reason


async def test_text_that_utf8_cannot_hold_is_told_without_what_it_cannot(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    LiveOutputs(log).output(0, "a", {"output_type": "stream", "name": "stdout", "text": "a\ud800b"})
    log.close()

    event = EVENT.validate_json((tmp_path / "events.jsonl").read_bytes())

    assert isinstance(event, Output)
    assert event.output["text"] == "a?b"


async def test_a_rich_output_keeps_every_form(run):
    source = """
from IPython.display import display, HTML, JSON
display(HTML("<b>x</b>")); display(JSON({"a": [1, None]}))
class Both:
    def _repr_mimebundle_(self, **_):
        return {"text/plain": "plain", "image/svg+xml": "<svg/>\\n<g/>"}
Both()
"""
    begun, _ = await run(notebook(source))

    outputs = begun.notebook().cells[0].outputs
    assert outputs[0].data["text/html"] == "<b>x</b>"
    assert outputs[1].data["application/json"] == {"a": [1, None]}
    assert outputs[2].output_type == "execute_result"
    assert outputs[2].execution_count == begun.notebook().cells[0].execution_count == 1
    assert outputs[2].data["image/svg+xml"] == "<svg/>\n<g/>"
    assert nbformat.NotebookNode(outputs[2].data)["text/plain"] == "plain"
