"""Parameters of a notebook: the variables of its `parameters` cell, read without running it."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from element_jupyter.core.values import Value


class Kind(StrEnum):
    """The type of a parameter, as the dialog shows it."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STR = "str"
    LIST = "list"
    DICT = "dict"
    DATE = "date"
    DATETIME = "datetime"
    NONE = "none"
    """Declared as None without an annotation: takes anything."""
    UNKNOWN = "unknown"
    """An expression of another type: takes anything."""


class Parameter(Value):
    """One variable of the `parameters` cell."""

    name: str
    kind: Kind
    default: JsonValue = None
    """Its value when that is a literal; dates as ISO 8601 text."""
    default_source: str = ""
    """Its value as it is written."""
    optional: bool = False
    """Whether None is accepted although the kind is another."""
    help: str = ""


def read_python(source: str) -> tuple[Parameter, ...]:
    """Return the top-level assignments of a Python cell, the last one of each name.

    The type is that of the annotation or `# type:` comment, else of the value. Magics, and lines
    that are no Python, are left out.
    """
    found: dict[str, Parameter] = {}
    plain, module = parse_python(source)
    comments = _comments(plain)
    for statement in module.body:
        for name, annotation, value in _assignments(statement):
            if name.isascii():
                comment = comments.get(statement.end_lineno or 0, "")
                try:
                    found[name] = _parameter(name, annotation, value, comment)
                except RecursionError:  # no person wrote a value as deep as that
                    found[name] = Parameter(name=name, kind=Kind.UNKNOWN)
    return tuple(found.values())


def parse_python(source: str, attempts: int = 50) -> tuple[str, ast.Module]:
    """Parse, leaving out lines that only IPython understands, or nobody; return what was parsed."""
    lines = ["" if line.lstrip()[:1] in {"%", "!", "?"} else line for line in source.splitlines()]
    for _ in range(attempts):
        plain = "\n".join(lines)
        try:
            return plain, ast.parse(plain)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            number = getattr(error, "lineno", None)
            if not number or number > len(lines) or not lines[number - 1]:
                break
            lines[number - 1] = ""
    return "", ast.Module(body=[], type_ignores=[])


def _comments(source: str) -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                found[token.start[0]] = token.string.lstrip("#").strip()
    except (tokenize.TokenError, SyntaxError):  # what was read up to there is of use
        return found
    return found


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, statement.annotation, statement.value
    if not isinstance(statement, ast.Assign):
        return
    for target in statement.targets:
        if isinstance(target, ast.Name):
            yield target.id, None, statement.value
        elif isinstance(target, ast.Tuple):
            values = statement.value.elts if isinstance(statement.value, ast.Tuple) else []
            same = len(values) == len(target.elts)
            for position, element in enumerate(target.elts):
                if isinstance(element, ast.Name):
                    yield element.id, None, values[position] if same else None


def _parameter(
    name: str, annotation: ast.expr | None, value: ast.expr | None, comment: str
) -> Parameter:
    kind, default = _valued(value)
    optional = kind is Kind.NONE
    typed = re.match(r"type:\s*(\S+)\s*(.*)", comment)
    if annotation is None and typed:
        comment = typed.group(2)
        try:
            annotation = ast.parse(typed.group(1), mode="eval").body
        except SyntaxError:
            annotation = None
    if annotation is not None:
        kind, nullable = _annotated(annotation)
        optional = optional or nullable
    if kind is Kind.FLOAT and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    return Parameter(
        name=name,
        kind=kind,
        default=default,
        default_source=ast.unparse(value)[:1000] if value is not None else "",
        optional=optional,
        help=comment.lstrip("#").strip(),
    )


def _valued(value: ast.expr | None) -> tuple[Kind, JsonValue]:
    """Return the kind of an expression, and its value when that is a literal."""
    if value is None:
        return Kind.UNKNOWN, None
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _computed(value)
    kind = _LITERALS.get(type(literal), Kind.UNKNOWN)
    try:
        # what is no Unicode is no JSON either
        text = json.dumps(literal, allow_nan=False, ensure_ascii=False).encode()
        return kind, json.loads(text)
    except (ValueError, TypeError):
        return kind, None


