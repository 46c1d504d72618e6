"""Definitions of environments as people write them: found, read, and added to.

`find` says which of the files beside a notebook counts and what it means; `add` writes a further
requirement into it. Nothing is executed, resolved or downloaded here.
"""

from element_jupyter.adapters.definitions.editing import Edit, add, apply
from element_jupyter.adapters.definitions.files import DiskFiles
from element_jupyter.adapters.definitions.inline import document_of
from element_jupyter.adapters.definitions.pylock import lock_name
from element_jupyter.adapters.definitions.search import Missing, PointsAtNothing, find, shared

__all__ = [
    "DiskFiles",
    "Edit",
    "Missing",
    "PointsAtNothing",
    "add",
    "apply",
    "document_of",
    "find",
    "lock_name",
    "shared",
]
