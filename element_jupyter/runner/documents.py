"""Notebook files: read and made ready for a run, and written so that no reader sees half of one."""

# nbformat has no types
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from papermill.exceptions import PapermillException
from papermill.execute import remove_error_markers
from papermill.translators import translate_parameters
from papermill.version import version

from element_jupyter.core.errors import Invalid
from element_jupyter.core.notebooks import (
    INJECTED_TAG,
    MAX_NOTEBOOK_BYTES,
    PARAMETERS_TAG,
    as_json,
    language_of,
    parse_notebook,
    python_source,
)


def read_document(path: Path) -> dict[str, Any]:
    """Read a notebook as the JSON that it is.

    Raises:
        Invalid: there is no such file, or it is no notebook that can be run.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_NOTEBOOK_BYTES + 1)
    except FileNotFoundError as error:
        raise Invalid(f"There is no notebook {path}.", field="notebook") from error
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise Invalid(f"The notebook {path} cannot be read: {error}.", field="notebook") from error
    try:
        return parse_notebook(content)
    except Invalid as error:
        raise type(error)(f"{path.name}: {error.message}", error.hint, field="notebook") from error


def prepare(
    document: Mapping[str, Any], *, parameters: Mapping[str, Any], kernel: str, language: str = ""
) -> NotebookNode:
    """Return the newest format of a document without outputs and with its parameters injected.

    The injected cell follows the one tagged `parameters` (or comes first), and replaces the one
    that an earlier run injected.

    Raises:
        Invalid: papermill cannot write parameters in the notebook's language.
    """
    made = _newest(document)
    made.metadata.setdefault("papermill", NotebookNode(version=version))
    for cell in made.cells:
        cell.metadata.setdefault("tags", [])
        cell.metadata.setdefault("papermill", NotebookNode())
        cell.metadata.pop("element", None)  # what it used in an earlier run
    notebook: NotebookNode = remove_error_markers(made)
    cells = [cell for cell in notebook.cells if INJECTED_TAG not in cell.metadata.tags]
    if parameters:
        # not nbformat's own function, which compiles the whole schema to check this one cell
        cell = NotebookNode(
            cell_type="code",
            id=_new_id(),
            metadata=NotebookNode(tags=[INJECTED_TAG], papermill=NotebookNode()),
            source=_assignments(parameters, kernel, language or language_of(document)),
            outputs=[],
            execution_count=None,
        )
        tagged = (at for at, cell in enumerate(cells) if PARAMETERS_TAG in cell.metadata.tags)
        cells.insert(next(tagged, -1) + 1, cell)
    notebook.cells = cells
    notebook.metadata.papermill.parameters = as_json(parameters)
    return notebook


def _newest(document: Mapping[str, Any]) -> NotebookNode:
    notebook: NotebookNode = nbformat.from_dict(document)
    major = notebook.nbformat
    notebook.setdefault("nbformat_minor", 0)
    notebook.setdefault("metadata", NotebookNode())
    # what an earlier run left is cleared anyway, and may be invalid
    if major == 3:
        for sheet in notebook.get("worksheets", []):
            for cell in sheet.cells:
                cell.setdefault("metadata", NotebookNode())
                if cell.cell_type == "code":
                    cell.outputs = []
        logging.getLogger("traitlets").disabled = True  # it warns of what the conversion mends
        notebook = nbformat.v4.upgrade(nbformat.v3.rwbase.rejoin_lines(notebook))
    seen: set[str] = set()
    for cell in notebook.cells:
        cell.setdefault("metadata", NotebookNode())
        cell.setdefault("source", "")
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    notebook = nbformat.v4.upgrade(nbformat.v4.rwbase.rejoin_lines(notebook))
    for cell in notebook.cells:
        if not isinstance(cell.get("id"), str) or not cell.id or cell.id in seen:
            cell.id = _new_id()
        seen.add(cell.id)
    return notebook


def _new_id() -> str:
    return uuid.uuid4().hex[:8]


def _assignments(parameters: Mapping[str, Any], kernel: str, language: str) -> str:
    if language in {"python", "ipython"}:
        return python_source(parameters)
    try:
        return str(translate_parameters(kernel, language, as_json(parameters), "Parameters"))
    except (PapermillException, NotImplementedError) as error:
        raise Invalid(
            f"Parameters like these cannot be written in {language}, the language of the notebook.",
            "Leave them out, or pass plain numbers and texts.",
            field="parameters",
        ) from error


def snapshot(value: Any) -> Any:
    """Copy the lists and objects of a document, so that it may change while the copy is written."""
    if isinstance(value, dict):
        return NotebookNode((key, snapshot(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [snapshot(item) for item in value]
    return value


def write_notebook(notebook: NotebookNode, path: Path) -> int:
    """Write a notebook and return its size in bytes; a reader sees the old file or the new one."""
    text = nbformat.v4.writes(notebook).encode("utf-8", "replace") + b"\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    return len(text)
