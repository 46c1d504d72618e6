"""From a notebook's path in JupyterLab to its file, for whoever may see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from jupyter_server.utils import ApiPath, ensure_async, to_os_path
from pydantic import Field
from tornado import web

from element_jupyter.core.errors import Invalid, NotFound

NotebookPath = Annotated[str, Field(min_length=1, max_length=4096)]
"""A notebook as JupyterLab knows it: its path below the server's root."""


async def notebook_file(manager: Any, path: str) -> Path:
    """Return the file of a notebook that a contents manager shows.

    Raises:
        Invalid: it is no notebook, or this server keeps none in files; field `path`.
        NotFound: there is none, it is hidden, or it lies outside of the server's root.
    """
    root = getattr(manager, "root_dir", None)
    if not isinstance(root, str) or not root:
        raise Invalid(
            "This Jupyter server does not keep its notebooks in files.",
            "Only notebooks in files can become jobs and have environments.",
        )
    path = path.strip("/")
    if not path.endswith(".ipynb"):
        raise Invalid(f"'{path}' is not a notebook.", field="path")
    try:
        hidden = await ensure_async(manager.is_hidden(path))
        there = await ensure_async(manager.file_exists(path))
    except (web.HTTPError, OSError, ValueError):
        there = hidden = False  # outside of the root, or no name of a file at all
    if not there or (hidden and not manager.allow_hidden):
        raise NotFound(f"There is no notebook '{path}'.", field="path")
    return Path(to_os_path(ApiPath(path), root))


def shown_path(manager: Any, file: str | None) -> str | None:
    """Return a file's path below the server's root; None where it cannot be opened from there."""
    root = getattr(manager, "root_dir", None)
    if not file or not isinstance(root, str) or not root:
        return None
    try:
        below = Path(file).relative_to(Path(root).absolute())
    except ValueError:
        return None
    hidden = any(part.startswith(".") for part in below.parts)
    return None if hidden and not manager.allow_hidden else below.as_posix()
