"""Event streams as files: `stream.jsonl`, one line per event, in each run's directory.

A line is `{"id":7,"from":5,"event":{…}}`: the event's id in the stream, the runner's own sequence
number (0: the control plane's event), and the event. Ids rise by one. Lines are appended under a
lock of the file, so that several processes may; a line that a killed process left half written is
cut off by the next who opens or appends. A write is safe from the death of any process at once, and
from a power failure once the stream has ended.

Compacting an ended stream joins neighbouring texts of one cell. The joined event has the last of
their ids, and `"lengths"` tells how many characters each had; so a reader who comes back with an id
from the middle gets exactly the rest.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import weakref
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from element_jupyter.core.errors import ElementError
from element_jupyter.core.runs import EVENT, Event, RunFinished, StateChanged

_HEAD: Final = re.compile(
    rb'\{"id":(\d+),"from":(\d+)(,"final":true)?(?:,"lengths":\[([\d,]+)\])?,"event":'
)
_SEQUENCE: Final = re.compile(rb'\{"sequence":(\d+),')
_READ_BYTES: Final = 256 * 1024
_OPEN_STREAMS: Final = 64
"""Streams whose index is kept although nobody reads them."""

LARGE_OUTPUT_BYTES: Final = 64 * 1024
"""Outputs above this leave the stream when it is compacted, and joined texts do not grow beyond."""


class EventFiles:
    """The streams of all runs below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: weakref.WeakValueDictionary[str, EventStreamFile] = (
            weakref.WeakValueDictionary()
        )
        self._recent: OrderedDict[str, EventStreamFile] = OrderedDict()

    def stream(self, run_id: str) -> EventStreamFile:
        """Return the stream of a run; everybody who holds it shares one."""
        stream = self._open.get(run_id)
        if stream is None:
            stream = self._open[run_id] = EventStreamFile(self._root / run_id / "stream.jsonl")
        self._recent[run_id] = stream
        self._recent.move_to_end(run_id)
        if len(self._recent) > _OPEN_STREAMS:
            self._recent.popitem(last=False)
        return stream

    def told(self, run_id: str, after: int, batch: int = 500) -> Iterator[list[Event]]:
        """Yield what the runner wrote down itself after a sequence number, in batches.

        A last line that it could not finish is left out, and so is all after a damaged one.
        """
        path = self._root / run_id / "events.jsonl"
        if not path.exists():
            return
        events: list[Event] = []
        with path.open("rb") as file:
            for line in file:
                number = _SEQUENCE.match(line)
                if number is not None and int(number[1]) <= after:
                    continue
                try:
                    event = EVENT.validate_json(line)
                except ValidationError:
                    break
                if event.sequence > after:
                    events.append(event)
                if len(events) == batch:
                    yield events
                    events = []
        if events:
            yield events


class _Index:
    """Where each line of one file begins, and the last id in it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, self.descriptor)
        self.ids = array("Q")
        self.offsets = array("Q")
        self.end = 0
        self.reported = 0
        self.announced = 0
        """How many lines readers may see."""
        self.complete = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file against other writers, and know what they have written."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        try:
            if os.fstat(self.descriptor).st_size != self.end:
                self._scan()
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _scan(self) -> None:
        rest = b""
        position = self.end
        while chunk := os.pread(self.descriptor, _READ_BYTES, position):
            position += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                head = _HEAD.match(line)
                if head is None:
                    break
                self.add(int(head[1]), int(head[2]), len(line) + 1, final=head[3] is not None)
            else:
                continue
            rest = b"\n"
            break
        if rest:
            os.ftruncate(self.descriptor, self.end)

    def add(self, last_id: int, reported: int, length: int, *, final: bool) -> None:
        self.ids.append(last_id)
        self.offsets.append(self.end)
        self.end += length
        self.reported = max(self.reported, reported)
        self.complete = self.complete or final

    def lines(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield whole lines, reading as few bytes at a time as hold one."""
        for number in range(start, stop):
            begin = self.offsets[number]
            end = self.offsets[number + 1] if number + 1 < len(self.offsets) else self.end
            yield os.pread(self.descriptor, end - begin, begin)


