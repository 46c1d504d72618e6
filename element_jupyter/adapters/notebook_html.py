"""A notebook as HTML that does nothing: for showing what somebody else's code has put out."""

from __future__ import annotations

import re

import bleach
import nbformat
from nbconvert import HTMLExporter

from element_jupyter.core.errors import Invalid

_TAGS = frozenset(
    {"a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del"}
    | {"details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5"}
    | {"h6", "hr", "i", "img", "kbd", "li", "mark", "ol", "p", "pre", "s", "samp", "small"}
    | {"span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead"}
    | {"tr", "u", "ul", "var"}
)
"""What texts and tables are made of."""

_ATTRIBUTES = {
    "*": ["class", "id", "title", "align", "valign"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
    "ol": ["start"],
}
_STYLE = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)


def render(notebook: str) -> str:
    """Return a page of a notebook (its JSON): sanitised, without scripts.

    Raises:
        Invalid: it is not a notebook.
    """
    try:
        document = nbformat.reads(notebook, as_version=4)
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        # nbformat looks for keys before it looks for an object
        raise Invalid("This is not a notebook.", "Open the file in JupyterLab.") from error
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="lab", sanitize_html=True, require_js_url="", mathjax_url=""
    )
    # nbconvert's own lets no heading and no table through
    exporter.register_filter("clean_html", _clean)  # type: ignore[no-untyped-call]
    page: str = exporter.from_notebook_node(document)[0]
    return page


def _clean(element: object) -> str:
    text = element.decode() if isinstance(element, bytes) else str(element)
    # every table of pandas brings a style sheet, whose text would be shown without its tag
    cleaned: str = bleach.clean(
        _STYLE.sub("", text), tags=_TAGS, attributes=_ATTRIBUTES, strip=True
    )
    return cleaned
