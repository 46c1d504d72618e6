"""What pydantic found wrong, as one sentence that names the field and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from element_jupyter.core.errors import Invalid

Path = tuple[str | int, ...]

_WORDS = {
    "missing": "it is required",
    "json_invalid": "this is not JSON",
    "none_required": "it must be empty",
    "string_type": "it must be a text",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "finite_number": "it must be a finite number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "dict_type": "it must hold names and values",
    "model_type": "it must hold names and values",
    "model_attributes_type": "it must hold names and values",
    "tuple_type": "it must be a list",
    "list_type": "it must be a list",
    "datetime_type": "it must be a time such as 2026-11-20T06:00:00Z",
    "datetime_parsing": "it must be a time such as 2026-11-20T06:00:00Z",
    "datetime_from_date_parsing": "it must be a time such as 2026-11-20T06:00:00Z",
    "timezone_aware": "it must say its time zone, such as 2026-11-20T06:00:00Z or +01:00",
    "invalid_key": "every name in it must be a text",
}
"""Sentences by pydantic's error types, where pydantic's own is written for programmers."""

_PATTERNS = {
    r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$": (
        "it must be lower-case letters and digits, with single '.', '_' or '-' between them"
    ),
    r"^[0-9a-f]{64}$": "it must be a sha256 in lower-case hexadecimal",
    r"^[A-Za-z_][A-Za-z0-9_]{0,254}$": "it must be a variable name",
    r"^[^/\\\x00-\x1f][^\\\x00-\x1f]*\.ipynb$": (
        "it must be the relative path of a notebook (….ipynb), with '/' between directories"
    ),
    r"^[a-z0-9]+(?:[._-][a-z0-9]+)*:[A-Za-z_][A-Za-z0-9_]{0,254}$": (
        "it must be 'task:name', the name that the task recorded"
    ),
    r"^r-[0-9a-z]{26}$": "it must be a run id, such as r-01jd3…",
}
"""What a text must be, by the pattern that it does not match."""


def located(error: ValidationError, data: Any, schema: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong, unknown keys first: a mistyped key explains the missing one."""
    found = [item for item in error.errors(include_url=False) if not _follows(item, error)]
    for item in sorted(found, key=lambda item: item["type"] != "extra_forbidden"):
        yield Found(item, data, schema)


def _follows(item: Any, error: ValidationError) -> bool:
    """Whether a list is too short only because pydantic leaves out items that are wrong."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == item["loc"]
        for other in error.errors(include_url=False)
    )


class Found:
    """One fault: where (`path`), what (`reason`) and, for an unknown key, what was meant."""

    def __init__(self, item: Any, data: Any, schema: Mapping[str, Any]) -> None:
        self.path = _data_path(item["loc"], data)
        self.reason = _reason(item)
        self.hint = ""
        if item["type"] == "extra_forbidden" and self.path:
            known = _keys(schema, schema, self.path[:-1])
            if meant := nearest(str(self.path[-1]), known):
                self.hint = f"Did you mean '{meant}'?"
            elif known:
                self.hint = f"Known here: {', '.join(sorted(known))}."

    @property
    def field(self) -> str | None:
        return ".".join(_shown(part) for part in self.path) or None

    @property
    def sentence(self) -> str:
        if self.reason == _UNKNOWN:
            *where, key = self.path
            place = f" in {'.'.join(_shown(part) for part in where)}" if where else ""
            return f"There is no key '{_shown(key)}'{place}."
        if self.field:
            return f"{self.field}: {self.reason}."
        return f"{self.reason[0].upper()}{self.reason[1:]}."


_UNKNOWN = "unknown key"


def explain(error: ValidationError, data: Any, schema: Mapping[str, Any]) -> Invalid:
    """Turn what pydantic found in `data` into one `Invalid`; `schema` is its JSON Schema."""
    first, *others = located(error, data, schema)
    more = f"There is more: {' '.join(found.sentence for found in others[:3])}" if others else ""
    return Invalid(first.sentence, " ".join(filter(None, [first.hint, more])), field=first.field)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    by_plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(word[:100]), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _shown(part: str | int) -> str:
    text = "".join(char if char.isprintable() else "�" for char in str(part)[:81])
    return text if len(text) <= 80 else text[:77] + "…"


def _reason(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _UNKNOWN
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"it must match {context['pattern']}")
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return f"its 'kind' must be one of {context.get('expected_tags', 'the known ones')}"
    if kind in _WORDS:
        return _WORDS[kind]
    reason = item["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"it {reason[6:]}" if reason.startswith("Input ") else reason


def _data_path(loc: Sequence[str | int], data: Any) -> Path:
    """Drop from pydantic's location what is not in the data: union tags and `[key]`."""
    path: list[str | int] = []
    here = data
    for position, part in enumerate(loc):
        if part == "[key]":
            continue
        if isinstance(here, Mapping):
            if part in here:
                here = here[part]
            elif position < len(loc) - 1:
                continue  # the tag of a union
            else:
                here = None
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif position < len(loc) - 1 or isinstance(part, str):
            continue
        path.append(part)
    return tuple(path)


def _keys(node: Any, root: Mapping[str, Any], path: Path) -> set[str]:
    """Collect the keys that a JSON Schema knows at `path`, over all its alternatives."""
    if not isinstance(node, Mapping):
        return set()
    if reference := node.get("$ref"):
        return _keys(root.get("$defs", {}).get(reference.rsplit("/", 1)[-1]), root, path)
    found: set[str] = set()
    for alternatives in ("anyOf", "oneOf", "allOf"):
        for alternative in node.get(alternatives, ()):
            found |= _keys(alternative, root, path)
    if not path:
        return found | set(node.get("properties", ()))
    head, *rest = path
    properties = node.get("properties", {})
    if isinstance(head, int):
        found |= _keys(node.get("items"), root, tuple(rest))
    elif head in properties:
        found |= _keys(properties[head], root, tuple(rest))
    else:
        found |= _keys(node.get("additionalProperties"), root, tuple(rest))
    return found