class EventStreamFile:
    """One run's stream: appended to, announced, and read by any number of slow readers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index = _Index(path)
        with self._index.locked():
            pass
        self._index.announced = len(self._index.ids)
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def last_id(self) -> int:
        return self._index.ids[-1] if self._index.ids else 0

    @property
    def reported(self) -> int:
        """The last of the runner's sequence numbers in the stream."""
        return self._index.reported

    @property
    def complete(self) -> bool:
        """Whether the event that ends the stream is in it."""
        return self._index.complete

    @property
    def over(self) -> bool:
        """Whether readers may see that event too."""
        index = self._index
        return index.complete and index.announced == len(index.ids)

    def report(self, events: Sequence[Event]) -> None:
        """Append what the runner tells; what is there already, and all after a gap, is left out."""
        with self._index.locked():
            fresh: list[tuple[Event, int]] = []
            for event in events:
                if event.sequence == self._index.reported + len(fresh) + 1:
                    fresh.append((event, event.sequence))
            self._write(fresh)

    def add(self, event: Event) -> None:
        """Append an event of the control plane's own."""
        with self._index.locked():
            self._write([(event, 0)])

    def _write(self, events: Sequence[tuple[Event, int]]) -> None:
        if self._index.complete:
            return
        index, lines = self._index, []
        last = self.last_id
        for number, (event, source) in enumerate(events, last + 1):
            final = _ends(event)
            body = event.model_copy(update={"sequence": number}).model_dump_json().encode()
            mark = b',"final":true' if final else b""
            lines.append(b'{"id":%d,"from":%d%s,"event":%s}\n' % (number, source, mark, body))
        _write_all(index.descriptor, b"".join(lines))
        for number, ((event, source), line) in enumerate(zip(events, lines, strict=True), last + 1):
            index.add(number, source, len(line), final=_ends(event))
        if index.complete:
            os.fsync(index.descriptor)

    def announce(self) -> None:
        """Let readers see all that was appended: after the record agrees with it."""
        self._index.announced = len(self._index.ids)
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def refresh(self) -> None:
        """Find what other processes have appended."""
        before = len(self._index.ids)
        with self._index.locked():
            pass
        if len(self._index.ids) != before:
            self.announce()

    # -------------------------------------------------------------------------------- reading

    def read(self, after: int, limit: int = 1000) -> list[tuple[int, bytes]]:
        """Read announced events with higher ids as (id, JSON): some of them, if there are any."""
        index = self._index
        visible = index.announced
        start = bisect_right(index.ids, after, 0, visible)
        found: list[tuple[int, bytes]] = []
        size = 0
        for line in index.lines(start, min(start + limit, visible)):
            item = _event(line, after)
            found.append(item)
            size += len(item[1])
            if size > _READ_BYTES:
                break
        return found

    async def wait(self, after: int, timeout_seconds: float) -> bool:
        """Wait until there is more to read than `after`; False when there was not in time."""
        if self._more(after):
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(timeout_seconds):
                await future
        except TimeoutError:
            self.refresh()
        finally:
            self._waiting.discard(future)
        return self._more(after)

    def _more(self, after: int) -> bool:
        index = self._index
        return index.announced > 0 and index.ids[index.announced - 1] > after

    # ------------------------------------------------------------------------------ compacting

    def compact(self, *, drop_large: bool) -> None:
        """Rewrite an ended stream smaller; may run in a thread while others read.

        `drop_large` when the executed notebook has the large outputs.
        """
        old = self._index
        if not old.complete:
            return
        temporary = self._path.with_suffix(".compact")
        temporary.unlink(missing_ok=True)
        new = _Index(temporary)
        for line in _compacted(old.lines(0, len(old.ids)), drop_large=drop_large):
            head = _head(line)
            _write_all(new.descriptor, line)
            new.add(int(head[1]), int(head[2]), len(line), final=head[3] is not None)
        os.fsync(new.descriptor)
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        new.announced = len(new.ids)
        self._index = new


