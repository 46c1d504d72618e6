"""What somebody else's notebook may show, and what it may not do."""

from __future__ import annotations

import json

import nbformat
import pytest

from element_jupyter.adapters.notebook_html import render
from element_jupyter.core.errors import Invalid

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<svg onload=alert(1)></svg>",
    "<iframe src='data:text/html,<script>alert(1)</script>'></iframe>",
    "<style><img src=x onerror=alert(1)></style>",
    "<style></style><script>alert(1)</script></style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table>",
    "<form action='//evil'><button>x</button></form>",
    "<p style='background:url(//evil)'>x</p>",
)
FORBIDDEN = ("alert(1)</script>", "onerror=alert", "onload=alert", "href='javascript", "//evil'")


def page(*, markdown: str = "", html: str = "") -> str:
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": html})]
    cells = [nbformat.v4.new_markdown_cell(markdown), cell]
    return render(json.dumps(nbformat.v4.new_notebook(cells=cells)))


def test_headings_and_tables_are_shown():
    shown = page(
        markdown="# Title",
        html="<style scoped>.x {color: red}</style><table><thead><th>a</th></thead></table>",
    )

    assert '<h1 id="Title">Title' in shown
    assert "<th>a</th>" in shown
    assert ".x {color: red}" not in shown


@pytest.mark.parametrize("hostile", HOSTILE)
def test_markup_that_does_something_is_taken_out(hostile):
    quiet = page(markdown="", html="")
    for shown in (page(markdown=hostile), page(html=hostile)):
        for part in FORBIDDEN:
            assert shown.count(part) == quiet.count(part), part


def test_what_is_no_notebook_is_refused():
    with pytest.raises(Invalid, match="not a notebook"):
        render("[]")
