"""Job files as YAML: read with every limit that a stranger's file needs, written for people.

Scalars mean what YAML 1.2 says, not 1.1: `no`, `on` and `1:30` are texts, and so are dates. Aliases
and tags are refused: a job needs neither, and they are how a small file becomes a large one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from element_jupyter.core.errors import Invalid
from element_jupyter.core.job_files import (
    FILE_BYTES,
    FileInvalid,
    JobFile,
    Metadata,
    document,
    metadata_document,
    parse,
)
from element_jupyter.core.jobs import Job

MAX_DEPTH = 50
MAX_NODES = 50_000

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
"""YAML 1.2, core schema: https://yaml.org/spec/1.2.2/#103-core-schema."""

_METADATA = re.compile(r"^metadata[ ]*:.*\n?(?:(?:[ \t]+.*|[ \t]*)(?:\n|\Z))*", re.MULTILINE)
"""The whole block at the top level, with what is indented below it."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class JobYaml:
    """`JobFormat` over PyYAML."""

    def read(self, content: bytes) -> JobFile:
        data, lines = read_yaml(content)
        try:
            return parse(data)
        except Invalid as error:
            field_path = error.field or ""
            while field_path and field_path not in lines:
                field_path = field_path.rpartition(".")[0]
            raise FileInvalid(
                error.message, error.hint, field=error.field, line=lines.get(field_path)
            ) from None

    def write(self, job: Job, metadata: Metadata | None = None) -> str:
        return _dump(document(job, metadata))

    def stamp(self, text: str, metadata: Metadata) -> str:
        kept = re.sub(
            r"^metadata[ ]*:.*\n?(?:(?:[ \t]+.*|[ \t]*)(?:\n|\Z))*", "", text, flags=re.MULTILINE
        )
        kept = kept if kept.endswith("\n") else kept + "\n"
        return kept + _dump({"metadata": metadata_document(metadata)})


def read_yaml(content: bytes) -> tuple[Any, dict[str, int]]:
    """Return what one YAML document says, and the line (from 1) of each dotted path in it.

    Raises:
        FileInvalid: it is too large, not UTF-8, not YAML, too deep, or says a key twice.
    """
    if len(content) > FILE_BYTES:
        raise FileInvalid(f"The file is larger than {FILE_BYTES:,} bytes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FileInvalid("The file is not UTF-8.", "Save it as UTF-8.", line=line) from None
    try:
        return _Reader(text).document()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise FileInvalid(
            "The file holds a character that YAML does not allow.", "Remove it.", line=line
        ) from None


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> FileInvalid:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    shown = text.split("\n")[mark.line] if mark and mark.line < text.count("\n") + 1 else ""
    if "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in str(error.problem):
        return FileInvalid("A line is indented with a tab.", "YAML takes spaces only.", line=line)
    return FileInvalid(
        f"This is not YAML: {error.problem or error.context}.",
        "Look at the indentation, and quote texts that hold ': ' or '#'.",
        line=line,
    )


@dataclass
class _Open:
    """A collection that is being read."""

    data: dict[str, Any] | list[Any]
    path: str
    key: str | None = None


@dataclass
class _Reader:
    """Builds the data from parser events, so that limits hold before anything is built."""

    text: str
    lines: dict[str, int] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    root: Any = None
    nodes: int = 0

    def document(self) -> tuple[Any, dict[str, int]]:
        documents = 0
        for event in yaml.parse(self.text, _LOADER):
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise self._fault(event, "A file holds one job.", "Make a file for each.")
                case yaml.AliasEvent():
                    raise self._fault(event, "Aliases (*name) are not allowed.", "Write it twice.")
                case yaml.NodeEvent():
                    self._node(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self.stack.pop()
        return self.root, self.lines

    def _node(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._fault(event, f"The file holds more than {MAX_NODES:,} values.")
        if event.tag not in {None, "!"}:
            raise self._fault(event, "Tags (!name) are not allowed.", "Remove the tag.")
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.data, dict) and top.key is None:
            self._key(top, event)
            return
        if isinstance(event, yaml.ScalarEvent):
            self._place(event, top, self._scalar(event))
            return
        if len(self.stack) >= MAX_DEPTH:
            raise self._fault(event, f"The file is nested deeper than {MAX_DEPTH} levels.")
        data: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._place(event, top, data)
        self.stack.append(_Open(data, path))

    def _key(self, top: _Open, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._fault(event, "A key must be a text.")
        if event.value in top.data:
            raise self._fault(event, f"The key '{event.value[:80]}' is there twice.", "Remove one.")
        top.key = event.value
        self.lines[self._join(top.path, top.key)] = _line(event)

    def _place(self, event: Any, top: _Open | None, value: Any) -> str:
        if top is None:
            self.root = value
            return ""
        if isinstance(top.data, list):
            path = self._join(top.path, str(len(top.data)))
            self.lines[path] = _line(event)
            top.data.append(value)
            return path
        key, top.key = top.key or "", None
        top.data[key] = value
        return self._join(top.path, key)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        value = event.value
        if event.style or event.tag == "!":
            return value
        if value in _WORDS:
            return _WORDS[value]
        if len(value) <= 400 and _INTEGER.fullmatch(value):
            return int(value, 0) if value[:2] in {"0o", "0x"} else int(value)
        if len(value) <= 400 and _NUMBER.fullmatch(value):
            return float(value)
        if value.lower().lstrip("+-") in {".inf", ".nan"}:
            raise self._fault(event, f"'{value}' is not a number that JSON knows.")
        return value

    @staticmethod
    def _join(path: str, part: str) -> str:
        return f"{path}.{part}" if path else part

    @staticmethod
    def _fault(event: yaml.Event, message: str, hint: str = "") -> FileInvalid:
        return FileInvalid(message, hint, line=_line(event))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes texts so that `read_yaml` reads them back as texts."""


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    first, *others = text.removesuffix("\n").split("\n")
    # what begins or ends with blanks needs indicators, with which the emitter ends the document
    if "\n" in text and first[:1].strip() and (not others or others[-1]):
        if all(line == line.rstrip() and line.isprintable() for line in (first, *others)):
            style = "|"
    elif text in _WORDS or _INTEGER.fullmatch(text) or _NUMBER.fullmatch(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_number(dumper: Any, number: float) -> Any:
    text = repr(number)
    if "." not in text:
        text = text.replace("e", ".0e")  # a number without a point is a text to PyYAML's emitter
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_number)


def _dump(data: dict[str, Any]) -> str:
    text: str = yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return text