def _ends(event: Event) -> bool:
    return isinstance(event, RunFinished) or (isinstance(event, StateChanged) and event.state.ended)


def _head(line: bytes) -> re.Match[bytes]:
    head = _HEAD.match(line)
    if head is None:
        raise ElementError("An event stream is damaged: its file was changed by something else.")
    return head


def _event(line: bytes, after: int) -> tuple[int, bytes]:
    """Take the event out of a line; of joined texts, what lies after an id."""
    head = _head(line)
    last_id, body = int(head[1]), line[head.end() : -2]
    if head[4] is None:
        return last_id, body
    lengths = [int(length) for length in head[4].split(b",")]
    known = after - (last_id - len(lengths))
    if known <= 0:
        return last_id, body
    event = json.loads(body)
    event["output"]["text"] = event["output"]["text"][sum(lengths[:known]) :]
    return last_id, json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _compacted(lines: Iterator[bytes], *, drop_large: bool) -> Iterator[bytes]:
    joined: _Joined | None = None
    for line in lines:
        head = _head(line)
        body = line[head.end() : -2]
        event = json.loads(body) if b'"kind":"output"' in body[:200] else {}
        if event and event["output"].get("output_type") == "stream":
            if joined is not None and joined.takes(event):
                joined.add(event, int(head[2]))
                continue
            if joined is not None:
                yield joined.line()
            joined = _Joined(event, int(head[2]))
            continue
        if joined is not None:
            yield joined.line()
            joined = None
        if event and drop_large and len(body) > LARGE_OUTPUT_BYTES:
            yield _without_content(event, head)
        else:
            yield line
    if joined is not None:
        yield joined.line()


class _Joined:
    """Neighbouring texts of one stream of one cell, as one event."""

    def __init__(self, event: dict[str, Any], source: int) -> None:
        self._event = event
        self._texts = [_text(event)]
        self._source = source
        self._id = event["sequence"]
        self._size = len(self._texts[0])

    def takes(self, event: dict[str, Any]) -> bool:
        mine = self._event
        return (
            event["index"] == mine["index"]
            and event["output"].get("name") == mine["output"].get("name")
            and not event.get("truncated")
            and not mine.get("truncated")
            and self._size + len(_text(event)) <= LARGE_OUTPUT_BYTES
        )

    def add(self, event: dict[str, Any], source: int) -> None:
        self._texts.append(_text(event))
        self._size += len(self._texts[-1])
        self._id, self._source = event["sequence"], source

    def line(self) -> bytes:
        output = self._event["output"] | {"text": "".join(self._texts)}
        event = self._event | {"sequence": self._id, "output": output}
        lengths = b",".join(b"%d" % len(text) for text in self._texts)
        mark = b',"lengths":[%s]' % lengths if len(self._texts) > 1 else b""
        return _line(self._id, self._source, mark, event)


def _text(event: dict[str, Any]) -> str:
    text = event["output"].get("text", "")
    return "".join(text) if isinstance(text, list) else str(text)


def _without_content(event: dict[str, Any], head: re.Match[bytes]) -> bytes:
    output = event["output"]
    kept = {key: output[key] for key in ("output_type", "execution_count") if key in output}
    if "data" in output:
        kept |= {"data": {}, "metadata": {}}
    return _line(int(head[1]), int(head[2]), b"", event | {"output": kept, "truncated": True})


def _line(last_id: int, source: int, mark: bytes, event: dict[str, Any]) -> bytes:
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return b'{"id":%d,"from":%d%s,"event":%s}\n' % (last_id, source, mark, body)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
