"""YAML as far as a definition needs it: texts, lists and mappings, each with its line.

No anchors, no tags and no guessing of types, so that `python: 3.10` is not 3.1, `no` is not false,
and a few lines cannot grow into gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from element_jupyter.adapters.definitions.failures import unreadable

DEEPEST = 16
MOST_NODES = 50_000


@dataclass(frozen=True)
class Node:
    """A text, a list or a mapping, and the line that it begins on."""

    value: str | list[Node] | dict[str, Node]
    line: int

    @property
    def is_empty(self) -> bool:
        return not isinstance(self.value, list | dict) and self.value in {"", "~", "null"}


def read_yaml(text: str, path: str) -> Node | None:
    """Return the one document in a text, None when it is empty.

    Raises:
        EnvironmentFailed: it is no YAML, or uses what is left out here.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(yaml.parse(text, Loader=loader), path).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise unreadable(
            f"{path} is not YAML: {error.problem or error.context}.",
            "Check the indentation and the colons there; a text with ': ' or ' #' in it needs "
            "quotes.",
            file=path,
            # what is missing at the end is missed behind the last line
            line=min(mark.line + 1, text.rstrip().count("\n") + 1) if mark else None,
        ) from None
    except yaml.YAMLError as error:
        raise unreadable(
            f"{path} is not YAML: {str(error).partition(chr(10))[0]}.",
            "Remove the character.",
            file=path,
        ) from None


class _Builder:
    def __init__(self, events: Iterator[Any], path: str) -> None:
        self._events = events
        self._path = path
        self._nodes = 0

    def document(self) -> Node | None:
        import yaml

        found: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and found is not None:
                line = found.line
                raise self._refuse("has more than one document", "Keep one.", line)
            if isinstance(event, yaml.NodeEvent):
                found = self._node(event, 0)
        return found

    def _node(self, event: Any, depth: int) -> Node:
        import yaml

        line = event.start_mark.line + 1
        self._nodes += 1
        if depth > DEEPEST or self._nodes > MOST_NODES:
            raise self._refuse("is nested too deep or too long", "Write it flat.", line)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refuse(
                "has an anchor or alias (& or *)", "Write the values out, or quote the text.", line
            )
        if getattr(event, "tag", None) not in {None, "!"}:
            raise self._refuse(f"has a tag ({event.tag})", "Remove the tag.", line)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Node(items, line)
        if isinstance(event, yaml.MappingStartEvent):
            entries: dict[str, Node] = {}
            while not isinstance(event := next(self._events), yaml.MappingEndEvent):
                key = self._node(event, depth + 1)
                if not isinstance(key.value, str):
                    raise self._refuse("has a key that is no text", "Write a name.", key.line)
                if key.value in entries:
                    raise self._refuse(f"says '{key.value}' twice", "Keep one.", key.line)
                entries[key.value] = self._node(next(self._events), depth + 1)
            return Node(entries, line)
        return Node(str(event.value), line)

    def _refuse(self, fault: str, hint: str, line: int) -> Exception:
        return unreadable(f"{self._path} {fault}.", hint, file=self._path, line=line)
