"""A run's events as lines of a task log: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from element_jupyter.core.runs import RECORD_TYPES

Level = Literal["info", "warning", "error"]

MAX_LINES: Final = 200
"""Lines of one output that go to the log; the executed notebook has them all."""
_MAX_LINE_CHARACTERS: Final = 4000
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Line(NamedTuple):
    """One line for the log."""

    level: Level
    text: str


def lines(event: dict[str, Any]) -> Iterator[Line]:
    """Yield what one event of a run (as JSON) says; some kinds say nothing."""
    match event.get("kind"):
        case "state_changed":
            yield from _state_changed(event)
        case "run_started":
            cells = event["cells_total"]
            pin = event.get("pin")
            where = f" in {pin['definition']} ({pin['environment_id']})" if pin else ""
            yield Line(
                "info", f"Kernel {event['kernel']} runs {cells} cell{'s'[: cells != 1]}{where}."
            )
        case "cell_started":
            first_line = _clean(event.get("first_line", ""))
            yield Line("info", f"Cell {event['index'] + 1}: {first_line}".rstrip(": "))
        case "output":
            yield from _output(event)
        case "cell_finished":
            verb = "took" if event["ok"] else "failed after"
            level: Level = "info" if event["ok"] else "error"
            yield Line(
                level, f"Cell {event['index'] + 1} {verb} {event['duration_seconds']:.1f} s."
            )
        case "recorded":
            yield Line("info", f"Recorded {event['name']} = {_clean(str(event['value']))}"[:1000])
        case "note":
            noted: Level = "warning" if event.get("level") == "warning" else "info"
            yield from _text(noted, event["message"])
        case "run_finished":
            reason = event.get("reason", "")
            spent = f"{event['duration_seconds']:.1f} s"
            level = "info" if event["state"] == "succeeded" else "error"
            yield Line(level, f"The run {event['state']} after {spent}. {reason}".strip())


def _state_changed(event: dict[str, Any]) -> Iterator[Line]:
    state, reason = event["state"], event.get("reason", "")
    place = event.get("queue_position")
    where = f" at place {place}" if place is not None else ""
    level: Level = "warning" if state in {"lost", "failed", "stopped"} else "info"
    yield Line(level, f"The run is {state}{where}. {reason}".strip())


def _output(event: dict[str, Any]) -> Iterator[Line]:
    output = event["output"]
    match output.get("output_type"):
        case "stream":
            level: Level = "warning" if output.get("name") == "stderr" else "info"
            yield from _text(level, _joined(output.get("text", "")))
        case "error":
            traceback = output.get("traceback") or [
                f"{output.get('ename')}: {output.get('evalue')}"
            ]
            yield from _text("error", "\n".join(map(str, traceback)))
        case "display_data" | "execute_result" | "update_display_data":
            data = output.get("data") or {}
            if any(kind in data for kind in RECORD_TYPES):
                return  # its values have events of their own
            for kind, value in data.items():
                # a figure's text is only its class and size
                if kind.startswith("image/"):
                    yield Line("info", f"[{kind} {_size(_joined(value))}]")
            if "text/plain" in data and not any(kind.startswith("image/") for kind in data):
                yield from _text("info", _joined(data["text/plain"]))
    if event.get("truncated"):
        yield Line("info", "[… the rest is in the executed notebook]")


def _text(level: Level, text: str) -> Iterator[Line]:
    rows = _ESCAPES.sub("", text).rstrip("\n").split("\n")
    for row in rows[:MAX_LINES]:
        # a progress bar writes over its line: what stays is what it wrote last
        shown = row.rstrip("\r").rpartition("\r")[2]
        yield Line(level, _clean(shown)[:_MAX_LINE_CHARACTERS])
    if len(rows) > MAX_LINES:
        hidden = len(rows) - MAX_LINES
        yield Line(level, f"[… {hidden} more lines are in the executed notebook]")


def _joined(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _clean(text: str) -> str:
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def _size(base64: str) -> str:
    size_bytes = len(base64) * 3 // 4
    return f"{size_bytes / 1000:.0f} kB" if size_bytes >= 1000 else f"{size_bytes} bytes"
