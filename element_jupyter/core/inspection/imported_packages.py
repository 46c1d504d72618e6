"""Which packages a notebook imports for certain, and what to say of those that are not there.

Only what is imported outside of any condition, attempt or function counts; and of a notebook that
installs something itself, or looks for modules in places that cannot be told, nothing is said.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from typing import Final

from element_jupyter.core.inspection.findings import Finding, FindingCode, Severity
from element_jupyter.core.inspection.notebook_code import CodeCell
from element_jupyter.core.inspection.project_files import listed

_INSTALLS: Final = re.compile(
    r"^\s*(%%|[%!].*(\b(pip|pip3|conda|mamba|micromamba|uv|poetry|pixi|apt|apt-get)\b|\bclone\b"
    r"|\bsetup\.py\b)|%(run|load|cd|pylab|store)\b)",
    re.MULTILINE,
)
_SEARCHES: Final = re.compile(
    r"\bsys\s*\.\s*(path|meta_path|modules)|\baddsitedir\b|\bimportlib\b|\bimport_ipynb\b"
    r"|\bsubprocess\b|\bos\s*\.\s*(system|chdir)\b"
)
_HARMLESS_CELLS: Final = re.compile(r"\s*%%(time|timeit|capture|prun|html|markdown|latex)\b")


class PackagesReader:
    """Takes in the cells of a notebook one by one."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}
        self._is_certain = True

    def read(self, cell: CodeCell) -> None:
        """Take in the next cell."""
        source = _HARMLESS_CELLS.sub("", cell.source, count=1)
        if _INSTALLS.search(source) or _SEARCHES.search(source):
            self._is_certain = False
        for statement in cell.tree.body:
            for name in _imported(statement):
                if name not in sys.stdlib_module_names:
                    self._found.setdefault(name, cell.index)

    @property
    def packages(self) -> list[tuple[str, int]]:
        """The top-level modules that must be there, and the cell that imports each first."""
        return [*self._found.items()] if self._is_certain else []


def missing_packages(
    packages: Sequence[tuple[str, int]], is_there: Callable[[str], bool], environment: str
) -> list[Finding]:
    """Return what to say of the packages that an environment does not have."""
    missing = [(name, cell) for name, cell in packages if not is_there(name)]
    if not missing:
        return []
    names = [name for name, _ in missing]
    verb, it = ("is", "it") if len(names) == 1 else ("are", "them")
    return [
        Finding(
            code=FindingCode.NO_MODULE,
            severity=Severity.WARNING,
            message=f"{listed(names)} {verb} imported, and the notebook's environment does not "
            f"have {it}.",
            hint=f"Add what provides {it} to the packages of {environment}: in the environment "
            "panel, or with %pip install in a cell.",
            cell=missing[0][1],
        )
    ]


def _imported(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.Import(names=names):
            return [alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.partition(".")[0]]
    return []
