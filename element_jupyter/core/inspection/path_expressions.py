"""What an expression of Python says as a path, as far as that can be told without running it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

Said = str | PurePosixPath
"""A text, or a path object; `~` stands for the home directory."""

_PATH_TYPES: Final = {"Path", "PosixPath", "PurePath", "PurePosixPath"}
_SAME: Final = {"absolute", "as_posix", "expanduser", "resolve"}
_SAME_FUNCTIONS: Final = {"abspath", "expanduser", "fspath", "normpath", "realpath", "str"}
_OS_PATH: Final = {"os.path", "osp", "path", "posixpath"}
_RENAMED: Final = {"with_name", "with_stem", "with_suffix"}
_CALLS: Final = {
    *(*_PATH_TYPES, *_SAME, *_SAME_FUNCTIONS, *_RENAMED),
    *("cwd", "dirname", "getcwd", "home", "join", "joinpath"),
}
"""All that is understood: most calls are others, and need not be looked at any further."""

_MOST_PARTS: Final = 50


def said_by(node: ast.expr, names: Mapping[str, Said]) -> Said | None:
    """Return what an expression says, given what names stand for; None when it cannot be told."""
    try:
        return _said(node, names)
    except (ValueError, TypeError):  # such as with_suffix of an odd text
        return None


def _said(node: ast.expr, names: Mapping[str, Said]) -> Said | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return names.get(name)
        case ast.JoinedStr(values=parts):
            return _joined(parts, names)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            before, after = _said(left, names), _said(right, names)
            if before is None or after is None or {type(before), type(after)} == {str}:
                return None
            return PurePosixPath(before) / after
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            before, after = _said(left, names), _said(right, names)
            if isinstance(before, str) and isinstance(after, str):
                return before + after
            return None
        case ast.Attribute(value=inner, attr="parent"):
            return _above(_said(inner, names))
        case ast.Subscript(
            value=ast.Attribute(value=inner, attr="parents"), slice=ast.Constant(value=int(number))
        ) if 0 <= number < _MOST_PARTS:
            path = _said(inner, names)
            for _ in range(number + 1):
                path = _above(path)
            return path
        case ast.Call():
            return _called(node, names)
    return None


def dotted(node: ast.expr) -> str:
    """Return `a.b` for what is written so; else nothing that anybody would write."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=of), attr=name):
            return f"{of}.{name}"
    return "?"


def _joined(parts: list[ast.expr], names: Mapping[str, Said]) -> str | None:
    texts = []
    for part in parts:
        if isinstance(part, ast.FormattedValue):
            text = None if part.format_spec else _said(part.value, names)
        else:
            text = _said(part, names)
        if text is None:
            return None
        texts.append(str(text))
    return "".join(texts)


def _above(path: Said | None) -> PurePosixPath | None:
    if not isinstance(path, PurePosixPath):
        return None
    return path / ".." if path.parts[-1:] in ((), ("..",), ("~",)) else path.parent


def _called(node: ast.Call, names: Mapping[str, Said]) -> Said | None:
    if node.keywords:
        return None
    match node.func:
        case ast.Name(id=name) if name in _CALLS:
            owner = ""
        case ast.Attribute(value=inner, attr=name) if name in _CALLS:
            owner = dotted(inner)
            if (owner, name) in {("os", "getcwd"), ("Path", "cwd"), ("pathlib.Path", "cwd")}:
                return PurePosixPath()
            if (owner, name) in {("Path", "home"), ("pathlib.Path", "home")}:
                return PurePosixPath("~")
            of = _said(inner, names)
            if isinstance(of, PurePosixPath):
                return _method(of, name, node.args, names)
        case _:
            return None
    given = [_said(argument, names) for argument in node.args]
    known = [each for each in given if each is not None]
    if len(known) < len(given):
        return None
    if name in _PATH_TYPES and owner in {"", "pathlib"}:
        return PurePosixPath(*known)
    if name == "join" and owner in _OS_PATH and known:
        return str(PurePosixPath(*known))
    if name == "dirname" and len(known) == 1:
        return str(PurePosixPath(known[0]).parent)
    if name in _SAME_FUNCTIONS and owner in {"", "os", *_OS_PATH} and len(known) == 1:
        return str(known[0]) or "."
    return None


def _method(
    path: PurePosixPath, name: str, arguments: list[ast.expr], names: Mapping[str, Said]
) -> Said | None:
    if name in _SAME and not arguments:
        return str(path) if name == "as_posix" else path
    given = [_said(argument, names) for argument in arguments]
    known = [each for each in given if each is not None]
    if len(known) < len(given):
        return None
    if name == "joinpath":
        return path.joinpath(*known)
    if name in _RENAMED and len(known) == 1:
        changed: PurePosixPath = getattr(path, name)(str(known[0]))
        return changed
    return None