def _computed(value: ast.expr) -> tuple[Kind, JsonValue]:
    if isinstance(value, ast.JoinedStr):
        return Kind.STR, None
    if isinstance(value, (ast.ListComp, ast.DictComp, ast.List, ast.Dict)):
        return (Kind.LIST if isinstance(value, (ast.ListComp, ast.List)) else Kind.DICT), None
    if isinstance(value, ast.BinOp):
        return _arithmetic(value), None
    if not isinstance(value, ast.Call):
        return Kind.UNKNOWN, None
    words = ast.unparse(value.func).split(".")
    if words[-1] in {"today", "now", "utcnow", "fromisoformat", "strptime"} and len(words) > 1:
        words.pop()
    kind = _NAMED.get(words[-1].lower(), Kind.UNKNOWN)
    if kind in {Kind.DATE, Kind.DATETIME} and not value.keywords:
        try:
            made = (date if kind is Kind.DATE else datetime)(*map(ast.literal_eval, value.args))
        except (ValueError, TypeError, OverflowError):
            return kind, None
        return kind, made.isoformat()
    return kind, None


def _arithmetic(value: ast.BinOp) -> Kind:
    kinds = {
        _LITERALS.get(type(node.value))
        for node in ast.walk(value)
        if isinstance(node, ast.Constant)
    }
    nodes = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.unaryop)
    if not all(isinstance(node, nodes) for node in ast.walk(value)):
        return Kind.UNKNOWN
    if kinds == {Kind.INT} and not any(isinstance(node, ast.Div) for node in ast.walk(value)):
        return Kind.INT
    return Kind.FLOAT if kinds <= {Kind.INT, Kind.FLOAT} else Kind.UNKNOWN


_LITERALS: Final[dict[type, Kind]] = {
    int: Kind.INT, float: Kind.FLOAT, bool: Kind.BOOL, str: Kind.STR, list: Kind.LIST,
    tuple: Kind.LIST, dict: Kind.DICT, type(None): Kind.NONE,
}  # fmt: skip

_NAMED: Final[dict[str, Kind]] = {
    "int": Kind.INT, "float": Kind.FLOAT, "bool": Kind.BOOL, "str": Kind.STR, "list": Kind.LIST,
    "sequence": Kind.LIST, "tuple": Kind.LIST, "iterable": Kind.LIST, "dict": Kind.DICT,
    "mapping": Kind.DICT, "date": Kind.DATE, "datetime": Kind.DATETIME,
    "timestamp": Kind.DATETIME, "none": Kind.NONE,
}  # fmt: skip


def _annotated(annotation: ast.expr) -> tuple[Kind, bool]:
    """Return the kind that an annotation names, and whether it allows None."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return _annotated(ast.parse(annotation.value, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError):
            return Kind.UNKNOWN, True
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _union([annotation.left, annotation.right])
    if isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value).split(".")[-1]
        inner = annotation.slice
        inside = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name in {"Optional", "Union"}:
            kind, nullable = _union(inside)
            return kind, nullable or name == "Optional"
        if name in {"Annotated", "Final"}:
            return _annotated(inside[0])
        if name == "Literal":
            return _valued(inside[0])[0], False
        return _NAMED.get(name.lower(), Kind.UNKNOWN), False
    kind = _NAMED.get(ast.unparse(annotation).split(".")[-1].lower(), Kind.UNKNOWN)
    return kind, kind in {Kind.NONE, Kind.UNKNOWN}


def _union(members: Sequence[ast.expr]) -> tuple[Kind, bool]:
    found = [_annotated(member) for member in members]
    nullable = any(kind is Kind.NONE or null for kind, null in found)
    kinds = {kind for kind, _ in found if kind is not Kind.NONE}
    if kinds == {Kind.INT, Kind.FLOAT}:
        kinds = {Kind.FLOAT}
    return (kinds.pop() if len(kinds) == 1 else Kind.UNKNOWN), nullable
