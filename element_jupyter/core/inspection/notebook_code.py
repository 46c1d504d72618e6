"""The Python of a notebook's cells as syntax trees, without what only IPython understands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from element_jupyter.core.inspection.hidden_state import RunCell
from element_jupyter.core.notebooks import cells_of, names_are_checked, source_of
from element_jupyter.core.parameters import parse_python

MAX_CELL_CHARACTERS: Final = 200_000
MAX_CHARACTERS: Final = 2_000_000
"""What is more is not looked at: no person wrote it."""

_ATTEMPTS: Final = 5
_PYTHON_MAGICS: Final = {"time", "timeit", "capture", "prun", "memit", "mprun", "lprun"}
_CHANGING_MAGICS: Final = {"cd", "load", "pylab", "reset", "run", "store"}
_SET_UP: Final = re.compile(
    r"set_|set$|filterwarnings$|simplefilter$|use$|load_dotenv$|basicConfig$"
)
_ASSIGNED: Final = re.compile(r"^(\s*[A-Za-z_][\w, ]*=)\s*[!%].*$", re.MULTILINE)
_INDENTED: Final = re.compile(r"^([ \t]+)[!%?].*$", re.MULTILINE)
_LINE_MAGIC: Final = re.compile(r"^[ \t]*%(?!%)(\w+)[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class CodeCell:
    """A code cell: where it is, its number, and what it says in Python."""

    index: int
    count: int | None
    source: str
    tree: ast.Module = field(default_factory=lambda: ast.Module(body=[], type_ignores=[]))
    """Empty when it is in another language, or none at all."""

    def magics(self) -> Iterator[tuple[str, str]]:
        """Yield the names of its line magics, with what follows each."""
        for name, rest in _LINE_MAGIC.findall(self.source[:MAX_CELL_CHARACTERS]):
            yield name, rest.strip()


def code_cells(document: Mapping[str, Any]) -> Iterator[CodeCell]:
    """Yield the code cells of a checked document.

    Who keeps no cell keeps Python's garbage collector from looking at all the trees of a notebook,
    which would stop the server for as long.
    """
    is_python = names_are_checked(document)
    left = MAX_CHARACTERS
    for index, cell in enumerate(cells_of(document)):
        if cell["cell_type"] != "code":
            continue
        source = source_of(cell)
        number = cell.get("execution_count", cell.get("prompt_number"))
        count = number if type(number) is int and 0 < number < 2**53 else None
        left -= len(source)
        if is_python and len(source) <= MAX_CELL_CHARACTERS and left >= 0:
            yield CodeCell(index, count, source, _tree(source))
        else:
            yield CodeCell(index, count, source)


def run_cell(cell: CodeCell) -> RunCell | None:
    """Return how a cell was run; None for one with nothing to run: blank, or remarks only."""
    lines = [line.strip() for line in cell.source.splitlines()]
    said = [line for line in lines if line and not line.startswith("#")]
    return RunCell(cell.index, cell.count, is_plain=_is_plain(cell, said)) if said else None


def _is_plain(cell: CodeCell, said: Sequence[str]) -> bool:
    if not cell.tree.body:
        names = [name for name, _ in cell.magics()]
        return (
            len(names) == sum(line.startswith("%") for line in said)
            and all(line.startswith(("%", "!")) for line in said)
            and not {*names} & _CHANGING_MAGICS
            and not said[0].startswith("%%")
        )
    kinds = [_statement_kind(statement) for statement in cell.tree.body]
    return "import" in kinds and "other" not in kinds


def _statement_kind(statement: ast.stmt) -> str:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return "import"
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Attribute(attr="path")))):
            return "set-up"
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name))):
            return "set-up" if _SET_UP.match(name) else "other"
        case ast.Expr(value=ast.Constant()):
            return "set-up"
    return "other"


def _tree(source: str) -> ast.Module:
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        if first[2:].split(maxsplit=1)[:1] not in [[name] for name in _PYTHON_MAGICS]:
            return ast.Module(body=[], type_ignores=[])
        source = rest
    plain = _INDENTED.sub(r"\1pass", _ASSIGNED.sub(r"\1 None", source))
    return parse_python(plain, _ATTEMPTS)[1]
