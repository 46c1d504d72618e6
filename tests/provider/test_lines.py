"""A run's events in a task's log."""

import pytest

from element_jupyter.provider.lines import MAX_LINES, Line, lines


def output(**what):
    return {"kind": "output", "index": 2, "output": what}


def test_what_a_cell_prints_is_a_line_each():
    event = output(output_type="stream", name="stdout", text="one\ntwo\n")
    assert list(lines(event)) == [Line("info", "one"), Line("info", "two")]


def test_what_a_cell_prints_as_an_error_is_a_warning():
    event = output(output_type="stream", name="stderr", text="careful")
    assert list(lines(event)) == [Line("warning", "careful")]


def test_a_progress_bar_is_its_last_state():
    event = output(output_type="stream", name="stderr", text=" 0%\r 50%\r100%\n")
    assert list(lines(event)) == [Line("warning", "100%")]


def test_colours_and_control_characters_stay_out_of_the_log():
    event = output(output_type="stream", name="stdout", text="\x1b[31mred\x1b[0m\x07 \x1b]0;t\x07x")
    assert list(lines(event)) == [Line("info", "red x")]


def test_a_figure_is_its_kind_and_size():
    event = output(
        output_type="display_data", data={"image/png": "A" * 16000, "text/plain": "<Figure>"}
    )
    assert list(lines(event)) == [Line("info", "[image/png 12 kB]")]


def test_a_result_is_its_text():
    event = output(
        output_type="execute_result", data={"text/plain": ["a\n", "b"], "text/html": "x"}
    )
    assert list(lines(event)) == [Line("info", "a"), Line("info", "b")]


def test_an_error_is_its_traceback():
    event = output(output_type="error", ename="E", evalue="v", traceback=["\x1b[0mtop", "E: v"])
    assert list(lines(event)) == [Line("error", "top"), Line("error", "E: v")]


def test_a_flood_of_lines_is_cut_and_says_so():
    event = output(output_type="stream", name="stdout", text="x\n" * 5000)
    found = list(lines(event))
    assert len(found) == MAX_LINES + 1
    assert found[-1].text == f"[… {5000 - MAX_LINES} more lines are in the executed notebook]"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"kind": "run_started", "cells_total": 1, "kernel": "python3"},
            "Kernel python3 runs 1 cell.",
        ),
        (
            {
                "kind": "run_started",
                "cells_total": 2,
                "kernel": "python3",
                "pin": {"definition": "requirements.txt", "environment_id": "py-1"},
            },
            "Kernel python3 runs 2 cells in requirements.txt (py-1).",
        ),
        (
            {"kind": "note", "level": "info", "message": "Building the environment: resolving."},
            "Building the environment: resolving.",
        ),
        ({"kind": "cell_started", "index": 0, "first_line": "x = 1"}, "Cell 1: x = 1"),
        ({"kind": "cell_started", "index": 4, "first_line": ""}, "Cell 5"),
        ({"kind": "recorded", "name": "accuracy", "value": 0.97}, "Recorded accuracy = 0.97"),
        (
            {"kind": "state_changed", "state": "queued", "queue_position": 3, "reason": "Busy."},
            "The run is queued at place 3. Busy.",
        ),
        (
            {"kind": "run_finished", "state": "succeeded", "duration_seconds": 2.04},
            "The run succeeded after 2.0 s.",
        ),
    ],
)
def test_each_step_of_a_run_is_a_sentence(event, line):
    assert list(lines(event)) == [Line("info", line)]


def test_a_kind_of_event_that_is_new_says_nothing():
    assert list(lines({"kind": "from_the_future", "at": "2030-01-01T00:00:00Z"})) == []
