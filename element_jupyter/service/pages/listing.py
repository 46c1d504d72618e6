"""Lists that are asked for by a form: what was given, and the addresses that go on from it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field, StringConstraints

from element_jupyter.core.places import SERVICE_PREFIX

Given = Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)]
"""What a form sends; empty where nothing was filled in."""
Cursor = Annotated[str | None, Field(max_length=2000)]


def address(path: str, asked: dict[str, str], **changed: str | None) -> str:
    """Return where a page is with what was asked for, and what differs from it; empty is left out.

    What it goes on from is left out, unless it is given anew.
    """
    said = {name: value for name, value in asked.items() if name != "cursor"} | changed
    query = urlencode({name: value for name, value in said.items() if value})
    return f"{SERVICE_PREFIX}{path}{'?' if query else ''}{query}"
