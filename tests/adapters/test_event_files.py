"""Event streams as files: ids without gaps, nothing lost or doubled, whatever dies."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.adapters.event_files import LARGE_OUTPUT_BYTES, EventFiles
from element_jupyter.core.runs import (
    CellFinished,
    CellStarted,
    Note,
    Output,
    RunFinished,
    RunState,
    StateChanged,
)

AT = datetime(2026, 11, 20, tzinfo=UTC)
RUN = "r-" + "0" * 26


def text(sequence, value, index=0, name="stdout"):
    output = {"output_type": "stream", "name": name, "text": value}
    return Output(sequence=sequence, at=AT, index=index, output=output)


def finished(sequence):
    return RunFinished(sequence=sequence, at=AT, state=RunState.SUCCEEDED, duration_seconds=1)


def read(stream, after=0):
    found = []
    while batch := stream.read(found[-1][0] if found else after):
        found += batch
    return [(number, json.loads(event)) for number, event in found]


def texts(stream, after=0):
    return "".join(
        event["output"]["text"]
        for _, event in read(stream, after)
        if event["kind"] == "output" and event["output"]["output_type"] == "stream"
    )


def test_events_get_ids_in_order_and_known_ones_are_dropped(tmp_path):
    stream = EventFiles(tmp_path).stream(RUN)
    stream.add(StateChanged(at=AT, state=RunState.QUEUED))
    stream.report([text(1, "a"), text(2, "b")])
    stream.report([text(1, "a"), text(2, "b"), text(3, "c")])
    stream.report([text(5, "not yet")])
    stream.announce()
    found = read(stream)
    assert [(number, event["sequence"]) for number, event in found] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
    ]
    assert texts(stream) == "abc"
    assert stream.reported == 3


def test_readers_see_only_what_was_announced(tmp_path):
    stream = EventFiles(tmp_path).stream(RUN)
    stream.report([text(1, "a")])
    assert stream.read(0) == []
    stream.announce()
    assert texts(stream) == "a"


@pytest.mark.parametrize(
    "torn", [b"{", b'{"id":3,"from":3,"event":{"seq', b"\x00" * 100, b"nonsense\n"]
)
def test_a_line_that_a_killed_process_left_is_cut_off(tmp_path, torn):
    files = EventFiles(tmp_path)
    files.stream(RUN).report([text(1, "a"), text(2, "b")])
    path = tmp_path / RUN / "stream.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    again = EventFiles(tmp_path).stream(RUN)
    again.report([text(2, "b"), text(3, "c")])
    again.announce()
    assert texts(again) == "abc"
    assert [number for number, _ in read(again)] == [1, 2, 3]


def _append(root, numbers):
    stream = EventFiles(root).stream(RUN)
    for number in numbers:
        stream.add(Note(at=AT, message=str(number)))


def test_several_processes_may_append(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_append, args=(tmp_path, range(k, k + 100))) for k in (0, 100, 200)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read(EventFiles(tmp_path).stream(RUN))
    assert [number for number, _ in found] == list(range(1, 301))
    assert {int(event["message"]) for _, event in found} == set(range(300))


def test_nothing_follows_the_end_of_a_stream(tmp_path):
    stream = EventFiles(tmp_path).stream(RUN)
    stream.report([finished(1)])
    stream.report([text(2, "late")])
    stream.add(StateChanged(at=AT, state=RunState.LOST))
    stream.announce()
    assert [event["kind"] for _, event in read(stream)] == ["run_finished"]
    assert stream.over


def test_an_output_that_looks_like_an_end_does_not_end_a_stream(tmp_path):
    stream = EventFiles(tmp_path).stream(RUN)
    data = {"application/json": {"kind": "run_finished", "final": True}}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    stream.report([Output(sequence=1, at=AT, index=0, output=output)])
    again = EventFiles(tmp_path).stream(RUN)
    assert not stream.complete
    assert not again.complete


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["out", "err", "cell"]), st.text(max_size=20)), max_size=40
    ),
    data=st.data(),
)
def test_a_reader_gets_the_same_text_from_any_id_before_and_after_compaction(
    tmp_path_factory, parts, data
):
    stream = EventFiles(tmp_path_factory.mktemp("runs")).stream(RUN)
    for number, (kind, value) in enumerate(parts, 1):
        if kind == "cell":
            stream.report([CellStarted(sequence=number, at=AT, index=0)])
        else:
            stream.report([text(number, value, name="std" + kind)])
    stream.report([finished(len(parts) + 1)])
    stream.announce()
    after = data.draw(st.integers(0, len(parts) + 1))
    before = texts(stream, after)
    kinds = [event["kind"] for _, event in read(stream, after) if event["kind"] != "output"]
    stream.compact(drop_large=True)
    assert texts(stream, after) == before
    assert [e["kind"] for _, e in read(stream, after) if e["kind"] != "output"] == kinds
    assert all(number == event["sequence"] for number, event in read(stream, after))


def test_compaction_joins_texts_drops_large_outputs_and_can_be_read_anew(tmp_path):
    files = EventFiles(tmp_path)
    stream = files.stream(RUN)
    big = {
        "output_type": "display_data",
        "data": {"image/png": "A" * LARGE_OUTPUT_BYTES},
        "metadata": {},
    }
    stream.report([text(number, f"line {number}\n") for number in range(1, 1001)])
    stream.report([Output(sequence=1001, at=AT, index=1, output=big)])
    stream.report(
        [CellFinished(sequence=1002, at=AT, index=1, ok=True, duration_seconds=1), finished(1003)]
    )
    stream.announce()
    path = tmp_path / RUN / "stream.jsonl"
    size = path.stat().st_size
    expected = texts(stream, 500)
    stream.compact(drop_large=True)
    assert path.stat().st_size < size / 10
    again = EventFiles(tmp_path).stream(RUN)
    assert texts(again, 500) == expected
    dropped = next(event for _, event in read(again) if event.get("truncated"))
    assert dropped["output"] == {"output_type": "display_data", "data": {}, "metadata": {}}
    assert read(again, 1002)[0][1]["kind"] == "run_finished"
    assert again.over


async def test_a_waiting_reader_wakes_when_there_is_more(tmp_path):
    stream = EventFiles(tmp_path).stream(RUN)
    waiting = asyncio.create_task(stream.wait(0, 30))
    await asyncio.sleep(0)
    stream.report([text(1, "a")])
    assert not waiting.done()
    stream.announce()
    assert await waiting


async def test_a_waiting_reader_finds_what_another_process_wrote(tmp_path):
    stream, other = (EventFiles(tmp_path).stream(RUN) for _ in range(2))
    other.report([text(1, "a")])
    assert await stream.wait(0, 0.01)
    assert texts(stream) == "a"


def test_the_runners_own_file_is_read_up_to_a_torn_line(tmp_path):
    directory = tmp_path / RUN
    directory.mkdir()
    lines = [text(number, "x").model_dump_json() for number in (1, 2, 3)]
    (directory / "events.jsonl").write_text("\n".join(lines) + '\n{"sequence": 4, "at"')
    found = [
        event.sequence for batch in EventFiles(tmp_path).told(RUN, 1, batch=1) for event in batch
    ]
    assert found == [2, 3]
