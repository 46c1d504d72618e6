"""A notebook as HTML that does nothing: for showing what somebody else's code has put out."""

from __future__ import annotations

import json

import nbformat
from nbconvert import HTMLExporter

from element_jupyter.core.errors import Invalid


def render(notebook: str) -> str:
    """Return a page of a notebook (its JSON): sanitised, without scripts.

    Raises:
        Invalid: it is not a notebook.
    """
    try:
        document = nbformat.reads(notebook, as_version=4)
    except (json.JSONDecodeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise Invalid("This is not a notebook.", "Open the file in JupyterLab.") from error
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="lab", sanitize_html=True, require_js_url="", mathjax_url=""
    )
    page: str = exporter.from_notebook_node(document)[0]
    return page
