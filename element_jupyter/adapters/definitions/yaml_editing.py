"""Adding requirements to an `environment.yml` by inserting text, so that all else stays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from element_jupyter.adapters.definitions.requirement import Parsed
from element_jupyter.core.environments.definitions import Definition
from element_jupyter.core.errors import Invalid


@dataclass
class _List:
    """A list in the text: where it and its items are, counted in characters."""

    column: int
    flow: bool
    end: int
    items: list[tuple[int, int, str]] = field(default_factory=list)
    """Start, end and value of each text in it."""


@dataclass
class _Lists:
    dependencies: _List | None = None
    pip: _List | None = None
    empty_pip: int | None = None
    """Where an empty `pip:` ends."""
    pip_column: int = 0
    empty_dependencies: int | None = None
    """Where an empty `dependencies:` ends."""


def added_to_environment(text: str, definition: Definition, fresh: Mapping[str, Parsed]) -> str:
    """Return an `environment.yml` with requirements added below `pip:`.

    A conda package of the same name is asked for in another version instead, if conda can say so.

    Raises:
        Invalid: its lists are written in a way that cannot be added to.
    """
    for requirement, parsed in fresh.items():
        lists = _lists(text)
        if lists.empty_dependencies is not None:
            line_end = _line_end(text, lists.empty_dependencies)
            text = f"{text[:line_end]}\n  - pip{text[line_end:]}"
            lists = _lists(text)
        if lists.dependencies is None:
            raise Invalid(
                f"{definition.path} has no list of dependencies to add to.",
                "Write `dependencies:` and below it one line `  - python` for each package.",
                field="environment",
            )
        text = _added(text, lists, lists.dependencies, requirement, parsed)
    return text


def _added(text: str, lists: _Lists, dependencies: _List, requirement: str, parsed: Parsed) -> str:
    for known in (lists.pip, dependencies):
        for start, end, value in known.items if known else ():
            if _name(value) != parsed.name:
                continue
            if known is dependencies:
                if parsed.url or parsed.extras or ";" in parsed.normal:
                    continue
                channel = value.rpartition("::")
                new = f"{channel[0]}{channel[1]}{requirement.replace(' ', '')}"
            else:
                new = requirement
            return text[:start] + _quoted(new) + text[end:]
    if lists.pip is not None:
        return _inserted(text, lists.pip, _quoted(requirement))
    if lists.empty_pip is not None:
        line_end = _line_end(text, lists.empty_pip)
        line = f"\n{' ' * (lists.pip_column + 2)}- {_quoted(requirement)}"
        return text[:line_end] + line + text[line_end:]
    if dependencies.flow:
        words = [] if any(_name(each[2]) == "pip" for each in dependencies.items) else ["pip"]
        return _inserted(text, dependencies, ", ".join([*words, f"pip: [{_quoted(requirement)}]"]))
    if not any(_name(each[2]) == "pip" for each in dependencies.items):
        text = _inserted(text, dependencies, "pip")
        dependencies = _lists(text).dependencies or dependencies
    below = " " * (dependencies.column + 4)
    return _inserted(text, dependencies, f"pip:\n{below}- {_quoted(requirement)}")


def _inserted(text: str, into: _List, item: str) -> str:
    """Return text with an item at a list's end."""
    if into.flow:
        # the end is behind the bracket
        at = into.end - 1
        before = text[:at].rstrip()
        comma = "" if before.endswith(("[", ",")) else ", "
        space = " " if before.endswith(",") else ""
        return f"{before}{comma}{space}{item}{text[at:]}"
    line_end = _line_end(text, into.items[-1][1] if into.items else into.end)
    return f"{text[:line_end]}\n{' ' * into.column}- {item}{text[line_end:]}"


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][\w.~<>=!*:-]*", text)
    return text if plain else "'" + text.replace("'", "''") + "'"


def _name(value: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", value.rpartition("::")[2].strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _lists(text: str) -> _Lists:
    """Find the lists in a text; it has been read before, so its grammar is right."""
    import yaml

    found = _Lists()
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        if isinstance(event, yaml.MappingStartEvent):
            for key, value in _entries(events):
                if key.value == "dependencies" and isinstance(value, yaml.SequenceStartEvent):
                    found.dependencies = _read_list(events, value, found)
                    continue
                if key.value == "dependencies" and getattr(value, "value", None) == "":
                    found.empty_dependencies = key.end_mark.index
                _skip(events, value)
    return found


def _entries(events: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    import yaml

    while not isinstance(key := next(events), yaml.MappingEndEvent):
        yield key, next(events)


def _read_list(events: Iterator[Any], start: Any, lists: _Lists) -> _List:
    import yaml

    found = _List(start.start_mark.column, bool(start.flow_style), start.end_mark.index)
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        if isinstance(event, yaml.ScalarEvent):
            found.items.append((*_span(event), event.value))
        elif isinstance(event, yaml.MappingStartEvent):
            for key, value in _entries(events):
                if key.value == "pip" and isinstance(value, yaml.SequenceStartEvent):
                    lists.pip = _read_list(events, value, lists)
                    continue
                if key.value == "pip":
                    lists.empty_pip, lists.pip_column = key.end_mark.index, key.start_mark.column
                _skip(events, value)
    found.end = _span(event)[1]
    return found


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _skip(events: Iterator[Any], first: Any) -> None:
    import yaml

    depth = 0
    event = first
    while True:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if not depth:
            return
        event = next(events)
