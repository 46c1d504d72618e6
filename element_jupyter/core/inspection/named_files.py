"""Which files the Python of a notebook names, and what it does with each.

What is only written, or asked after before it is used, need not be there when the notebook is run;
what is read, or only named, had better be. Everything is told from the text, in its order, as if
each function were called where it is defined.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import Final

from element_jupyter.core.inspection.notebook_code import CodeCell
from element_jupyter.core.inspection.path_expressions import Said, dotted, said_by

MOST_NAMES: Final = 500
"""So many different paths are told, and no more."""


class Use(Enum):
    """What is done with a path where it is named."""

    NAMED = auto()
    """Nothing that can be told."""
    READ = auto()
    WRITTEN = auto()
    ASKED = auto()
    """Whether it is there."""


@dataclass(frozen=True)
class NamedFile:
    """A path that the notebook needs: relative to its directory, or whole; `~` is the home."""

    path: str
    cell: int
    is_read: bool
    """Whether it is known to be read; else it is only named."""


@dataclass(frozen=True)
class Import:
    """A module that the notebook imports: `a.b`, and `a.b.c` where that may be one too."""

    module: str
    cell: int


@dataclass
class NotebookNames:
    """What a notebook's Python names outside of itself."""

    files: list[NamedFile] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    module_directories: list[str] = field(default_factory=list)
    """Where else modules are looked for: what is put into `sys.path`, and where it goes to."""


