"""What is to be said of a notebook before it is scheduled, from its document and its project."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from element_jupyter.core.errors import ElementError, TooLarge
from element_jupyter.core.inspection.findings import Finding, FindingCode, Severity
from element_jupyter.core.inspection.hidden_state import RunCell, find_hidden_state
from element_jupyter.core.inspection.imported_packages import PackagesReader, missing_packages
from element_jupyter.core.inspection.named_files import NamesReader, NotebookNames
from element_jupyter.core.inspection.notebook_code import code_cells, run_cell
from element_jupyter.core.inspection.project_files import (
    Project,
    missing_files,
    missing_modules,
    module_directories,
)
from element_jupyter.core.notebooks import PARAMETERS_TAG, cells_of, tags_of
from element_jupyter.core.snapshots import SMALLER_HINT, SnapshotLimits


@dataclass(frozen=True)
class Code:
    """What the code of a notebook says, cell by cell."""

    run: Sequence[RunCell]
    names: NotebookNames
    packages: Sequence[tuple[str, int]]
    """The top-level modules that must be there, and the cell that imports each first."""


def read_code(document: Mapping[str, Any]) -> Code:
    """Read the code cells of a checked document, keeping none of them."""
    names, packages = NamesReader(), PackagesReader()
    run = []
    for cell in code_cells(document):
        names.read(cell)
        packages.read(cell)
        run.append(run_cell(cell))
    return Code([each for each in run if each], names.names, packages.packages)


def has_parameters_cell(document: Mapping[str, Any]) -> bool:
    """Tell whether a cell is tagged as that of the parameters."""
    return any(PARAMETERS_TAG in tags_of(cell) for cell in cells_of(document))


def of_the_document(document: Mapping[str, Any], code: Code) -> list[Finding]:
    """Return what the document alone tells: how it was run, and what it can be given."""
    hidden = find_hidden_state(code.run)
    findings = [hidden] if hidden else []
    if not has_parameters_cell(document):
        findings.append(
            Finding(
                code=FindingCode.NO_PARAMETERS,
                severity=Severity.INFO,
                message="The notebook has no parameters.",
                hint="Give the cell that assigns them the tag 'parameters': select it, open the "
                "property inspector (the gears in the right sidebar), and add the tag there.",
            )
        )
    return findings


def of_the_project(code: Code, project: Project) -> list[Finding]:
    """Return what the notebook needs and the snapshot of its project does not have."""
    return [*missing_modules(code.names, project), *missing_files(code.names.files, project)]


def of_the_packages(
    code: Code, project: Project, modules: Collection[str], environment: str
) -> list[Finding]:
    """Return what the notebook imports and neither its environment nor its project has."""
    directories = module_directories(code.names, project)

    def is_there(name: str) -> bool:
        return name in modules or any(
            project.disk.is_directory(f"{directory}/{name}")
            or project.disk.is_file(f"{directory}/{name}.py")
            or any(each.startswith(f"{name}.") for each in project.disk.names(directory))
            for directory in directories
        )

    return missing_packages(code.packages, is_there, environment)


def of_the_size(sizes: Mapping[str, int], limits: SnapshotLimits) -> list[Finding]:
    """Return whether the files of a snapshot are too large, or nearly so."""
    try:
        warnings = limits.check_sizes(sizes)
    except TooLarge as error:
        return [no_snapshot(error)]
    return [
        Finding(
            code=FindingCode.TOO_LARGE,
            severity=Severity.WARNING,
            message=warning.removesuffix(SMALLER_HINT).strip(),
            hint=SMALLER_HINT,
        )
        for warning in warnings
    ]


def no_snapshot(error: ElementError) -> Finding:
    """Return why there can be no snapshot."""
    return Finding(
        code=FindingCode.TOO_LARGE if isinstance(error, TooLarge) else FindingCode.NO_SNAPSHOT,
        severity=Severity.ERROR,
        message=error.message,
        hint=error.hint,
    )
