"""Inspections for the Jupyter server: rules of the core, about what is on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from element_jupyter import config
from element_jupyter.core import notebooks
from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.inspection import Inspection
from element_jupyter.core.values import slug


class NotebookInspector:
    """Tells what is to be known of a notebook before it is scheduled."""

    def __init__(self, settings: config.Element) -> None:
        self._settings = settings

    def __call__(self, file: Path, path: str, document: Mapping[str, Any] | None) -> Inspection:
        """Look at a notebook; without a document, at what is saved.

        Raises:
            Invalid, TooLarge: it is no notebook; field `notebook`, or `path` of a saved one.
        """
        if document is None:
            document = _saved(file)
        else:
            notebooks.check_notebook(document)
        tags = (tag for cell in notebooks.cells_of(document) for tag in notebooks.tags_of(cell))
        return Inspection(
            path=path,
            name=slug(file.stem),
            team=self._settings.owner,
            owner=self._settings.owner,
            language=notebooks.language_of(document),
            has_parameters_cell=notebooks.PARAMETERS_TAG in tags,
            parameters=notebooks.parameters_of(document),
        )


def _saved(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            return notebooks.parse_notebook(opened.read(notebooks.MAX_NOTEBOOK_BYTES + 1))
    except OSError as error:
        raise Invalid(f"'{file.name}' cannot be read: {error.strerror}.", field="path") from error
    except Invalid as error:
        kind = TooLarge if isinstance(error, TooLarge) else Invalid
        raise kind(error.message, error.hint, field="path") from error