def imports_in(tree: ast.Module) -> list[tuple[str, int]]:
    """Return the modules that a tree imports, with the number of dots before each."""
    found: list[tuple[str, int]] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found += [(base, node.level)] if base else []
            prefix = f"{base}." if base else ""
            found += [(prefix + each.name, node.level) for each in node.names if each.name != "*"]
        # expressions hold no statements
        for name in ("cases", "finalbody", "orelse", "handlers", "body"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                todo += reversed(inner)
    return found


_ASKS: Final = re.compile(r"l?exists$|is_?(file|dir)$|access$")
_SAYS_NOTHING: Final = re.compile(
    r"print$|display$|markdown$|html$|.*(error|warning|exception)$|warn|log$|debug$|info$|critical$"
    r"|(suptit|tit)le$|[xy]?labels?$|legend$|set_|input$|len$|isinstance$|add_argument$"
    r"|get$|getenv$|setdefault$|pop$|index$|count$|drop|sort|group|merge|rename"
    r"|r?split$|[lr]?strip$|replace$|format$|(starts|ends)with$"
    r"|sub$|(full)?match$|search$|findall$|compile$"
)
_WRITES: Final = re.compile(
    r"to_|.*(save|writ|dump|export|download|retrieve)|(make|mk|rm)(dir|tree)|remove|touch$|unlink$"
    r"|log_|create|.*handler$|basicconfig$"
)
_READS: Final = re.compile(
    r".*(read|load)|open|from|scan|.*txt$|listdir$|iterdir$|walk$|[ir]?glob$|connect$|stat$"
    r"|getsize$|run_path$"
)
_COPIES: Final = {"copy", "copy2", "copyfile", "copytree", "move"}
_WRITING_METHODS: Final = {"mkdir", "rename", "replace", "rmdir", "symlink_to", "touch", "unlink"}
_WRITTEN_KEYWORDS: Final = re.compile(r"(.*_)?(out|dest|dst|save|target|log)")
_FILE_KEYWORDS: Final = re.compile(r".*(path|file|src|source|input|name|data|root|dir|folder)")
_LEAVES: Final = {ast.Constant, ast.Load, ast.Name, ast.Store}
_NAMING: Final = {"defaults", "iter", "kw_defaults"}
"""Parts of statements that are for use elsewhere: what a loop goes over, what is given to it."""

_SUFFIX: Final = re.compile(r"[^/]\.[A-Za-z][A-Za-z0-9_]{0,14}$")


class NamesReader:
    """Takes in the cells of a notebook one by one; each path is told once, where it first is."""

    def __init__(self) -> None:
        self._imports: list[Import] = []
        self._module_directories: list[str] = []
        self._uses: dict[str, list[tuple[Use, int]]] = {}
        self._names: dict[str, Said] = {}
        self._directory: PurePosixPath | None = PurePosixPath()
        """Where the notebook is at work, seen from where it is; None once that cannot be told."""
        self._cell = 0
        self._loops = 0

    def read(self, cell: CodeCell) -> None:
        """Take in the next cell."""
        self._cell = cell.index
        for name, rest in cell.magics():
            self._magic(name, rest)
        known = {each.module for each in self._imports}
        for module, level in imports_in(cell.tree):
            if not level and module not in known and len(self._imports) < MOST_NAMES:
                known.add(module)
                self._imports.append(Import(module, cell.index))
        # an expression as deep as that was not written by a person
        with suppress(RecursionError):
            self._all(cell.tree.body)

    @property
    def names(self) -> NotebookNames:
        """What was named up to here."""
        return NotebookNames(
            self._needed(), [*self._imports], [*dict.fromkeys(self._module_directories)]
        )

    def _needed(self) -> list[NamedFile]:
        made = {path for path, uses in self._uses.items() if _need_not_be_there(uses)}
        above = made - {".", "..", "/", "~"}
        return [
            NamedFile(path, uses[0][1], is_read=any(use is Use.READ for use, _ in uses))
            for path, uses in self._uses.items()
            if path not in made
            # what is made or asked after may be the directory that it is in
            and above.isdisjoint(map(str, PurePosixPath(path).parents))
        ]

    # what is said

    def _record(self, said: Said, use: Use | None) -> None:
        text = str(said)
        if use is None or not text or len(text) > 1000 or not text.isprintable() or "://" in text:
            return
        likely = "/" in text or _SUFFIX.search(text) or isinstance(said, PurePosixPath)
        if use is Use.NAMED and not likely:
            return
        path = PurePosixPath(text)
        if not path.is_absolute() and path.parts[:1] != ("~",):
            if self._directory is None:
                return
            path = self._directory / path
        if str(path) in self._uses or len(self._uses) < MOST_NAMES:
            self._uses.setdefault(str(path), []).append((use, self._cell))

    def _magic(self, name: str, rest: str) -> None:
        words = [word.strip("'\"") for word in rest.split() if not word.startswith("-")]
        if name == "cd":
            self._go(words[0] if words else "~")
        elif name in {"run", "load"} and words:
            self._record(words[0], Use.READ)

    def _go(self, to: Said | None) -> None:
        if to is None or self._directory is None or self._loops or "$" in str(to):
            self._directory = None
            return
        path = PurePosixPath(to)
        whole = path.is_absolute() or path.parts[:1] == ("~",)
        self._directory = path if whole else self._directory / path
        self._module_directories.append(str(self._directory))

    # statements

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self._statement(node)

    def _statement(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._bind(name, value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(
                names
            ) == len(values):
                for target, value in zip(names, values, strict=True):
                    self._bind(target.id if isinstance(target, ast.Name) else "", value)
            case ast.Assign(value=value):
                self._expression(value, Use.NAMED)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._bind(name, value)
            case ast.Expr(value=ast.Constant()):
                return
            case ast.For() | ast.AsyncFor() | ast.While():
                self._loops += 1
                self._children(node)
                self._loops -= 1
            case ast.expr():
                self._expression(node, None)
            case _:
                self._children(node)

    def _children(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.expr):
                    self._expression(child, Use.NAMED if name in _NAMING else None)
                elif isinstance(child, ast.AST):
                    self._statement(child)

    def _bind(self, name: str, value: ast.expr) -> None:
        said = said_by(value, self._names)
        self._expression(value, Use.NAMED)
        if said is None:
            self._names.pop(name, None)
        else:
            self._names[name] = said

    # expressions

    def _expression(self, node: ast.AST, use: Use | None) -> None:
        """Look at an expression; `use` is what is done with what it says itself."""
        # what nothing is done with is not told again for each of its parts: that takes long
        if isinstance(node, ast.Call) or (use is not None and isinstance(node, ast.expr)):
            said = said_by(node, self._names)
            if said is not None:
                self._record(said, use)
                return
        match node:
            case ast.Call():
                self._call(node)
            case ast.List() | ast.Tuple() | ast.Set() | ast.Starred() | ast.IfExp() | ast.BoolOp():
                for child in ast.iter_child_nodes(node):
                    self._expression(child, use)
            case ast.Dict(values=inner):
                for child in inner:
                    self._expression(child, use)
            case ast.comprehension(iter=iterated):
                self._expression(iterated, Use.NAMED)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self._bind(name, value)
            case _:
                for child in ast.iter_child_nodes(node):
                    if type(child) not in _LEAVES:
                        self._expression(child, None)

    def _call(self, node: ast.Call) -> None:
        name, of = _called(node.func)
        first = said_by(node.args[0], self._names) if node.args else None
        if name == "chdir":
            self._go(first)
            return
        if _is_module_path(of) and name in {"append", "insert", "extend"}:
            self._add_module_directories(node.args)
            return
        if of is not None:
            path = said_by(of, self._names)
            if isinstance(path, PurePosixPath):
                self._record(path, _use_of_method(name, node))
            else:
                self._expression(of, None)
        usual = _use_of_mode(node, 1) if name == "open" else _use(name)
        for position, argument in enumerate(node.args):
            self._expression(argument, _use_of_argument(name, position, usual))
        for keyword in node.keywords:
            self._expression(keyword.value, _use_of_keyword(keyword.arg or "", usual))

    def _add_module_directories(self, arguments: Iterable[ast.expr]) -> None:
        for argument in arguments:
            inner = argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]
            for each in inner:
                said = said_by(each, self._names)
                if said is not None and self._directory is not None:
                    self._module_directories.append(str(self._directory / str(said)))


def _need_not_be_there(uses: Sequence[tuple[Use, int]]) -> bool:
    telling = [use for use, _ in uses if use is not Use.NAMED]
    return Use.ASKED in telling or telling[:1] == [Use.WRITTEN]


def _called(function: ast.expr) -> tuple[str, ast.expr | None]:
    match function:
        case ast.Name(id=name):
            return name, None
        case ast.Attribute(value=of, attr=name):
            return name, of
    return "", function


def _is_module_path(node: ast.expr | None) -> bool:
    return node is not None and dotted(node) == "sys.path"


def _use(name: str) -> Use | None:
    low = name.lower()
    if _ASKS.match(low):
        return Use.ASKED
    if _SAYS_NOTHING.match(low):
        return None
    if _WRITES.match(low):
        return Use.WRITTEN
    return Use.READ if _READS.match(low) else Use.NAMED


def _use_of_argument(name: str, position: int, usual: Use | None) -> Use | None:
    if name in _COPIES:
        return [Use.READ, Use.WRITTEN, None][min(position, 2)]
    if usual is Use.READ and position:
        return Use.NAMED
    return usual


def _use_of_keyword(name: str, usual: Use | None) -> Use | None:
    if usual is Use.READ:
        return Use.READ if _FILE_KEYWORDS.match(name) else Use.NAMED
    return Use.WRITTEN if _WRITTEN_KEYWORDS.match(name) else usual


def _use_of_method(name: str, node: ast.Call) -> Use:
    """Return what a method does with the path that it is called on."""
    if name == "open":
        return _use_of_mode(node, 0)
    if name in _WRITING_METHODS or name.startswith("write"):
        return Use.WRITTEN
    return _use(name) or Use.READ


def _use_of_mode(node: ast.Call, position: int) -> Use:
    given = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    given += node.args[position : position + 1]
    match given:
        case [ast.Constant(value=str(mode)), *_]:
            return Use.WRITTEN if set(mode) & set("wax") else Use.READ
    return Use.READ if not given else Use.NAMED
