"""Inspections for the Jupyter server: rules of the core, about what is on this disk."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from element_jupyter import config
from element_jupyter.adapters.kernelspecs import program_of
from element_jupyter.adapters.project import Listing, look
from element_jupyter.core import notebooks
from element_jupyter.core.errors import ElementError, Invalid, TooLarge
from element_jupyter.core.inspection import inspecting
from element_jupyter.core.inspection.findings import Finding, FindingCode, Inspection, Severity
from element_jupyter.core.inspection.project_files import PASSING, Project
from element_jupyter.core.snapshots import SnapshotLimits
from element_jupyter.core.values import slug
from element_jupyter.platform.environments.composition import Environments
from element_jupyter.platform.environments.modules import modules_of
from element_jupyter.platform.lab_snapshot import is_left_out, place_of

MODULE_BYTES: Final = 200_000
DIRECTORY_ENTRIES: Final = 1_000


class NotebookInspector:
    """Tells what is to be known of a notebook before it is scheduled."""

    def __init__(
        self,
        settings: config.Element,
        environments: Environments | None = None,
        *,
        team: str | None = None,
    ) -> None:
        """Name the `team` whose a job is unless somebody says otherwise; default: the owner's."""
        self._settings = settings
        self._team = team or settings.owner
        self._environments = environments

    def __call__(self, file: Path, path: str, document: Mapping[str, Any] | None) -> Inspection:
        """Look at a notebook; without a document, at what is saved.

        Raises:
            Invalid, TooLarge: it is no notebook; field `notebook`, or `path` of a saved one.
        """
        if document is None:
            document = _saved(file)
        else:
            notebooks.check_notebook(document)
        code = inspecting.read_code(document)
        language = notebooks.language_of(document)
        findings = [
            *self._of_the_project(file, document, code),
            *inspecting.of_the_document(document, code),
        ]
        return Inspection(
            path=path,
            notebook=_in_project(file),
            name=slug(file.stem),
            team=self._team,
            owner=self._settings.owner,
            language=language if language.isprintable() else "unknown",
            has_parameters_cell=inspecting.has_parameters_cell(document),
            parameters=notebooks.parameters_of(document),
            findings=tuple(sorted(findings, key=lambda each: _ORDER.index(each.severity))),
        )

    def _of_the_project(
        self, file: Path, document: Mapping[str, Any], code: inspecting.Code
    ) -> list[Finding]:
        try:
            root, notebook = place_of(file)
            found = look(root)
        except ElementError as error:
            return [inspecting.no_snapshot(error)]
        limits = SnapshotLimits(
            warn_bytes=self._settings.snapshot_warn_bytes,
            refuse_bytes=self._settings.snapshot_refuse_bytes,
        )
        project = _project(notebook, found, limits)
        return [
            *_of_the_notebook(notebook, found),
            *inspecting.of_the_size(found.sizes, limits),
            *inspecting.of_the_project(code, project),
            *self._of_the_packages(file, document, code, project),
            *(
                Finding(code=FindingCode.LEFT_OUT, severity=Severity.INFO, message=warning)
                for warning in found.warnings
            ),
        ]

    def _of_the_packages(
        self, file: Path, document: Mapping[str, Any], code: inspecting.Code, project: Project
    ) -> list[Finding]:
        if self._environments is None or not code.packages:
            return []
        kernel = notebooks.kernel_of(document) or notebooks.ORDINARY_KERNEL
        if not notebooks.is_ordinary(kernel, program_of(kernel) or []):
            return []
        try:
            found = self._environments.find(file, document=document)
            environment = self._environments.ready(found)
        except ElementError:  # what is wrong with it, its own panel says
            return []
        modules = modules_of(environment.directory) if environment else None
        if modules is None:
            return []
        title = found.definition.title
        return inspecting.of_the_packages(code, project, modules, title)


def _in_project(file: Path) -> str | None:
    try:
        return place_of(file)[1]
    except ElementError:  # what is wrong with it is among the findings
        return None


_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def _of_the_notebook(notebook: str, found: Listing) -> list[Finding]:
    if notebook in found.files or notebook in found.links:
        return []
    refusal = is_left_out(notebook, found.root)
    return [
        Finding(
            code=FindingCode.LEFT_OUT,
            severity=Severity.ERROR,
            message=refusal.message,
            hint=refusal.hint,
            paths=(notebook,),
        )
    ]


def _project(notebook: str, found: Listing, limits: SnapshotLimits) -> Project:
    return Project(
        root=str(found.root),
        directory=notebook.rpartition("/")[0],
        home=str(Path.home()),
        sizes=found.sizes,
        links=frozenset(found.links),
        is_broad=found.is_broad,
        most_bytes=limits.refuse_bytes,
        disk=_Disk(found.root),
        passing=(*PASSING, sys.prefix, sys.base_prefix),
    )


class _Disk:
    """Looks, and reads modules that are in the project themselves, not by a link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def is_file(self, path: str) -> bool:
        return stat.S_ISREG(_mode(path))

    def is_directory(self, path: str) -> bool:
        return stat.S_ISDIR(_mode(path))

    def size_bytes(self, path: str) -> int:
        try:
            return Path(path).stat().st_size
        except (OSError, ValueError):
            return 0

    def names(self, directory: str) -> Sequence[str]:
        found = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    found += [entry.name] if entry.name.isprintable() else []
                    if len(found) == DIRECTORY_ENTRIES:
                        break
        except (OSError, ValueError):
            return []
        return sorted(found)

    def real(self, path: str) -> str:
        try:
            return os.path.realpath(path)
        except (OSError, ValueError):
            return path

    def text(self, path: str) -> str:
        try:
            if not Path(self.real(path)).is_relative_to(self._root):
                return ""
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(path, flags), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > MODULE_BYTES:
                    return ""
                return file.read(MODULE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            return ""


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def _saved(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            return notebooks.parse_notebook(opened.read(notebooks.MAX_NOTEBOOK_BYTES + 1))
    except OSError as error:
        raise Invalid(f"'{file.name}' cannot be read: {error.strerror}.", field="path") from error
    except Invalid as error:
        kind = TooLarge if isinstance(error, TooLarge) else Invalid
        raise kind(error.message, error.hint, field="path") from error
